#include "core/bus.h"

#include <gtest/gtest.h>

namespace cupel {
namespace {

class Recorder : public BusDevice {
 public:
  uint64_t read(uint64_t offset, unsigned) override {
    last_offset = offset;
    return answer;
  }
  void write(uint64_t offset, unsigned size, uint64_t value) override {
    last_offset = offset;
    last_size = size;
    last_value = value;
  }
  uint64_t answer = 0x1122334455667788;
  uint64_t last_offset = 0;
  unsigned last_size = 0;
  uint64_t last_value = 0;
};

class BusTest : public testing::Test {
 protected:
  Bus bus{"port"};
  Recorder a, b;
};

TEST_F(BusTest, DecodesByRangeAndCountsFromItsStart) {
  ASSERT_TRUE(bus.attach(0x3f8, 8, a, "uart").ok());
  ASSERT_TRUE(bus.attach(0x60, 5, b, "keyboard").ok());
  EXPECT_EQ(bus.read(0x3fb, 1), 0x88u) << "cut to the size";
  EXPECT_EQ(a.last_offset, 3u);
  EXPECT_TRUE(bus.write(0x64, 1, 0x1fe));
  EXPECT_EQ(b.last_offset, 4u);
  EXPECT_EQ(b.last_value, 0xfeu);
  EXPECT_EQ(bus.read(0x3f8, 8), 0x1122334455667788u);
}

TEST_F(BusTest, NobodyReadsAsAllOnes) {
  ASSERT_TRUE(bus.attach(0x10, 4, a, "a").ok());
  EXPECT_EQ(bus.read(0x0f, 1), 0xffu);
  EXPECT_EQ(bus.read(0x14, 2), 0xffffu);
  EXPECT_EQ(bus.read(0x12, 4), 0xffffffffu) << "half inside is outside";
  EXPECT_EQ(bus.read(UINT64_MAX, 8), UINT64_MAX);
  EXPECT_FALSE(bus.write(0x14, 1, 0));
  EXPECT_TRUE(bus.covers(0x10, 4));
  EXPECT_FALSE(bus.covers(0x11, 4));
}

TEST_F(BusTest, RefusesOverlapsAndNamesBoth) {
  ASSERT_TRUE(bus.attach(0x100, 0x10, a, "first").ok());
  static constexpr struct {
    uint64_t start, length;
    bool ok;
  } kRows[] = {{0xf8, 8, true},     {0xf8, 9, false}, {0x10f, 1, false},   {0x104, 4, false},
               {0xf0, 0x30, false}, {0x110, 4, true}, {0x100, 0x10, false}};
  for (const auto& row : kRows) {
    Bus fresh("port");
    ASSERT_TRUE(fresh.attach(0x100, 0x10, a, "first").ok());
    const auto result = fresh.attach(row.start, row.length, b, "second");
    ASSERT_EQ(result.ok(), row.ok) << std::hex << row.start;
    if (row.ok) continue;
    EXPECT_EQ(result.error().kind, ErrorKind::bad_input);
    EXPECT_NE(result.error().message.find("'first'"), std::string::npos);
    EXPECT_NE(result.error().message.find("'second'"), std::string::npos);
  }
}

TEST_F(BusTest, RefusesEmptyAndWrappingRanges) {
  EXPECT_FALSE(bus.attach(0x100, 0, a, "empty").ok());
  EXPECT_FALSE(bus.attach(UINT64_MAX - 3, 8, a, "wrapping").ok());
  EXPECT_TRUE(bus.attach(UINT64_MAX - 7, 8, a, "last").ok());
  EXPECT_EQ(bus.read(UINT64_MAX, 1), 0x88u);
}

TEST_F(BusTest, DetachedDevicesAnswerNoMore) {
  ASSERT_TRUE(bus.attach(0x10, 4, a, "a").ok());
  ASSERT_TRUE(bus.attach(0x20, 4, a, "a again").ok());
  EXPECT_TRUE(bus.covers(0x20, 1));
  bus.detach(a);
  EXPECT_FALSE(bus.covers(0x10, 1));
  EXPECT_FALSE(bus.covers(0x20, 1));
  EXPECT_TRUE(bus.attach(0x10, 4, b, "b").ok());
}

}  // namespace
}  // namespace cupel
