#include "scenarios/language/units.h"

#include <gtest/gtest.h>

namespace cupel::scenarios {
namespace {

TEST(Units, DurationsAreExact) {
  EXPECT_EQ(parse_duration("10s").value(), 10_s);
  EXPECT_EQ(parse_duration("250ms").value(), 250_ms);
  EXPECT_EQ(parse_duration("1h").value(), 3600_s);
  EXPECT_EQ(parse_duration("1.5 s").value(), 1500_ms);
  EXPECT_EQ(parse_duration("0").value(), 0_ns);
  EXPECT_EQ(parse_duration("-3s").value(), Nanoseconds(-3'000'000'000));
}

TEST(Units, DurationsThatAreNoneSayWhy) {
  EXPECT_EQ(parse_duration("10").error().what, "has no unit");
  EXPECT_EQ(parse_duration("ten").error().what, "is not a duration");
  EXPECT_EQ(parse_duration("10 parsecs").error().what, "has an unknown unit");
  EXPECT_EQ(parse_duration("9999999999h").error().what, "is too large");
  EXPECT_EQ(parse_duration("99999999999999999999999s").error().what, "is too large");
  EXPECT_EQ(parse_duration("0.5ns").error().what, "is finer than its smallest unit");
  EXPECT_EQ(parse_duration("1.0000001s").error().what, "has more than six decimal places");
  for (const char* text : {"", "-", ".", "1.", ".5s", "s", "+", "1e3s"}) {
    EXPECT_FALSE(parse_duration(text).ok()) << text;
  }
}

TEST(Units, SizesHaveBinaryAndDecimalUnits) {
  EXPECT_EQ(parse_size("256MiB").value(), 256_MiB);
  EXPECT_EQ(parse_size("1.5GiB").value(), 1536_MiB);
  EXPECT_EQ(parse_size("2MB").value(), 2'000'000u);
  EXPECT_EQ(parse_size("0").value(), 0u);
  EXPECT_EQ(parse_size("-1MiB").error().what, "is negative");
  EXPECT_EQ(parse_size("512").error().what, "has no unit");
  EXPECT_EQ(parse_size("99999999TiB").error().what, "is too large");
  EXPECT_EQ(parse_size("0.3KiB").error().what, "is finer than its smallest unit");
}

TEST(Units, ARateIsTheTimeBetweenTwoEvents) {
  EXPECT_EQ(parse_rate("200/s").value(), 5_ms);
  EXPECT_EQ(parse_rate("1/min").value(), 60_s);
  EXPECT_FALSE(parse_rate("0/s").ok());
  EXPECT_FALSE(parse_rate("-5/s").ok());
  EXPECT_FALSE(parse_rate("200").ok());
  EXPECT_FALSE(parse_rate("2/ns").ok());
}

TEST(Units, NumbersMayBeShares) {
  EXPECT_DOUBLE_EQ(parse_number("20%").value(), 0.2);
  EXPECT_DOUBLE_EQ(parse_number("1e-3").value(), 0.001);
  EXPECT_FALSE(parse_number("nan").ok());
  EXPECT_FALSE(parse_number("inf").ok());
  EXPECT_FALSE(parse_number("1e999").ok());
}

TEST(Units, AddressesAreThoseOfOneVm) {
  EXPECT_EQ(parse_ipv4("10.0.0.10").value(), (Ipv4{10, 0, 0, 10}));
  for (const char* text : {"10.0.0", "10.0.0.256", "10.0.0.1.2", "127.0.0.1", "224.0.0.1",
                           "a.b.c.d", "10..0.1", "0010.0.0.1"}) {
    EXPECT_FALSE(parse_ipv4(text).ok()) << text;
  }
  EXPECT_EQ(parse_mac("52:54:00:00:00:0a").value(), (MacAddress{0x52, 0x54, 0, 0, 0, 0x0a}));
  for (const char* text : {"52:54:00:00:00", "53:54:00:00:00:0a", "52-54-00-00-00-0a",
                           "52:54:00:00:00:0g", "52:54:00:00:00:+a"}) {
    EXPECT_FALSE(parse_mac(text).ok()) << text;
  }
}

TEST(Units, FormatPicksTheLargestWholeUnit) {
  EXPECT_EQ(format_duration(1500_ms), "1500ms");
  EXPECT_EQ(format_duration(3600_s), "1h");
  EXPECT_EQ(format_duration(0_ns), "0ns");
  EXPECT_EQ(format_size(256_MiB), "256MiB");
  EXPECT_EQ(format_size(1000), "1000B");
  EXPECT_EQ(format_mac({0x52, 0x54, 0, 0, 0, 0x0a}), "52:54:00:00:00:0a");
}

}  // namespace
}  // namespace cupel::scenarios
