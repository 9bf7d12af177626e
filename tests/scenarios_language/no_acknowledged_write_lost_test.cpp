#include "scenarios/oracles/no_acknowledged_write_lost.h"

#include <gtest/gtest.h>

#include <array>

namespace cupel::scenarios {
namespace {

using Sector = std::array<std::byte, kSectorSize>;
using Oracle = NoAcknowledgedWriteLost;

Sector filled(int value) {
  Sector sector;
  sector.fill(static_cast<std::byte>(value));
  return sector;
}

class NoAcknowledgedWriteLostTest : public testing::Test {
 protected:
  Oracle::RequestId submit(uint64_t lba, int value, bool fua = false) {
    return oracle.write_submitted(Lba(lba), filled(value), fua);
  }
  void write(uint64_t lba, int value, bool fua = false) {
    oracle.write_completed(submit(lba, value, fua), BlockStatus::ok);
  }
  void flush(BlockStatus status = BlockStatus::ok) {
    oracle.flush_completed(oracle.flush_submitted(), status);
  }
  // Whether the disk may hold `value` at sector 5 (and what it was given elsewhere).
  bool may_hold(int value) {
    Oracle copy = oracle;
    return copy.verify(
               [&](Lba, std::span<std::byte, kSectorSize> out) {
                 const Sector sector = filled(value);
                 std::copy(sector.begin(), sector.end(), out.begin());
                 return true;
               },
               1_s) == 0;
  }
  bool may_read(int value) {
    Oracle copy = oracle;
    const auto id = copy.read_submitted(Lba(5));
    copy.read_completed(id, BlockStatus::ok, filled(value), 1_s);
    return copy.sectors_lost() == 0;
  }

  Oracle oracle{"web"};
};

TEST_F(NoAcknowledgedWriteLostTest, PlantedLossOfAnAcknowledgedWriteIsCaughtAndNamed) {
  write(5, 1);
  flush();
  oracle.crashed();
  EXPECT_TRUE(may_hold(1));
  EXPECT_FALSE(may_hold(0));
  EXPECT_FALSE(may_hold(9));
  const auto lost = oracle.verify(
      [](Lba, std::span<std::byte, kSectorSize> out) {
        std::fill(out.begin(), out.end(), std::byte{0});
        return true;
      },
      2_s);
  EXPECT_EQ(lost, 1u);
  EXPECT_EQ(oracle.sectors_lost(), 1u);
  EXPECT_EQ(oracle.writes_acknowledged(), 1u);
  const auto report = oracle.report();
  EXPECT_EQ(report.verdict, Verdict::fail);
  ASSERT_EQ(report.violations.size(), 1u);
  EXPECT_NE(report.violations[0].text.find("web sector 5: expected "), std::string::npos);
  EXPECT_NE(report.violations[0].text.find("(write 1), disk holds zeros"), std::string::npos);
}

TEST_F(NoAcknowledgedWriteLostTest, ACompletedWriteMayBeLostInACrashUntilItIsFlushed) {
  write(5, 1);
  EXPECT_FALSE(may_hold(0));
  EXPECT_TRUE(may_hold(1));
  oracle.crashed();
  EXPECT_TRUE(may_hold(0));
  EXPECT_TRUE(may_hold(1));
  EXPECT_FALSE(may_hold(2));
  EXPECT_EQ(oracle.writes_completed(), 1u);
  EXPECT_EQ(oracle.writes_acknowledged(), 0u);
}

TEST_F(NoAcknowledgedWriteLostTest, ANewerUnflushedWriteMayReplaceADurableOne) {
  write(5, 1);
  flush();
  write(5, 2);
  submit(5, 3);
  oracle.crashed();
  EXPECT_FALSE(may_hold(0));
  EXPECT_TRUE(may_hold(1));
  EXPECT_TRUE(may_hold(2));
  EXPECT_TRUE(may_hold(3));
}

TEST_F(NoAcknowledgedWriteLostTest, PlantedStaleReadIsCaught) {
  write(5, 1);
  write(5, 2);
  EXPECT_TRUE(may_read(2));
  EXPECT_FALSE(may_read(1));
  EXPECT_FALSE(may_read(0));
}

TEST_F(NoAcknowledgedWriteLostTest, AReadMayReturnAWriteThatIsUnderWay) {
  write(5, 1);
  submit(5, 2);
  EXPECT_TRUE(may_read(1));
  EXPECT_TRUE(may_read(2));
  EXPECT_FALSE(may_read(0));
}

TEST_F(NoAcknowledgedWriteLostTest, AReadThatOverlapsAWriteMayReturnTheOldSector) {
  write(5, 1);
  flush();
  const auto read = oracle.read_submitted(Lba(5));
  write(5, 2, true);
  oracle.read_completed(read, BlockStatus::ok, filled(1), 1_s);
  EXPECT_EQ(oracle.sectors_lost(), 0u);
  EXPECT_FALSE(may_read(1));
}

TEST_F(NoAcknowledgedWriteLostTest, OverlappingWritesMayEndInEitherOrder) {
  const auto first = submit(5, 1);
  const auto second = submit(5, 2);
  oracle.write_completed(second, BlockStatus::ok);
  oracle.write_completed(first, BlockStatus::ok);
  flush();
  oracle.crashed();
  EXPECT_TRUE(may_hold(1));
  EXPECT_TRUE(may_hold(2));
  EXPECT_FALSE(may_hold(0));
}

TEST_F(NoAcknowledgedWriteLostTest, AFlushCoversOnlyWritesThatHadCompletedBeforeIt) {
  const auto id = submit(5, 1);
  const auto flushed = oracle.flush_submitted();
  oracle.write_completed(id, BlockStatus::ok);
  oracle.flush_completed(flushed, BlockStatus::ok);
  oracle.crashed();
  EXPECT_TRUE(may_hold(0));
  EXPECT_TRUE(may_hold(1));
}

TEST_F(NoAcknowledgedWriteLostTest, AFailedFlushPromisesNothing) {
  write(5, 1);
  flush(BlockStatus::io_error);
  oracle.crashed();
  EXPECT_TRUE(may_hold(0));
}

TEST_F(NoAcknowledgedWriteLostTest, FuaIsDurableOnCompletion) {
  write(5, 1, true);
  oracle.crashed();
  EXPECT_FALSE(may_hold(0));
  EXPECT_TRUE(may_hold(1));
}

TEST_F(NoAcknowledgedWriteLostTest, AFailedWriteMayHaveHappenedUntilALaterOneSettlesIt) {
  write(5, 1);
  flush();
  oracle.write_completed(submit(5, 2), BlockStatus::io_error);
  EXPECT_TRUE(may_read(1));
  EXPECT_TRUE(may_read(2));
  write(5, 3);
  EXPECT_FALSE(may_read(1));
  EXPECT_FALSE(may_read(2));
  EXPECT_TRUE(may_read(3));
  oracle.crashed();
  EXPECT_TRUE(may_hold(2));
}

TEST_F(NoAcknowledgedWriteLostTest, CompletionsAfterTheCrashAreNobodys) {
  const auto id = submit(5, 1);
  const auto flushed = oracle.flush_submitted();
  oracle.crashed();
  oracle.write_completed(id, BlockStatus::ok);
  oracle.flush_completed(flushed, BlockStatus::ok);
  EXPECT_EQ(oracle.writes_completed(), 0u);
  EXPECT_TRUE(may_hold(0));
  EXPECT_TRUE(may_hold(1));
}

TEST_F(NoAcknowledgedWriteLostTest, PlantedOverwriteByADeadHostIsCaught) {
  submit(5, 1);  // in flight when its host dies
  oracle.crashed();
  write(5, 2);  // the new instance
  flush();
  EXPECT_TRUE(may_hold(2));
  EXPECT_FALSE(may_hold(1));
}

TEST_F(NoAcknowledgedWriteLostTest, SectorsOfOneWriteAreAtomicOneByOne) {
  std::vector<std::byte> two(2 * kSectorSize, std::byte{1});
  oracle.write_submitted(Lba(4), two, false);
  oracle.crashed();
  const auto torn = oracle.verify(
      [](Lba lba, std::span<std::byte, kSectorSize> out) {
        std::fill(out.begin(), out.end(), lba == Lba(4) ? std::byte{1} : std::byte{0});
        return true;
      },
      1_s);
  EXPECT_EQ(torn, 0u);
}

TEST_F(NoAcknowledgedWriteLostTest, AnUnreadableSectorIsLostOnlyIfItWasPromised) {
  const auto unreadable = [](Lba, std::span<std::byte, kSectorSize>) { return false; };
  submit(5, 1);
  oracle.crashed();
  EXPECT_EQ(oracle.verify(unreadable, 1_s), 0u);
  write(6, 1);
  flush();
  EXPECT_EQ(oracle.verify(unreadable, 1_s), 1u);
}

TEST_F(NoAcknowledgedWriteLostTest, RubbishInASectorNobodyWroteIsCaught) {
  const auto id = oracle.read_submitted(Lba(70));
  oracle.read_completed(id, BlockStatus::ok, filled(0), 1_s);
  EXPECT_EQ(oracle.sectors_lost(), 0u);
  const auto again = oracle.read_submitted(Lba(70));
  oracle.read_completed(again, BlockStatus::ok, filled(1), 1_s);
  EXPECT_EQ(oracle.sectors_lost(), 1u);
}

TEST_F(NoAcknowledgedWriteLostTest, EndlessUnflushedOverwritesNeitherGrowNorAccuse) {
  for (int i = 0; i < 20'000; ++i) write(5, i % 250);
  EXPECT_TRUE(may_read(19'999 % 250));
  EXPECT_FALSE(may_read(7));
  oracle.crashed();
  EXPECT_TRUE(may_hold(7));
  write(5, 251);
  flush();
  EXPECT_TRUE(may_hold(251));
  EXPECT_FALSE(may_hold(7));
}

}  // namespace
}  // namespace cupel::scenarios
