#include "hw_models/storage/medium.h"

#include <gtest/gtest.h>

namespace cupel::storage {
namespace {

std::vector<std::byte> filled(size_t sectors, uint8_t value) {
  return std::vector<std::byte>(sectors * kSectorSize, std::byte{value});
}

uint8_t first_byte(const Medium& medium, uint64_t sector) {
  std::vector<std::byte> out(kSectorSize);
  medium.read(Lba(sector), out);
  return static_cast<uint8_t>(out[0]);
}

TEST(Medium, ReadsZerosWhereNothingWasWritten) {
  const Medium medium(1000, CachePolicy::volatile_cache);
  EXPECT_EQ(first_byte(medium, 999), 0);
}

TEST(Medium, ReadsBackFromTheCacheAndFromTheMedia) {
  Medium medium(1000, CachePolicy::volatile_cache);
  medium.write(Lba(5), filled(9, 7), false);
  EXPECT_EQ(first_byte(medium, 13), 7);
  EXPECT_EQ(medium.unflushed_sectors(), 9u);
  medium.flush();
  EXPECT_EQ(medium.unflushed_sectors(), 0u);
  EXPECT_EQ(first_byte(medium, 13), 7);
  EXPECT_EQ(first_byte(medium, 14), 0);
}

TEST(Medium, StableCacheLosesNothingAtPowerCut) {
  Medium medium(1000, CachePolicy::stable_cache);
  medium.write(Lba(5), filled(9, 7), false);
  RandomStream outcome(1, "power");
  medium.power_cut(outcome);
  EXPECT_EQ(first_byte(medium, 5), 7);
}

TEST(Medium, ContainsRefusesRangesThatOverflow) {
  const Medium medium(1000, CachePolicy::stable_cache);
  EXPECT_TRUE(medium.contains(Lba(999), 1));
  EXPECT_FALSE(medium.contains(Lba(999), 2));
  EXPECT_FALSE(medium.contains(Lba(UINT64_MAX), 2));
  EXPECT_FALSE(medium.contains(Lba(1), UINT64_MAX));
}

// Old content 1 is flushed, then 2 and 3 overwrite it without a flush.
TEST(Medium, PowerCutTearsOnlyUnflushedWritesAndInventsNothing) {
  bool saw_lost = false, saw_kept = false, saw_torn = false;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Medium medium(1000, CachePolicy::volatile_cache);
    medium.write(Lba(0), filled(32, 1), false);
    medium.flush();
    medium.write(Lba(8), filled(8, 2), false);
    medium.write(Lba(100), filled(1, 9), true);
    RandomStream outcome(seed, "power");
    medium.power_cut(outcome);
    EXPECT_EQ(first_byte(medium, 100), 9) << "a forced write was lost";
    unsigned updated = 0;
    for (uint64_t sector = 0; sector < 32; ++sector) {
      const uint8_t value = first_byte(medium, sector);
      if (sector < 8 || sector >= 16) {
        EXPECT_EQ(value, 1) << "a flushed sector changed";
      } else {
        EXPECT_TRUE(value == 1 || value == 2);
        updated += value == 2;
      }
    }
    saw_lost |= updated == 0;
    saw_kept |= updated == 8;
    saw_torn |= updated > 0 && updated < 8;
  }
  EXPECT_TRUE(saw_lost && saw_kept && saw_torn);
}

TEST(Medium, ForcedWriteIsNotUndoneByAnEarlierCachedOne) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Medium medium(100, CachePolicy::volatile_cache);
    medium.write(Lba(4), filled(1, 1), false);
    medium.write(Lba(4), filled(1, 2), true);
    RandomStream outcome(seed, "power");
    medium.power_cut(outcome);
    EXPECT_EQ(first_byte(medium, 4), 2);
  }
}

}  // namespace
}  // namespace cupel::storage
