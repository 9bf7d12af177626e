#include "core/chips/uart16550.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/chips/archive_round_trip.h"

namespace cupel::chips {
namespace {

constexpr unsigned kData = 0, kEnable = 1, kCause = 2, kFifo = 2, kLine = 3, kModem = 4,
                   kLineStatus = 5, kModemStatus = 6, kScratch = 7;

class UartTest : public testing::Test {
 protected:
  UartTest() {
    uart.set_sink([this](uint8_t c) { sent += static_cast<char>(c); });
    uart.irq.connect([this](bool level) {
      irq = level;
      rises += level;
    });
    out(kLine, 0x03);
    out(kModem, 0x08);
  }
  uint8_t in(unsigned port) { return static_cast<uint8_t>(uart.read(port, 1)); }
  void out(unsigned port, uint8_t value) { uart.write(port, 1, value); }
  void pass(Nanoseconds t) {
    clock.set(clock.now() + t);
    uart.advance(clock.now());
  }

  VirtualClock clock;
  Uart16550 uart{clock};
  std::string sent;
  bool irq = false;
  int rises = 0;
};

TEST_F(UartTest, PolledOutputReachesTheSinkAtOnce) {
  for (const char c : std::string("boot")) {
    ASSERT_EQ(in(kLineStatus)&0x60, 0x60);
    out(kData, static_cast<uint8_t>(c));
  }
  EXPECT_EQ(sent, "boot");
  EXPECT_FALSE(irq);
}

TEST_F(UartTest, EnablingTheTransmitterInterruptRaisesItEveryTime) {
  for (int i = 0; i < 3; ++i) {
    out(kEnable, 0x02);
    EXPECT_TRUE(irq);
    EXPECT_EQ(in(kCause), 0x02);
    EXPECT_FALSE(irq) << "reading the cause acknowledges it";
    EXPECT_EQ(in(kCause), 0x01);
    out(kEnable, 0);
  }
}

TEST_F(UartTest, EachSentCharacterGivesAnEdge) {
  out(kEnable, 0x02);
  const int before = rises;
  out(kData, 'x');
  out(kData, 'y');
  EXPECT_EQ(rises, before + 2);
}

TEST_F(UartTest, CausesAreReportedInOrderOfPriority) {
  out(kEnable, 0x0f);
  uart.set_modem_inputs(0);
  uart.receive('a', Uart16550::kParityError);
  EXPECT_EQ(in(kCause), 0x06);
  EXPECT_EQ(in(kLineStatus)&0x1e, Uart16550::kParityError);
  EXPECT_EQ(in(kCause), 0x04);
  EXPECT_EQ(in(kData), 'a');
  EXPECT_EQ(in(kCause), 0x02);
  EXPECT_EQ(in(kCause), 0x00);
  EXPECT_EQ(in(kModemStatus), 0x0b);
  EXPECT_EQ(in(kCause), 0x01);
  EXPECT_FALSE(irq);
}

TEST_F(UartTest, TriggerLevelsHoldBackTheInterrupt) {
  static constexpr struct {
    uint8_t fcr;
    int level;
  } kRows[] = {{0x01, 1}, {0x41, 4}, {0x81, 8}, {0xc1, 14}};
  out(kEnable, 0x01);
  for (const auto& row : kRows) {
    out(kFifo, row.fcr | 0x02);
    for (int i = 1; i <= row.level; ++i) {
      EXPECT_FALSE(irq) << row.level;
      uart.receive('c');
    }
    EXPECT_TRUE(irq) << row.level;
    EXPECT_EQ(in(kCause), 0xc4);
  }
}

TEST_F(UartTest, AFewCharactersTimeOutAfterFourCharacterTimes) {
  out(kEnable, 0x01);
  out(kFifo, 0xc1);
  EXPECT_EQ(uart.next_deadline(), Nanoseconds::max());
  uart.receive('q');
  // 9600 baud, 8N1: 40 bits last 4.1667 ms.
  EXPECT_EQ(uart.next_deadline(), Nanoseconds(4'166'666));
  pass(Nanoseconds(4'166'665));
  EXPECT_FALSE(irq);
  pass(1_ns);
  EXPECT_TRUE(irq);
  EXPECT_EQ(in(kCause), 0xcc);
  EXPECT_EQ(in(kData), 'q');
  EXPECT_FALSE(irq);
  EXPECT_EQ(uart.next_deadline(), Nanoseconds::max());
}

TEST_F(UartTest, ANewCharacterRestartsTheTimeout) {
  out(kEnable, 0x01);
  out(kFifo, 0xc1);
  uart.receive('1');
  pass(4_ms);
  uart.receive('2');
  EXPECT_EQ(uart.next_deadline(), Nanoseconds(8'166'666));
}

TEST_F(UartTest, AFullFifoLosesTheNewCharacterAndSaysSo) {
  out(kFifo, 0x01);
  for (int i = 0; i < 16; ++i) EXPECT_TRUE(uart.receive(static_cast<uint8_t>(i)));
  EXPECT_FALSE(uart.receive(99));
  EXPECT_EQ(in(kLineStatus)&0x03, 0x03);
  EXPECT_EQ(in(kLineStatus)&0x02, 0) << "reading clears the overrun";
  for (int i = 0; i < 16; ++i) EXPECT_EQ(in(kData), i);
  EXPECT_EQ(in(kLineStatus)&0x01, 0);
}

TEST_F(UartTest, AFullHoldingRegisterLosesTheOldCharacter) {
  EXPECT_TRUE(uart.receive('a'));
  EXPECT_FALSE(uart.receive('b'));
  EXPECT_EQ(in(kLineStatus)&0x03, 0x03);
  EXPECT_EQ(in(kData), 'b');
}

TEST_F(UartTest, ErrorsBelongToTheirCharacter) {
  out(kFifo, 0x01);
  uart.receive('a');
  uart.receive('b', Uart16550::kFramingError);
  EXPECT_EQ(in(kLineStatus), 0xe1) << "an error waits in the FIFO, but not at its top";
  EXPECT_EQ(in(kData), 'a');
  EXPECT_EQ(in(kLineStatus)&0x1e, Uart16550::kFramingError);
  EXPECT_EQ(in(kLineStatus), 0x61);
}

TEST_F(UartTest, PastedInputIsNeverLost) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>('a' + i % 26);
  uart.queue_input(text);
  out(kFifo, 0x01);  // toggling the FIFO loses what is inside, as in the chip
  std::string got;
  while ((in(kLineStatus)&1) != 0) got += static_cast<char>(in(kData));
  EXPECT_EQ(got, text.substr(1));
  EXPECT_EQ(in(kLineStatus)&0x02, 0);
}

TEST_F(UartTest, WaitingInputGivesAnEdgePerReadWithoutFifo) {
  out(kEnable, 0x01);
  uart.queue_input("abc");
  std::string got;
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(rises, i);
    got += static_cast<char>(in(kData));
  }
  EXPECT_EQ(got, "abc");
  EXPECT_FALSE(irq);
}

TEST_F(UartTest, LoopbackReturnsDataAndModemOutputsAndCutsTheWire) {
  out(kModem, 0x1a);  // RTS and OUT2, as Linux probes
  EXPECT_EQ(in(kModemStatus)&0xf0, 0x90);
  out(kData, 'L');
  EXPECT_EQ(sent, "");
  EXPECT_EQ(in(kData), 'L');
  EXPECT_FALSE(uart.receive('x'));
  uart.queue_input("later");
  EXPECT_EQ(in(kLineStatus)&1, 0);
  out(kModem, 0x08);
  EXPECT_EQ(in(kData), 'l');
}

TEST_F(UartTest, RingIndicatorCountsItsTrailingEdgeOnly) {
  in(kModemStatus);
  uart.set_modem_inputs(Uart16550::kRi);
  EXPECT_EQ(in(kModemStatus)&0x04, 0);
  uart.set_modem_inputs(0);
  EXPECT_EQ(in(kModemStatus)&0x04, 0x04);
}

TEST_F(UartTest, ProbesOfA16550ASucceed) {
  out(kScratch, 0x5a);
  EXPECT_EQ(in(kScratch), 0x5a);
  out(kEnable, 0xff);
  EXPECT_EQ(in(kEnable), 0x0f);
  out(kFifo, 0x01);
  EXPECT_EQ(in(kCause)&0xc0, 0xc0);
  out(kLine, 0x83);
  out(0, 0x34);
  out(1, 0x12);
  EXPECT_EQ(in(0), 0x34);
  EXPECT_EQ(in(1), 0x12);
  out(kLine, 0x03);
  EXPECT_EQ(in(kEnable), 0x0f);
}

TEST_F(UartTest, InterruptsNeedOut2) {
  out(kEnable, 0x02);
  EXPECT_TRUE(irq);
  out(kModem, 0);
  EXPECT_FALSE(irq);
}

TEST_F(UartTest, WideAccessesTouchNeighbouringRegisters) {
  uart.write(6, 2, 0x7700);
  EXPECT_EQ(in(kScratch), 0x77);
  EXPECT_EQ(uart.read(7, 4), 0xffffff77u);
}

TEST_F(UartTest, ARestoredPortGoesOnMidTimeout) {
  out(kEnable, 0x01);
  out(kFifo, 0xc1);
  uart.receive('1');
  uart.receive('2', Uart16550::kBreak);
  Uart16550 other(clock);
  copy_state(uart, other);
  EXPECT_EQ(other.next_deadline(), uart.next_deadline());
  other.advance(other.next_deadline());
  EXPECT_TRUE(other.irq.level());
  EXPECT_EQ(other.read(kData, 1), '1');
  EXPECT_EQ(other.read(kLineStatus, 1) & 0x10, 0x10u);
}

TEST_F(UartTest, ARestoredPortKeepsItsWaitingInput) {
  uart.queue_input("input");
  Uart16550 other(clock);
  copy_state(uart, other);
  std::string got;
  while ((other.read(kLineStatus, 1) & 1) != 0) got += static_cast<char>(other.read(kData, 1));
  EXPECT_EQ(got, "input");
}

TEST_F(UartTest, GarbageIsSurvived) {
  for (const int fill : {0x00, 0x7f, 0xff}) {
    restore_garbage(uart, std::byte(fill));
    uint32_t x = 1;
    for (int i = 0; i < 5000; ++i) {
      x = x * 1664525 + 1013904223;
      uart.write(x >> 24, 1u << (x >> 20 & 3), x);
      uart.read(x >> 16 & 15, 1);
      uart.receive(static_cast<uint8_t>(x), static_cast<uint8_t>(x >> 8));
      pass(Nanoseconds(x >> 12));
      uart.next_deadline();
    }
  }
}

}  // namespace
}  // namespace cupel::chips
