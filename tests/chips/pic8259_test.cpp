#include "core/chips/pic8259.h"

#include <gtest/gtest.h>

#include "tests/chips/archive_round_trip.h"

namespace cupel::chips {
namespace {

class PicTest : public testing::Test {
 protected:
  PicTest() { initialize(0x01); }

  // Vectors 0x30 and 0x38, everything unmasked.
  void initialize(uint8_t icw4, uint8_t icw1 = 0x11) {
    for (BusDevice* chip : {&pic.master_ports(), &pic.slave_ports()}) {
      const bool master = chip == &pic.master_ports();
      chip->write(0, 1, icw1);
      chip->write(1, 1, master ? 0x30 : 0x38);
      chip->write(1, 1, master ? 0x04 : 0x02);
      chip->write(1, 1, icw4);
      chip->write(1, 1, 0);
    }
  }
  void master(unsigned port, uint8_t value) { pic.master_ports().write(port, 1, value); }
  void slave(unsigned port, uint8_t value) { pic.slave_ports().write(port, 1, value); }
  uint8_t in_service() {
    master(0, 0x0b);
    return static_cast<uint8_t>(pic.master_ports().read(0, 1));
  }
  uint8_t requested() {
    master(0, 0x0a);
    return static_cast<uint8_t>(pic.master_ports().read(0, 1));
  }
  void pulse(unsigned line) {
    pic.set_irq(line, false);
    pic.set_irq(line, true);
  }

  DualPic8259 pic;
};

TEST_F(PicTest, EachLineHasItsVector) {
  for (unsigned line = 0; line < 16; ++line) {
    if (line == 2) continue;
    pulse(line);
    ASSERT_TRUE(pic.pending());
    EXPECT_EQ(pic.acknowledge(), 0x30 + line);
    EXPECT_FALSE(pic.pending());
    if (line >= 8) slave(0, 0x20);
    master(0, 0x20);
  }
}

TEST_F(PicTest, AnEdgeIsTakenOnce) {
  pic.set_irq(0, true);
  pic.acknowledge();
  master(0, 0x20);
  EXPECT_FALSE(pic.pending()) << "the line is still up, but did not rise again";
  pulse(0);
  EXPECT_TRUE(pic.pending());
}

TEST_F(PicTest, ALevelIsTakenUntilItFalls) {
  pic.edge_level_ports().write(0, 2, 0x0820);  // lines 5 and 11
  EXPECT_EQ(pic.edge_level_ports().read(0, 2), 0x0820u);
  pic.set_irq(11, true);
  EXPECT_EQ(pic.acknowledge(), 0x3b);
  EXPECT_FALSE(pic.pending());
  slave(0, 0x20);
  master(0, 0x20);
  EXPECT_TRUE(pic.pending());
  pic.set_irq(11, false);
  EXPECT_FALSE(pic.pending());
}

TEST_F(PicTest, LegacyLinesCannotBeLevelTriggered) {
  pic.edge_level_ports().write(0, 1, 0xff);
  pic.edge_level_ports().write(1, 1, 0xff);
  EXPECT_EQ(pic.edge_level_ports().read(0, 2), 0xdef8u);
}

TEST_F(PicTest, HigherPriorityInterruptsLowerOnly) {
  pulse(5);
  EXPECT_EQ(pic.acknowledge(), 0x35);
  pulse(6);
  EXPECT_FALSE(pic.pending());
  pulse(1);
  EXPECT_TRUE(pic.pending());
  EXPECT_EQ(pic.acknowledge(), 0x31);
  EXPECT_EQ(in_service(), 0x22);
  master(0, 0x20);
  EXPECT_EQ(in_service(), 0x20) << "a nonspecific EOI ends the most urgent";
  master(0, 0x65);
  EXPECT_EQ(in_service(), 0x00);
  EXPECT_EQ(pic.acknowledge(), 0x36);
}

TEST_F(PicTest, MaskedRequestsWait) {
  master(1, 0x02);
  pulse(1);
  EXPECT_FALSE(pic.pending());
  EXPECT_EQ(requested(), 0x02);
  EXPECT_EQ(pic.master_ports().read(1, 1), 0x02u);
  master(1, 0x00);
  EXPECT_TRUE(pic.pending());
}

TEST_F(PicTest, AWithdrawnMasterRequestGivesSpuriousIrq7) {
  pulse(4);
  pic.set_irq(4, false);
  EXPECT_FALSE(pic.pending());
  EXPECT_EQ(pic.acknowledge(), 0x37);
  EXPECT_EQ(in_service(), 0x00) << "a spurious interrupt is not in service";
}

TEST_F(PicTest, AWithdrawnSlaveRequestGivesSpuriousIrq7OfTheMaster) {
  pulse(10);
  pic.set_irq(10, false);
  EXPECT_EQ(pic.acknowledge(), 0x37);
}

TEST_F(PicTest, RotatingEoiMovesPriority) {
  pulse(3);
  pic.acknowledge();
  master(0, 0xa0);
  pulse(3);
  pulse(4);
  EXPECT_EQ(pic.acknowledge(), 0x34) << "3 is the lowest now";
  master(0, 0xe4);
  master(0, 0xc7);  // 7 the lowest: back to the usual order
  EXPECT_EQ(pic.acknowledge(), 0x33);
}

TEST_F(PicTest, AutomaticEoiLeavesNothingInService) {
  initialize(0x03);
  pulse(6);
  EXPECT_EQ(pic.acknowledge(), 0x36);
  EXPECT_EQ(in_service(), 0);
  master(0, 0x80);  // rotate in automatic EOI mode
  pulse(0);
  pic.acknowledge();
  pulse(0);
  pulse(1);
  EXPECT_EQ(pic.acknowledge(), 0x31);
}

TEST_F(PicTest, SpecialMaskLetsLowerPriorityThroughAMaskedService) {
  pulse(1);
  pic.acknowledge();
  pulse(6);
  EXPECT_FALSE(pic.pending());
  master(1, 0x02);
  master(0, 0x68);
  EXPECT_TRUE(pic.pending());
  pic.acknowledge();
  master(0, 0x20);
  EXPECT_EQ(in_service(), 0x02) << "a nonspecific EOI skips the masked one";
}

TEST_F(PicTest, SpecialFullyNestedLetsTheSlaveInterruptItself) {
  initialize(0x11);
  pulse(12);
  EXPECT_EQ(pic.acknowledge(), 0x3c);
  pulse(8);
  EXPECT_TRUE(pic.pending());
  EXPECT_EQ(pic.acknowledge(), 0x38);
  initialize(0x01);
  pulse(12);
  pic.acknowledge();
  pulse(8);
  EXPECT_FALSE(pic.pending());
}

TEST_F(PicTest, PollAcknowledges) {
  pulse(4);
  master(0, 0x0c);
  EXPECT_EQ(pic.master_ports().read(0, 1), 0x84u);
  EXPECT_EQ(in_service(), 0x10);
  master(0, 0x20);
  master(0, 0x0c);
  EXPECT_EQ(pic.master_ports().read(0, 1), 0x00u);
}

TEST_F(PicTest, InitializationForgetsRequestsUntilTheyRiseAgain) {
  pic.set_irq(4, true);
  initialize(0x01);
  EXPECT_FALSE(pic.pending());
  pulse(4);
  EXPECT_EQ(pic.acknowledge(), 0x34);
}

TEST_F(PicTest, SingleWithoutIcw4TakesTwoWords) {
  master(0, 0x12);
  master(1, 0x40);
  master(1, 0xfe);
  EXPECT_EQ(pic.master_ports().read(1, 1), 0xfeu);
  pulse(0);
  EXPECT_EQ(pic.acknowledge(), 0x40);
}

TEST_F(PicTest, TwoSlaveRequestsAreBothSeen) {
  pulse(9);
  pulse(14);
  EXPECT_EQ(pic.acknowledge(), 0x39);
  slave(0, 0x20);
  master(0, 0x20);
  EXPECT_EQ(pic.acknowledge(), 0x3e);
}

TEST_F(PicTest, IntrFollowsPending) {
  int changes = 0;
  pic.intr.connect([&](bool) { ++changes; });
  pulse(1);
  EXPECT_TRUE(pic.intr.level());
  pic.acknowledge();
  EXPECT_FALSE(pic.intr.level());
  EXPECT_EQ(changes, 2);
}

TEST_F(PicTest, ARestoredPairGoesOnMidService) {
  pulse(12);
  pic.acknowledge();
  pulse(9);
  pulse(1);
  slave(0, 0x11);  // in the middle of an initialization
  slave(1, 0x50);
  DualPic8259 other;
  copy_state(pic, other);
  EXPECT_EQ(other.pending(), pic.pending());
  other.slave_ports().write(1, 1, 0x02);
  other.slave_ports().write(1, 1, 0x01);
  EXPECT_EQ(other.acknowledge(), 0x31);
  other.master_ports().write(0, 1, 0x20);
  other.master_ports().write(0, 1, 0x20);
  other.set_irq(10, true);
  EXPECT_EQ(other.acknowledge(), 0x52);
}

TEST_F(PicTest, GarbageIsSurvived) {
  for (const int fill : {0x00, 0x5a, 0xff}) {
    restore_garbage(pic, std::byte(fill));
    uint32_t x = 7;
    for (int i = 0; i < 20000; ++i) {
      x = x * 1664525 + 1013904223;
      (x >> 31 ? pic.master_ports() : pic.slave_ports()).write(x >> 30 & 1, 1, x >> 8 & 0xff);
      pic.set_irq(x >> 16 & 31, (x >> 21 & 1) != 0);
      if ((x >> 22 & 3) == 0) pic.acknowledge();
    }
  }
}

}  // namespace
}  // namespace cupel::chips
