#include "core/chips/rtc146818.h"

#include <gtest/gtest.h>

#include <ctime>

#include "core/chips/civil_time.h"
#include "tests/chips/archive_round_trip.h"

namespace cupel::chips {
namespace {

constexpr int64_t kEpoch = 1'709'251'199;  // 2024-02-29 23:59:59, a Thursday

class RtcTest : public testing::Test {
 protected:
  uint8_t get(uint8_t index) {
    rtc.write(0, 1, index);
    return static_cast<uint8_t>(rtc.read(1, 1));
  }
  void put(uint8_t index, uint8_t value) {
    rtc.write(0, 1, index);
    rtc.write(1, 1, value);
  }
  void at(Nanoseconds t) {
    clock.set(t);
    rtc.advance(t);
  }

  VirtualClock clock;
  Rtc146818 rtc{clock, kEpoch};
};

TEST(CivilTime, AgreesWithTheCLibrary) {
  for (int64_t t = -5'000'000'000; t < 8'000'000'000; t += 86'399 * 37 + 1) {
    const CivilTime mine = civil_from_seconds(t);
    const auto when = static_cast<time_t>(t);
    tm theirs{};
    ASSERT_NE(gmtime_r(&when, &theirs), nullptr);
    ASSERT_EQ(mine.year, theirs.tm_year + 1900) << t;
    ASSERT_EQ(mine.month, theirs.tm_mon + 1) << t;
    ASSERT_EQ(mine.day, theirs.tm_mday) << t;
    ASSERT_EQ(mine.weekday, theirs.tm_wday + 1) << t;
    ASSERT_EQ(mine.second, theirs.tm_sec) << t;
    ASSERT_EQ(seconds_from_civil(mine), t);
  }
}

TEST_F(RtcTest, ShowsTheTimeOfDayInBcd) {
  EXPECT_EQ(get(0x00), 0x59);
  EXPECT_EQ(get(0x02), 0x59);
  EXPECT_EQ(get(0x04), 0x23);
  EXPECT_EQ(get(0x06), 5);
  EXPECT_EQ(get(0x07), 0x29);
  EXPECT_EQ(get(0x08), 0x02);
  EXPECT_EQ(get(0x09), 0x24);
  EXPECT_EQ(get(0x32), 0x20);
  EXPECT_EQ(get(0x0d), 0x80);
}

TEST_F(RtcTest, CarriesThroughTheLeapDay) {
  at(1_s);
  EXPECT_EQ(get(0x04), 0x00);
  EXPECT_EQ(get(0x07), 0x01);
  EXPECT_EQ(get(0x08), 0x03);
}

TEST_F(RtcTest, TwelveHourAndBinaryFormats) {
  put(0x0b, 0x84);  // SET, binary, 12 hours
  put(0x04, 0x80 | 11);
  put(0x02, 58);
  put(0x00, 30);
  put(0x0b, 0x04);
  EXPECT_EQ(rtc.time_of_day() % 86'400, 23 * 3600 + 58 * 60 + 30);
  at(90_s);
  EXPECT_EQ(get(0x04), 12) << "midnight is 12 AM";
  EXPECT_EQ(get(0x00), 0);
}

TEST_F(RtcTest, SetHoldsTheTimeWhileItIsWritten) {
  put(0x0b, 0x82);
  at(5_s);
  EXPECT_EQ(get(0x00), 0x59);
  put(0x09, 0x31);
  put(0x08, 0x12);
  put(0x07, 0x31);
  put(0x0b, 0x02);
  at(6_s);
  EXPECT_EQ(get(0x09), 0x32);
  EXPECT_EQ(get(0x08), 0x01);
}

TEST_F(RtcTest, UpdateInProgressPrecedesTheUpdate) {
  at(Nanoseconds(999'755'999));
  EXPECT_EQ(get(0x0a) & 0x80, 0);
  at(Nanoseconds(999'756'000));
  EXPECT_EQ(get(0x0a) & 0x80, 0x80);
  EXPECT_EQ(get(0x00), 0x59);
  at(1_s);
  EXPECT_EQ(get(0x0a) & 0x80, 0);
  EXPECT_EQ(get(0x00), 0x00);
}

TEST_F(RtcTest, ReleasingTheDividerStartsASecondHalfASecondLater) {
  at(Nanoseconds(300'000'000));
  put(0x0a, 0x70);
  at(10_s);
  EXPECT_EQ(get(0x00), 0x59);
  put(0x0a, 0x26);
  put(0x0b, 0x12);
  EXPECT_EQ(rtc.next_deadline(), Nanoseconds(10'500'000'000));
}

TEST_F(RtcTest, PeriodicInterruptsDoNotDrift) {
  put(0x05, 0x12);  // no alarm meanwhile
  put(0x0a, 0x26);
  put(0x0b, 0x42);
  int count = 0;
  rtc.irq.connect([&](bool level) { count += level; });
  for (int i = 0; i < 10'240; ++i) {
    clock.set(rtc.next_deadline());
    rtc.advance(clock.now());
    EXPECT_EQ(get(0x0c), i % 1024 == 1023 ? 0xd0 : 0xc0);
  }
  EXPECT_EQ(count, 10'240);
  EXPECT_EQ(clock.now(), 10_s);
}

TEST_F(RtcTest, PeriodicRates) {
  static constexpr struct {
    uint8_t rate;
    int64_t ns;
  } kRows[] = {{1, 3'906'250}, {2, 7'812'500}, {3, 122'071}, {8, 3'906'250}, {15, 500'000'000}};
  put(0x0b, 0x42);
  for (const auto& row : kRows) {
    put(0x0a, 0x20 | row.rate);
    EXPECT_EQ(rtc.next_deadline(), Nanoseconds(row.ns)) << int{row.rate};
  }
  put(0x0a, 0x20);
  EXPECT_EQ(rtc.next_deadline(), Nanoseconds::max());
}

TEST_F(RtcTest, AlarmsMatchOrIgnoreEachByte) {
  static constexpr struct {
    uint8_t hour, minute, second;
    int64_t after;  // seconds from 23:59:59
  } kRows[] = {
      {0x23, 0x59, 0x59, 86'400},
      {0x00, 0x00, 0x00, 1},
      {0xff, 0xff, 0xff, 1},
      {0xc0, 0xc0, 0x05, 6},
      {0xff, 0x10, 0x00, 601},
      {0x12, 0xff, 0xff, 12 * 3600 + 1},
      {0x12, 0x34, 0x56, 12 * 3600 + 34 * 60 + 57},
  };
  put(0x0b, 0x22);
  for (const auto& row : kRows) {
    put(0x05, row.hour);
    put(0x03, row.minute);
    put(0x01, row.second);
    EXPECT_EQ(rtc.next_deadline(), 1_s * row.after) << row.after;
  }
  put(0x05, 0x99);
  EXPECT_EQ(rtc.next_deadline(), Nanoseconds::max()) << "an hour that never comes";
}

TEST_F(RtcTest, FlagsAreSetWithoutTheirInterrupts) {
  put(0x05, 0xff);
  put(0x03, 0xff);
  put(0x01, 0xff);
  at(1_s);
  EXPECT_FALSE(rtc.irq.level());
  EXPECT_EQ(get(0x0c), 0x70);
  EXPECT_EQ(get(0x0c), 0x00);
}

TEST_F(RtcTest, ReadingCDropsTheLine) {
  put(0x0b, 0x12);
  EXPECT_EQ(rtc.next_deadline(), 1_s);
  at(1_s);
  EXPECT_TRUE(rtc.irq.level());
  EXPECT_EQ(get(0x0c) & 0x90, 0x90);
  EXPECT_FALSE(rtc.irq.level());
  EXPECT_EQ(rtc.next_deadline(), 2_s);
}

TEST_F(RtcTest, MemorySizeIsWhereFirmwareLeavesIt) {
  rtc.set_memory_size(512_MiB, 3_GiB);
  EXPECT_EQ(get(0x15) | get(0x16) << 8, 640);
  EXPECT_EQ(get(0x17) | get(0x18) << 8, 0xffff);
  EXPECT_EQ(get(0x34) | get(0x35) << 8, (512 - 16) * 16);
  EXPECT_EQ(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, 3 * 1024 * 16);
  rtc.set_nvram(0x0c, 0xff);
  EXPECT_EQ(get(0x0c), 0);
}

TEST_F(RtcTest, ARestoredClockGoesOn) {
  put(0x0b, 0x32);
  put(0x05, 0x00);
  put(0x03, 0x01);
  put(0x01, 0x00);
  at(Nanoseconds(1'400'000'000));
  get(0x0c);
  Rtc146818 other(clock, 0);
  copy_state(rtc, other);
  EXPECT_EQ(other.next_deadline(), 2_s);
  clock.set(61_s);
  EXPECT_EQ(other.time_of_day(), kEpoch + 61);
  EXPECT_EQ(other.nvram(0x0c) & 0xb0, 0xb0);
}

TEST_F(RtcTest, GarbageIsSurvived) {
  for (const int fill : {0x00, 0x11, 0x7f, 0x80, 0xff}) {
    restore_garbage(rtc, std::byte(fill));
    uint32_t x = 5;
    for (int i = 0; i < 20000; ++i) {
      x = x * 1664525 + 1013904223;
      put(static_cast<uint8_t>(x >> 24 & 0x8f), static_cast<uint8_t>(x >> 8));
      get(static_cast<uint8_t>(x >> 16));
      put(0x32, static_cast<uint8_t>(x >> 4));
      clock.set(clock.now() + Nanoseconds(x >> 8));
      rtc.advance(clock.now());
      rtc.next_deadline();
    }
  }
}

}  // namespace
}  // namespace cupel::chips
