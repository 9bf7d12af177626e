#include "core/chips/pit8254.h"

#include <gtest/gtest.h>

#include "tests/chips/archive_round_trip.h"

namespace cupel::chips {
namespace {

constexpr Frequency kClock{Pit8254::kHz};

class PitTest : public testing::Test {
 protected:
  PitTest() {
    pit.irq.connect([this](bool level) { rises += level; });
  }
  void control(uint8_t value) { pit.write(3, 1, value); }
  void count(unsigned counter, uint16_t value) {
    pit.write(counter, 1, value & 0xff);
    pit.write(counter, 1, value >> 8);
  }
  uint16_t read_count(unsigned counter) {
    const uint64_t low = pit.read(counter, 1);
    return static_cast<uint16_t>(low | pit.read(counter, 1) << 8);
  }
  void at_tick(uint64_t tick) {
    clock.set(kClock.time_of(tick));
    pit.advance(clock.now());
  }
  uint8_t status(unsigned counter) {
    control(static_cast<uint8_t>(0xe0 | 2u << counter));
    return static_cast<uint8_t>(pit.read(counter, 1));
  }

  VirtualClock clock;
  Pit8254 pit{clock};
  SystemControlPortB port_b{pit};
  int rises = 0;
};

TEST_F(PitTest, Mode0RisesOneTickAfterItsCount) {
  control(0x30);
  count(0, 100);
  EXPECT_FALSE(pit.irq.level());
  EXPECT_EQ(pit.next_deadline(), kClock.time_of(101));
  at_tick(100);
  EXPECT_FALSE(pit.irq.level());
  at_tick(101);
  EXPECT_TRUE(pit.irq.level());
  EXPECT_EQ(pit.next_deadline(), Nanoseconds::max());
  EXPECT_EQ(read_count(0), 0);
  at_tick(104);
  EXPECT_EQ(read_count(0), 0xfffd) << "counts on below zero";
}

TEST_F(PitTest, Mode0StopsOnTheFirstOfTwoBytes) {
  control(0x30);
  count(0, 100);
  at_tick(50);
  pit.write(0, 1, 10);
  EXPECT_EQ(pit.next_deadline(), Nanoseconds::max());
  pit.write(0, 1, 0);
  EXPECT_EQ(pit.next_deadline(), kClock.time_of(61));
}

TEST_F(PitTest, Mode2InterruptsWithoutDrift) {
  control(0x34);
  count(0, 1193);
  EXPECT_TRUE(pit.irq.level());
  for (int i = 0; i < 100'000; ++i) {
    clock.set(pit.next_deadline());
    pit.advance(clock.now());
    clock.set(pit.next_deadline());
    pit.advance(clock.now());
  }
  EXPECT_EQ(rises, 100'001);
  EXPECT_EQ(clock.now(), kClock.time_of(1 + 1193ull * 100'000));
}

TEST_F(PitTest, Mode2IsLowForOneTick) {
  control(0x34);
  count(0, 10);
  at_tick(9);
  EXPECT_EQ(read_count(0), 2);
  EXPECT_TRUE(pit.irq.level());
  at_tick(10);
  EXPECT_EQ(read_count(0), 1);
  EXPECT_FALSE(pit.irq.level());
  at_tick(11);
  EXPECT_EQ(read_count(0), 10);
  EXPECT_TRUE(pit.irq.level());
}

TEST_F(PitTest, Mode3HalvesOddCountsUnevenly) {
  control(0x36);
  count(0, 5);
  static constexpr bool kWave[] = {true, true, true, false, false};
  static constexpr uint16_t kCounts[] = {4, 2, 0, 4, 2};
  for (uint64_t i = 0; i < 20; ++i) {
    at_tick(1 + i);
    EXPECT_EQ(pit.irq.level(), kWave[i % 5]) << i;
    EXPECT_EQ(read_count(0), kCounts[i % 5]) << i;
  }
}

TEST_F(PitTest, ANewCountWaitsForTheEndOfThePeriodInMode2AndOfTheHalfInMode3) {
  control(0x34);
  count(0, 10);
  at_tick(5);
  count(0, 4);
  EXPECT_EQ(status(0) & 0x40, 0x40) << "not loaded yet";
  at_tick(11);
  EXPECT_EQ(status(0) & 0x40, 0);
  EXPECT_EQ(read_count(0), 4);

  control(0x36);
  count(0, 10);  // loaded at tick 12, high up to 17
  at_tick(13);
  count(0, 4);
  at_tick(16);
  EXPECT_TRUE(pit.irq.level());
  at_tick(17);
  EXPECT_FALSE(pit.irq.level());
  EXPECT_EQ(pit.next_deadline(), kClock.time_of(19));
  at_tick(19);
  EXPECT_TRUE(pit.irq.level());
}

TEST_F(PitTest, Mode1IsAOneShotTriggeredByTheGate) {
  control(0xb2);
  count(2, 10);
  EXPECT_TRUE(pit.output2());
  at_tick(3);
  pit.set_gate2(true);
  at_tick(4);
  EXPECT_FALSE(pit.output2());
  at_tick(8);
  pit.set_gate2(false);
  pit.set_gate2(true);  // triggers anew
  at_tick(18);
  EXPECT_FALSE(pit.output2());
  at_tick(19);
  EXPECT_TRUE(pit.output2());
}

TEST_F(PitTest, Mode4StrobesOnce) {
  control(0x38);
  count(0, 6);
  at_tick(6);
  EXPECT_TRUE(pit.irq.level());
  at_tick(7);
  EXPECT_FALSE(pit.irq.level());
  at_tick(8);
  EXPECT_TRUE(pit.irq.level());
  EXPECT_EQ(pit.next_deadline(), Nanoseconds::max());
}

TEST_F(PitTest, Mode5StrobesAfterATrigger) {
  control(0xba);
  count(2, 6);
  at_tick(20);
  EXPECT_TRUE(pit.output2());
  pit.set_gate2(true);
  at_tick(27);
  EXPECT_FALSE(pit.output2());
  at_tick(28);
  EXPECT_TRUE(pit.output2());
}

TEST_F(PitTest, TheGateSuspendsModes0And4) {
  for (const uint8_t mode : {0, 4}) {
    pit.set_gate2(true);
    control(static_cast<uint8_t>(0xb0 | mode << 1));
    count(2, 100);
    const uint64_t from = pit.ticks() + 1;
    at_tick(from + 30);
    pit.set_gate2(false);
    at_tick(from + 50);
    EXPECT_EQ(read_count(2), 70);
    pit.set_gate2(true);
    at_tick(from + 60);
    EXPECT_EQ(read_count(2), 60);
  }
}

TEST_F(PitTest, TheGateRestartsPeriodicModes) {
  pit.set_gate2(true);
  control(0xb6);
  count(2, 100);
  at_tick(81);
  EXPECT_FALSE(pit.output2());
  pit.set_gate2(false);
  EXPECT_TRUE(pit.output2());
  at_tick(200);
  pit.set_gate2(true);
  at_tick(201);
  EXPECT_EQ(read_count(2), 100);
}

TEST_F(PitTest, BcdCountsInDecimal) {
  control(0x31);
  count(0, 0x1000);
  at_tick(2);
  EXPECT_EQ(read_count(0), 0x0999);
  count(0, 0);  // ten thousand
  EXPECT_EQ(pit.next_deadline(), kClock.time_of(2 + 1 + 10000));
}

TEST_F(PitTest, ALatchHoldsUntilReadAndTheFirstOneStands) {
  control(0x34);
  count(0, 1000);
  at_tick(101);
  control(0x00);
  at_tick(201);
  control(0x00);
  EXPECT_EQ(read_count(0), 900);
  EXPECT_EQ(read_count(0), 800);
}

TEST_F(PitTest, ReadBackGivesStatusThenCount) {
  control(0x34);
  EXPECT_EQ(status(0), 0xf4) << "OUT high, null count, both bytes, mode 2";
  count(0, 1000);
  at_tick(11);
  control(0xc2);
  at_tick(50);
  EXPECT_EQ(pit.read(0, 1), 0xb4u);
  EXPECT_EQ(read_count(0), 990);
  EXPECT_EQ(pit.read(3, 1), 0xffu);
}

TEST_F(PitTest, SingleByteAccessLeavesTheOtherByteZero) {
  control(0x20);  // high byte only
  pit.write(0, 1, 2);
  EXPECT_EQ(pit.next_deadline(), kClock.time_of(1 + 512));
  control(0x10);  // low byte only
  pit.write(0, 1, 2);
  EXPECT_EQ(pit.next_deadline(), kClock.time_of(1 + 2));
}

TEST_F(PitTest, PortBShowsGateOutputAndRefresh) {
  control(0xb0);
  port_b.write(0, 1, 0x01);
  count(2, 100);
  EXPECT_EQ(port_b.read(0, 1) & 0x21, 0x01u);
  at_tick(101);
  EXPECT_EQ(port_b.read(0, 1) & 0x21, 0x21u);
  const uint64_t before = port_b.read(0, 1) & 0x10;
  at_tick(101 + 18);
  EXPECT_NE(port_b.read(0, 1) & 0x10, before);
  port_b.write(0, 1, 0x02);
  EXPECT_TRUE(port_b.speaker_on());
}

TEST_F(PitTest, PortBKeepsItsBitsWhenRestored) {
  port_b.write(0, 1, 0xff);
  EXPECT_TRUE(pit.gate2());
  SystemControlPortB other(pit);
  copy_state(port_b, other);
  EXPECT_EQ(other.read(0, 1) & 0x0f, 0x0fu);
}

TEST_F(PitTest, ALateAdvanceMergesMissedEdges) {
  control(0x34);
  count(0, 100);
  rises = 0;
  at_tick(1'000'000);
  EXPECT_GE(rises, 1);
  EXPECT_LE(rises, 3);
  EXPECT_GT(pit.next_deadline(), clock.now());
}

TEST_F(PitTest, TheShortestPeriodsDoNotHang) {
  for (const uint8_t mode : {0x34, 0x36}) {
    control(mode);
    count(0, 1);
    EXPECT_EQ(pit.next_deadline(), Nanoseconds::max());
    count(0, 2);
    EXPECT_GT(pit.next_deadline(), clock.now());
  }
}

TEST_F(PitTest, ARestoredTimerGoesOnMidPeriod) {
  control(0x36);
  count(0, 1000);
  at_tick(100);
  count(0, 500);
  pit.write(1, 1, 0x12);  // half of a two-byte write
  control(0xd2);          // a latched status
  Pit8254 other(clock);
  copy_state(pit, other);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(other.next_deadline(), pit.next_deadline());
    clock.set(pit.next_deadline());
    pit.advance(clock.now());
    other.advance(clock.now());
    EXPECT_EQ(other.irq.level(), pit.irq.level());
  }
  EXPECT_EQ(saved(other), saved(pit));
}

TEST_F(PitTest, GarbageIsSurvived) {
  for (const int fill : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
    restore_garbage(pit, std::byte(fill));
    uint32_t x = 3;
    for (int i = 0; i < 20000; ++i) {
      x = x * 1664525 + 1013904223;
      pit.write(x >> 30, 1, x >> 8 & 0xff);
      pit.read(x >> 28 & 3, 1);
      port_b.write(0, 1, x >> 20 & 3);
      clock.set(clock.now() + Nanoseconds(x >> 14));
      pit.advance(clock.now());
      ASSERT_GT(pit.next_deadline(), clock.now() - 1_us);
    }
  }
}

}  // namespace
}  // namespace cupel::chips
