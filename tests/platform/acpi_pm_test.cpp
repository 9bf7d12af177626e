#include "hw_models/platform/acpi_pm.h"

#include <gtest/gtest.h>

namespace cupel::platform {
namespace {

struct AcpiPmTest : testing::Test {
  AcpiPmTest() {
    pm.set_power_off_handler([this] { ++offs; });
    pm.sci.connect([this](bool level) { sci = level; });
  }
  // Half a period of the 32-bit timer, a nanosecond late.
  static constexpr Nanoseconds kHalf{599'932'553'997};  // 2^31 / 3,579,545 s, rounded up

  VirtualClock clock;
  AcpiPm pm{clock};
  int offs = 0;
  bool sci = false;
};

TEST_F(AcpiPmTest, TimerCountsVirtualTime) {
  EXPECT_EQ(pm.read(8, 4), 0u);
  clock.set(1_s);
  EXPECT_EQ(pm.read(8, 4), 3'579'545u);
  EXPECT_EQ(pm.read(9, 1), 3'579'545u >> 8 & 0xff);
  pm.write(8, 4, 0);
  EXPECT_EQ(pm.read(8, 4), 3'579'545u) << "read-only";
}

TEST_F(AcpiPmTest, TimerWrapsAt32Bits) {
  clock.set(1200_s);
  EXPECT_EQ(pm.read(8, 4), static_cast<uint32_t>(1200ull * 3'579'545));
}

TEST_F(AcpiPmTest, CarryRaisesTheSciWhenEnabled) {
  EXPECT_EQ(pm.next_deadline(), Nanoseconds::max());
  pm.write(2, 2, 1);
  const Nanoseconds when = pm.next_deadline();
  clock.set(when - 1_ns);
  pm.advance(clock.now());
  EXPECT_FALSE(sci);
  clock.set(when);
  pm.advance(clock.now());
  EXPECT_TRUE(sci);
  EXPECT_EQ(pm.read(0, 2), 1u);
  EXPECT_EQ(pm.read(8, 4), 0x80000000u);
  pm.write(0, 2, 1);
  EXPECT_FALSE(sci);
  EXPECT_EQ(pm.read(0, 2), 0u);
  EXPECT_GT(pm.next_deadline(), when);
}

TEST_F(AcpiPmTest, StatusShowsWithoutEnable) {
  clock.set(700_s);
  EXPECT_EQ(pm.read(0, 2), 1u);
  EXPECT_FALSE(sci);
  pm.write(2, 2, 1);
  EXPECT_TRUE(sci);
}

TEST_F(AcpiPmTest, ControlKeepsSleepTypeAndSciEnable) {
  EXPECT_EQ(pm.read(4, 2), 1u);
  pm.write(4, 2, 0x1402);
  EXPECT_EQ(pm.read(4, 2), 0x1403u);
  pm.write(4, 2, 0x3402);
  EXPECT_EQ(pm.read(4, 2), 0x1403u) << "SLP_EN reads 0";
  EXPECT_EQ(offs, 0);
}

TEST_F(AcpiPmTest, SoftOffByAWordOrItsHighByte) {
  pm.write(4, 2, 0x2001);
  EXPECT_EQ(offs, 1);
  pm.write(5, 1, 0x20);
  EXPECT_EQ(offs, 2);
}

TEST_F(AcpiPmTest, AccessesAcrossRegistersAreIgnored) {
  EXPECT_EQ(pm.read(2, 4), ~0ull);
  pm.write(2, 4, 0xffffffff);
  EXPECT_EQ(pm.read(2, 2), 0u);
}

TEST_F(AcpiPmTest, EventsAreOneDoubleword) {
  pm.write(0, 4, 0xffff0000);
  EXPECT_EQ(pm.read(0, 4), 0x07210000u);
}

TEST_F(AcpiPmTest, IsSavedAndRestoredFromAnything) {
  pm.write(2, 2, 1);
  pm.write(4, 2, 0x1402);
  clock.set(700_s);
  pm.advance(clock.now());
  ArchiveWriter out;
  pm.save(out);
  AcpiPm other(clock);
  ArchiveReader in(out.bytes());
  other.restore(in);
  EXPECT_TRUE(in.finish().ok());
  EXPECT_EQ(other.read(4, 2), 0x1403u);
  EXPECT_EQ(other.read(0, 4), pm.read(0, 4));
  EXPECT_EQ(other.next_deadline(), pm.next_deadline());
  EXPECT_TRUE(other.sci.level());
  auto bytes = out.take();
  std::fill(bytes.begin() + 36, bytes.end(), std::byte{0xff});
  ArchiveReader garbage(bytes);
  other.restore(garbage);
  EXPECT_EQ(other.read(4, 2), 0x1c03u);
  other.write(0, 2, 1);
  EXPECT_EQ(other.next_deadline(), Nanoseconds::max()) << "beyond the range of time";
}

}  // namespace
}  // namespace cupel::platform
