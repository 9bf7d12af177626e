#include "core/chips/io_apic.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/chips/apic_bus.h"
#include "tests/chips/archive_round_trip.h"

namespace cupel::chips {
namespace {

class IoApicTest : public testing::Test {
 protected:
  IoApicTest() {
    io.set_message_sink([this](const ApicMessage& m) {
      sent.push_back(m);
      return accepting;
    });
  }
  uint32_t in(uint8_t index) {
    io.write(0, 4, index);
    return static_cast<uint32_t>(io.read(0x10, 4));
  }
  void out(uint8_t index, uint32_t value) {
    io.write(0, 4, index);
    io.write(0x10, 4, value);
  }
  void route(unsigned pin, uint32_t low, uint8_t destination = 0) {
    out(static_cast<uint8_t>(0x11 + 2 * pin), static_cast<uint32_t>(destination) << 24);
    out(static_cast<uint8_t>(0x10 + 2 * pin), low);
  }

  IoApic io;
  std::vector<ApicMessage> sent;
  bool accepting = true;
};

TEST_F(IoApicTest, IdentifiesItself) {
  EXPECT_EQ(in(1), 0x00170020u);
  out(0, 0xff000000);
  EXPECT_EQ(in(0), 0x0f000000u);
  for (unsigned pin = 0; pin < IoApic::kPins; ++pin)
    EXPECT_EQ(in(static_cast<uint8_t>(0x10 + 2 * pin)), 0x10000u) << "masked at first";
  EXPECT_EQ(in(0x40), 0u) << "behind the last entry";
}

TEST_F(IoApicTest, AnEdgeIsSentAsItsEntrySays) {
  route(4, 0x0934, 0x0f);
  io.set_irq(4, true);
  io.set_irq(4, true);
  io.set_irq(4, false);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].vector, 0x34);
  EXPECT_EQ(sent[0].mode, DeliveryMode::lowest_priority);
  EXPECT_TRUE(sent[0].logical);
  EXPECT_EQ(sent[0].destination, 0x0fu);
  EXPECT_FALSE(sent[0].level);
}

TEST_F(IoApicTest, TheFullPhysicalDestinationIsABroadcast) {
  route(4, 0x0034, 0xff);
  io.set_irq(4, true);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].destination, ApicMessage::kBroadcast);
}

TEST_F(IoApicTest, AnEdgeAtAMaskedPinIsLost) {
  io.set_irq(4, true);
  route(4, 0x0034);
  EXPECT_TRUE(sent.empty());
}

TEST_F(IoApicTest, ALevelFiresOnceUntilEoiAndAgainWhileThePinIsUp) {
  route(10, 0x8050);
  io.set_irq(10, true);
  EXPECT_EQ(in(0x10 + 20), 0xc050u);
  io.set_irq(10, false);
  io.set_irq(10, true);
  EXPECT_EQ(sent.size(), 1u);
  io.end_of_interrupt(0x51);
  EXPECT_EQ(sent.size(), 1u) << "somebody else's vector";
  io.end_of_interrupt(0x50);
  EXPECT_EQ(sent.size(), 2u);
  io.set_irq(10, false);
  io.write(0x40, 4, 0x50);
  EXPECT_EQ(sent.size(), 2u);
  EXPECT_EQ(in(0x10 + 20), 0x8050u);
}

TEST_F(IoApicTest, ALevelWaitsBehindTheMask) {
  io.set_irq(10, true);
  route(10, 0x18050);
  EXPECT_TRUE(sent.empty());
  out(0x10 + 20, 0x8050);
  EXPECT_EQ(sent.size(), 1u);
}

TEST_F(IoApicTest, SwitchingToEdgeForgetsTheRemoteIrr) {
  route(10, 0x8050);
  io.set_irq(10, true);
  out(0x10 + 20, 0x10050);
  EXPECT_EQ(in(0x10 + 20), 0x10050u);
  out(0x10 + 20, 0x8050);
  EXPECT_EQ(sent.size(), 2u);
}

TEST_F(IoApicTest, ReadOnlyBitsCannotBeWritten) {
  out(0x10, 0xffffffff);
  EXPECT_EQ(in(0x10), 0x0001afffu);
  out(0x11, 0xffffffff);
  EXPECT_EQ(in(0x11), 0xff000000u);
}

TEST_F(IoApicTest, ALevelNobodyAcceptedIsSentAgain) {
  accepting = false;
  route(10, 0x8050);
  io.set_irq(10, true);
  EXPECT_EQ(in(0x10 + 20), 0x8050u);
  accepting = true;
  out(0x10 + 20, 0x8050);
  EXPECT_EQ(sent.size(), 2u);
  EXPECT_EQ(in(0x10 + 20), 0xc050u);
}

TEST_F(IoApicTest, ReservedModesSendNothing) {
  route(3, 0x0334);
  route(5, 0x0634);
  io.set_irq(3, true);
  io.set_irq(5, true);
  io.set_irq(24, true);
  EXPECT_TRUE(sent.empty());
}

TEST_F(IoApicTest, ALevelInterruptCirclesThroughALocalApic) {
  VirtualClock clock;
  LocalApic cpu(clock, {});
  ApicBus bus;
  bus.attach(cpu);
  cpu.write(0xf0, 4, 0x1ff);
  io.set_message_sink([&](const ApicMessage& m) { return bus.deliver(m); });
  cpu.set_eoi_sink([&](uint8_t v) { io.end_of_interrupt(v); });
  route(9, 0x8061);
  io.set_irq(9, true);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(cpu.acknowledge(), 0x61);
    if (i == 2) io.set_irq(9, false);
    cpu.write(0xb0, 4, 0);
  }
  EXPECT_EQ(cpu.highest_pending(), -1);
}

TEST_F(IoApicTest, ARestoredIoApicWaitsForItsEoi) {
  route(10, 0x8050, 2);
  io.set_irq(10, true);
  IoApic other;
  copy_state(io, other);
  int again = 0;
  other.set_message_sink([&](const ApicMessage& m) {
    again += m.vector == 0x50 && m.destination == 2;
    return true;
  });
  other.set_irq(10, true);
  EXPECT_EQ(again, 0);
  other.end_of_interrupt(0x50);
  EXPECT_EQ(again, 1);
}

TEST_F(IoApicTest, GarbageIsSurvived) {
  for (const int fill : {0x00, 0x5a, 0xff}) {
    restore_garbage(io, std::byte(fill));
    uint32_t x = 11;
    for (int i = 0; i < 20000; ++i) {
      x = x * 1664525 + 1013904223;
      io.write((x >> 24 & 7) * 0x10, 4, x >> 3);
      io.read(x >> 16 & 0xff, 4);
      io.set_irq(x >> 10 & 31, (x >> 9 & 1) != 0);
    }
  }
}

}  // namespace
}  // namespace cupel::chips
