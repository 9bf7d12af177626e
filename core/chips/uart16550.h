// 16550A serial port. Source: TI TL16C550C and National PC16550D data sheets.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <string_view>

#include "core/chips/byte_device.h"
#include "core/chips/chip.h"
#include "core/clock.h"
#include "core/irq_line.h"

namespace cupel::chips {

// Eight ports. `irq` is wired as on a PC: OUT2 gates it.
//
// Deviations: a character is sent the moment it is written, so the transmitter is always empty and
// LSR always shows THRE and TEMT; characters are 8 bits whatever LCR says; set-break is stored but
// not sent; a divisor of 0 times as 1.
class Uart16550 : public ByteDevice, public Chip {
 public:
  using Sink = std::function<void(uint8_t)>;
  // Errors that travel with a received character, as LSR bits.
  static constexpr uint8_t kParityError = 0x04;
  static constexpr uint8_t kFramingError = 0x08;
  static constexpr uint8_t kBreak = 0x10;
  // Modem inputs, as MSR bits.
  static constexpr uint8_t kCts = 0x10;
  static constexpr uint8_t kDsr = 0x20;
  static constexpr uint8_t kRi = 0x40;
  static constexpr uint8_t kDcd = 0x80;

  explicit Uart16550(const VirtualClock& clock) : clock_(clock) {}

  // Gets every character sent while not in loopback.
  void set_sink(Sink sink) { sink_ = std::move(sink); }
  // A character arrives on the wire now. False: it, or in the mode without FIFO the one before it,
  // was lost (overrun), or the wire is disconnected by loopback.
  bool receive(uint8_t character, uint8_t errors = 0);
  // Input that waits outside for space instead of overrunning, such as text pasted into a console.
  // What has entered the FIFO the guest can still clear, as drivers do when they open the port.
  void queue_input(std::string_view text);
  size_t queued_input() const { return waiting_.size(); }
  // Levels of the inputs, kCts | kDsr | kRi | kDcd; a terminal that is ready at first.
  void set_modem_inputs(uint8_t levels);

  void advance(Nanoseconds now) override;
  Nanoseconds next_deadline() const override;
  void save(ArchiveWriter& out) const override;
  void restore(ArchiveReader& in) override;

  IrqLine irq;

 protected:
  uint8_t read_byte(uint64_t offset) override;
  void write_byte(uint64_t offset, uint8_t value) override;

 private:
  static constexpr unsigned kFifoSize = 16;

  bool loopback() const;
  bool fifo_enabled() const;
  unsigned trigger() const;
  uint8_t interrupt_cause() const;
  Nanoseconds character_timeout() const;

  uint8_t read_receiver();
  uint8_t read_cause();
  uint8_t read_line_status();
  uint8_t read_modem_status();
  void transmit(uint8_t character);
  void write_enable(uint8_t value);
  void write_fifo_control(uint8_t value);
  void write_modem_control(uint8_t value);

  bool accept(uint8_t character, uint8_t errors);
  void show_top_errors();
  void clear_receiver();
  void feed();
  void restart_timeout();
  void update_modem_status();
  void update_irq();

  template <class Self, class Visit>
  static void fields(Self& s, Visit&& visit) {
    visit(s.enable_, s.fifo_control_, s.line_control_, s.modem_control_, s.line_errors_,
          s.modem_status_, s.scratch_, s.divisor_, s.modem_inputs_, s.characters_, s.errors_,
          s.head_, s.count_, s.transmitter_pending_, s.timeout_pending_, s.timeout_at_);
  }

  const VirtualClock& clock_;
  Sink sink_;
  std::deque<uint8_t> waiting_;  // queue_input() that has not entered the receiver yet

  uint8_t enable_ = 0;                         // IER
  uint8_t fifo_control_ = 0;                   // FCR: enable and trigger bits
  uint8_t line_control_ = 0;                   // LCR
  uint8_t modem_control_ = 0;                  // MCR
  uint8_t line_errors_ = 0;                    // LSR: OE, PE, FE, BI
  uint8_t modem_status_ = kCts | kDsr | kDcd;  // MSR
  uint8_t scratch_ = 0;
  uint16_t divisor_ = 12;  // 9600 baud; the data sheet leaves it undefined
  uint8_t modem_inputs_ = kCts | kDsr | kDcd;
  std::array<uint8_t, kFifoSize> characters_{};
  std::array<uint8_t, kFifoSize> errors_{};
  uint8_t head_ = 0;
  uint8_t count_ = 0;
  bool transmitter_pending_ = false;  // THRE cause: set when emptied, cleared by reading IIR
  bool timeout_pending_ = false;
  Nanoseconds timeout_at_ = Nanoseconds::max();
};

}  // namespace cupel::chips
