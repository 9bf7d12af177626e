#include "core/physical_memory.h"

#include <gtest/gtest.h>

#include <memory>

namespace cupel {
namespace {

std::unique_ptr<PhysicalMemory> make(uint64_t size) {
  auto created = PhysicalMemory::create(size);
  EXPECT_TRUE(created.ok());
  return std::move(created).value();
}

uint64_t pages_copied(PhysicalMemory& memory) {
  auto stats = memory.take_snapshot();
  EXPECT_TRUE(stats.ok());
  return stats->pages_copied;
}

TEST(PhysicalMemory, RefusesImpossibleSizes) {
  for (const uint64_t size : {uint64_t{0}, uint64_t{4096}, 64_KiB + 1, 2048_GiB, UINT64_MAX}) {
    const auto result = PhysicalMemory::create(size);
    ASSERT_FALSE(result.ok()) << size;
    EXPECT_EQ(result.error().kind, ErrorKind::bad_input);
    EXPECT_FALSE(result.error().hint.empty());
  }
}

TEST(PhysicalMemory, StartsZeroedAndBoundsEveryAccess) {
  const auto memory = make(64_KiB);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(0)), 0u);
  EXPECT_TRUE(memory->write(Hpa(64_KiB - 8), uint64_t{42}));
  EXPECT_EQ(memory->read<uint64_t>(Hpa(64_KiB - 8)), 42u);
  EXPECT_FALSE(memory->write(Hpa(64_KiB - 7), uint64_t{42}));
  EXPECT_EQ(memory->read<uint64_t>(Hpa(64_KiB - 7)), UINT64_MAX) << "absent memory reads as ones";
  EXPECT_EQ(memory->read<uint16_t>(Hpa(UINT64_MAX)), 0xffff);
  EXPECT_EQ(memory->at(Hpa(1), 64_KiB), nullptr);
  EXPECT_EQ(memory->at(Hpa(UINT64_MAX), 2), nullptr);
}

TEST(PhysicalMemory, UntouchedMemoryCostsNothing) {
  const auto memory = make(64_GiB);
  memory->write(Hpa(40_GiB), uint8_t{1});
  EXPECT_LE(memory->resident_bytes(), 4 * kPageSize);
}

TEST(PhysicalMemory, RestoreReturnsToTheSnapshot) {
  const auto memory = make(1_MiB);
  memory->write(Hpa(0x5000), uint32_t{1});
  pages_copied(*memory);
  memory->write(Hpa(0x5000), uint32_t{2});
  memory->write(Hpa(0x9000), uint32_t{3});
  ASSERT_TRUE(memory->restore_snapshot().ok());
  EXPECT_EQ(memory->read<uint32_t>(Hpa(0x5000)), 1u);
  EXPECT_EQ(memory->read<uint32_t>(Hpa(0x9000)), 0u);
  memory->write(Hpa(0x5000), uint32_t{4});
  ASSERT_TRUE(memory->restore_snapshot().ok());
  EXPECT_EQ(memory->read<uint32_t>(Hpa(0x5000)), 1u) << "restoring works again and again";
}

TEST(PhysicalMemory, RestoreWithoutSnapshotGivesZeros) {
  const auto memory = make(1_MiB);
  EXPECT_FALSE(memory->has_snapshot());
  memory->write(Hpa(0x5000), uint32_t{1});
  ASSERT_TRUE(memory->restore_snapshot().ok());
  EXPECT_EQ(memory->read<uint32_t>(Hpa(0x5000)), 0u);
}

TEST(PhysicalMemory, ASnapshotCopiesOnlyPagesWrittenSinceTheLast) {
  const auto memory = make(16_GiB);
  for (uint64_t page = 0; page < 10; ++page)
    memory->write(Hpa(page * 1_GiB), static_cast<uint64_t>(page + 1));
  EXPECT_EQ(pages_copied(*memory), 10u);
  EXPECT_TRUE(memory->has_snapshot());
  EXPECT_EQ(pages_copied(*memory), 0u);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(3_GiB)), 4u);
  EXPECT_EQ(pages_copied(*memory), 0u) << "reading is no writing";
  memory->write(Hpa(3_GiB + 8), uint64_t{5});
  memory->write(Hpa(11_GiB), uint64_t{6});
  EXPECT_EQ(pages_copied(*memory), 2u);
  ASSERT_TRUE(memory->restore_snapshot().ok());
  EXPECT_EQ(memory->read<uint64_t>(Hpa(3_GiB)), 4u);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(3_GiB + 8)), 5u);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(11_GiB)), 6u);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(9_GiB)), 10u);
}

TEST(PhysicalMemory, RunsOfPagesAcrossTheScanChunkAreWhole) {
  // The dirty scan works in chunks of 32,768 pages (128 MiB).
  const auto memory = make(256_MiB);
  for (uint64_t page = 32'766; page < 32'771; ++page)
    memory->write(Hpa(page * kPageSize), static_cast<uint32_t>(page));
  EXPECT_EQ(pages_copied(*memory), 5u);
  for (uint64_t page = 32'766; page < 32'771; ++page)
    EXPECT_EQ(memory->read<uint32_t>(Hpa(page * kPageSize)), page);
}

}  // namespace
}  // namespace cupel
