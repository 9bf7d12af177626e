#include "core/chips/uart16550.h"

#include <algorithm>

#include "core/chips/fields.h"

namespace cupel::chips {
namespace {

constexpr uint8_t kIerReceive = 0x01;
constexpr uint8_t kIerTransmit = 0x02;
constexpr uint8_t kIerLine = 0x04;
constexpr uint8_t kIerModem = 0x08;

constexpr uint8_t kIirNone = 0x01;
constexpr uint8_t kIirModem = 0x00;
constexpr uint8_t kIirTransmit = 0x02;
constexpr uint8_t kIirReceive = 0x04;
constexpr uint8_t kIirLine = 0x06;
constexpr uint8_t kIirTimeout = 0x0c;
constexpr uint8_t kIirFifos = 0xc0;

constexpr uint8_t kFcrEnable = 0x01;
constexpr uint8_t kFcrClearReceiver = 0x02;
constexpr uint8_t kFcrKept = 0xc9;  // enable, DMA mode, trigger

constexpr uint8_t kLcrDlab = 0x80;
constexpr uint8_t kMcrOut2 = 0x08;
constexpr uint8_t kMcrLoop = 0x10;

constexpr uint8_t kLsrReady = 0x01;
constexpr uint8_t kLsrOverrun = 0x02;
constexpr uint8_t kLsrTransmitterEmpty = 0x60;
constexpr uint8_t kLsrFifoError = 0x80;
constexpr uint8_t kCharacterErrors = 0x1c;

constexpr int64_t kBaudClock = 1'843'200;

}  // namespace

bool Uart16550::loopback() const { return (modem_control_ & kMcrLoop) != 0; }
bool Uart16550::fifo_enabled() const { return (fifo_control_ & kFcrEnable) != 0; }

unsigned Uart16550::trigger() const {
  static constexpr uint8_t kLevels[] = {1, 4, 8, 14};
  return fifo_enabled() ? kLevels[fifo_control_ >> 6] : 1;
}

// Highest priority first. The data sheet ranks time-out and data equally.
uint8_t Uart16550::interrupt_cause() const {
  if ((enable_ & kIerLine) != 0 && line_errors_ != 0) return kIirLine;
  if ((enable_ & kIerReceive) != 0 && timeout_pending_) return kIirTimeout;
  if ((enable_ & kIerReceive) != 0 && count_ >= trigger()) return kIirReceive;
  if ((enable_ & kIerTransmit) != 0 && transmitter_pending_) return kIirTransmit;
  if ((enable_ & kIerModem) != 0 && (modem_status_ & 0x0f) != 0) return kIirModem;
  return kIirNone;
}

void Uart16550::update_irq() {
  irq.set((modem_control_ & kMcrOut2) != 0 && !loopback() && interrupt_cause() != kIirNone);
}

// Four characters as LCR frames them; a bit lasts 16 divided clocks.
Nanoseconds Uart16550::character_timeout() const {
  const int64_t data_bits = 5 + (line_control_ & 3);
  const int64_t stop_bits = (line_control_ & 4) != 0 ? 2 : 1;
  const int64_t parity_bits = (line_control_ & 8) != 0 ? 1 : 0;
  const int64_t bits = 4 * (1 + data_bits + parity_bits + stop_bits);
  return Nanoseconds(bits * 16 * std::max<int64_t>(divisor_, 1) * 1'000'000'000 / kBaudClock);
}

void Uart16550::restart_timeout() {
  timeout_at_ =
      fifo_enabled() && count_ > 0 ? clock_.now() + character_timeout() : Nanoseconds::max();
}

bool Uart16550::receive(uint8_t character, uint8_t errors) {
  advance(clock_.now());
  return !loopback() && accept(character, errors);
}

bool Uart16550::accept(uint8_t character, uint8_t errors) {
  const unsigned capacity = fifo_enabled() ? kFifoSize : 1;
  const bool overrun = count_ >= capacity;
  if (overrun) line_errors_ |= kLsrOverrun;
  // A full FIFO loses the new character; a full holding register loses the old one.
  if (overrun && !fifo_enabled()) count_ = 0;
  if (count_ < capacity) {
    const unsigned tail = (head_ + count_) % kFifoSize;
    characters_[tail] = character;
    errors_[tail] = errors & kCharacterErrors;
    ++count_;
    if (count_ == 1) show_top_errors();
    if (!timeout_pending_) restart_timeout();
  }
  update_irq();
  return !overrun;
}

// LSR shows the errors of a character when it becomes the next one to be read.
void Uart16550::show_top_errors() {
  if (count_ == 0) return;
  line_errors_ |= errors_[head_];
}

void Uart16550::queue_input(std::string_view text) {
  waiting_.insert(waiting_.end(), text.begin(), text.end());
  advance(clock_.now());
  feed();
}

void Uart16550::feed() {
  if (loopback()) return;
  const unsigned capacity = fifo_enabled() ? kFifoSize : 1;
  while (count_ < capacity && !waiting_.empty()) {
    const uint8_t next = waiting_.front();
    waiting_.pop_front();
    accept(next, 0);
  }
}

void Uart16550::clear_receiver() {
  count_ = 0;
  head_ = 0;
  errors_.fill(0);
  timeout_pending_ = false;
  timeout_at_ = Nanoseconds::max();
}

void Uart16550::set_modem_inputs(uint8_t levels) {
  modem_inputs_ = levels & 0xf0;
  update_modem_status();
  update_irq();
}

// Delta bits remember changes until MSR is read; RI counts only its trailing edge.
void Uart16550::update_modem_status() {
  uint8_t levels = modem_inputs_;
  if (loopback()) {
    const uint8_t out = modem_control_;
    levels = static_cast<uint8_t>((out & 0x02) << 3 | (out & 0x01) << 5 | (out & 0x0c) << 4);
  }
  const uint8_t changed = (modem_status_ ^ levels) & 0xf0;
  uint8_t deltas = (changed & (kCts | kDsr | kDcd)) >> 4;
  if ((changed & kRi) != 0 && (levels & kRi) == 0) deltas |= 0x04;
  modem_status_ = static_cast<uint8_t>(levels | (modem_status_ & 0x0f) | deltas);
}

void Uart16550::advance(Nanoseconds now) {
  if (now < timeout_at_) return;
  timeout_at_ = Nanoseconds::max();
  timeout_pending_ = true;
  update_irq();
}

Nanoseconds Uart16550::next_deadline() const {
  const bool heard = (enable_ & kIerReceive) != 0 && (modem_control_ & kMcrOut2) != 0 &&
                     !loopback() && !irq.level();
  return heard ? timeout_at_ : Nanoseconds::max();
}

uint8_t Uart16550::read_byte(uint64_t offset) {
  advance(clock_.now());
  const bool dlab = (line_control_ & kLcrDlab) != 0;
  switch (offset) {
    case 0:
      return dlab ? static_cast<uint8_t>(divisor_) : read_receiver();
    case 1:
      return dlab ? static_cast<uint8_t>(divisor_ >> 8) : enable_;
    case 2:
      return read_cause();
    case 3:
      return line_control_;
    case 4:
      return modem_control_;
    case 5:
      return read_line_status();
    case 6:
      return read_modem_status();
    case 7:
      return scratch_;
    default:
      return 0xff;
  }
}

uint8_t Uart16550::read_receiver() {
  const uint8_t character = characters_[head_];
  timeout_pending_ = false;
  if (count_ > 0) {
    errors_[head_] = 0;
    --count_;
    // Without FIFO there is one register, which keeps showing its last character.
    if (fifo_enabled()) head_ = static_cast<uint8_t>((head_ + 1) % kFifoSize);
    show_top_errors();
  }
  restart_timeout();
  // The line falls before waiting input raises it again: edge-triggered controllers see both.
  update_irq();
  feed();
  return character;
}

uint8_t Uart16550::read_cause() {
  const uint8_t cause = interrupt_cause();
  if (cause == kIirTransmit) {
    transmitter_pending_ = false;
    update_irq();
  }
  return cause | (fifo_enabled() ? kIirFifos : 0);
}

uint8_t Uart16550::read_line_status() {
  uint8_t status = kLsrTransmitterEmpty | line_errors_;
  if (count_ > 0) status |= kLsrReady;
  if (fifo_enabled() &&
      std::any_of(errors_.begin(), errors_.end(), [](uint8_t e) { return e != 0; }))
    status |= kLsrFifoError;
  line_errors_ = 0;
  if (count_ > 0) errors_[head_] = 0;
  update_irq();
  return status;
}

uint8_t Uart16550::read_modem_status() {
  const uint8_t status = modem_status_;
  modem_status_ &= 0xf0;
  update_irq();
  return status;
}

void Uart16550::write_byte(uint64_t offset, uint8_t value) {
  advance(clock_.now());
  const bool dlab = (line_control_ & kLcrDlab) != 0;
  switch (offset) {
    case 0:
      if (dlab) {
        divisor_ = static_cast<uint16_t>((divisor_ & 0xff00) | value);
      } else {
        transmit(value);
      }
      break;
    case 1:
      if (dlab) {
        divisor_ = static_cast<uint16_t>((divisor_ & 0x00ff) | value << 8);
      } else {
        write_enable(value);
      }
      break;
    case 2:
      write_fifo_control(value);
      break;
    case 3:
      line_control_ = value;
      break;
    case 4:
      write_modem_control(value);
      break;
    case 7:
      scratch_ = value;
      break;
    default:
      break;  // LSR and MSR are read-only here
  }
}

void Uart16550::transmit(uint8_t character) {
  transmitter_pending_ = false;
  update_irq();
  if (loopback()) {
    accept(character, 0);
  } else if (sink_) {
    sink_(character);
  }
  transmitter_pending_ = true;
  update_irq();
}

// Enabling the transmitter interrupt while the transmitter is empty raises it at once; drivers
// start sending this way, and Linux tests for it.
void Uart16550::write_enable(uint8_t value) {
  const uint8_t before = enable_;
  enable_ = value & 0x0f;
  if ((enable_ & ~before & kIerTransmit) != 0) transmitter_pending_ = true;
  update_irq();
}

void Uart16550::write_fifo_control(uint8_t value) {
  const bool switched = ((value ^ fifo_control_) & kFcrEnable) != 0;
  // The other bits are only taken together with the enable bit.
  const bool enable = (value & kFcrEnable) != 0;
  if (switched || (enable && (value & kFcrClearReceiver) != 0)) clear_receiver();
  fifo_control_ = enable ? value & kFcrKept : 0;
  update_irq();
  feed();
}

void Uart16550::write_modem_control(uint8_t value) {
  modem_control_ = value & 0x1f;
  update_modem_status();
  update_irq();
  feed();
}

void Uart16550::save(ArchiveWriter& out) const {
  out.section("uart16550", 1);
  fields(*this, FieldWriter(out));
  const std::vector<uint8_t> waiting(waiting_.begin(), waiting_.end());
  out.put_bytes(std::as_bytes(std::span(waiting)));
}

void Uart16550::restore(ArchiveReader& in) {
  in.section("uart16550", 1);
  fields(*this, FieldReader(in));
  waiting_.clear();
  for (const std::byte b : in.get_bytes()) waiting_.push_back(static_cast<uint8_t>(b));
  enable_ &= 0x0f;
  fifo_control_ &= kFcrKept;
  modem_control_ &= 0x1f;
  head_ %= kFifoSize;
  count_ = std::min<uint8_t>(count_, fifo_enabled() ? kFifoSize : 1);
  irq.restore_level((modem_control_ & kMcrOut2) != 0 && !loopback() &&
                    interrupt_cause() != kIirNone);
}

}  // namespace cupel::chips
