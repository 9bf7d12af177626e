// I/O APIC, 24 pins. Source: Intel 82093AA data sheet; the EOI register (0x40) is that of version
// 0x20, as in the ICH family.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "core/bus.h"
#include "core/chips/apic_message.h"
#include "core/chips/chip.h"

namespace cupel::chips {

// As a BusDevice: the 4 KiB at 0xfec00000. Pins are given as asserted or not, so the polarity bits
// are stored and change nothing. An edge at a masked pin is lost, as the data sheet says.
class IoApic : public BusDevice, public Chip {
 public:
  static constexpr unsigned kPins = 24;
  // Returns whether anybody accepted the message; a level-triggered one that nobody took is sent
  // again when its entry is written.
  using MessageSink = std::function<bool(const ApicMessage&)>;

  explicit IoApic(uint8_t id = 0) : id_(id & 0x0f) { entries_.fill(kMasked); }

  void set_message_sink(MessageSink sink) { sink_ = std::move(sink); }
  // Pins that do not exist are ignored.
  void set_irq(unsigned pin, bool asserted);
  // The EOI broadcast of a processor: level-triggered pins with this vector may fire again.
  void end_of_interrupt(uint8_t vector);
  uint64_t entry(unsigned pin) const { return pin < kPins ? entries_[pin] : 0; }

  uint64_t read(uint64_t offset, unsigned size) override;
  void write(uint64_t offset, unsigned size, uint64_t value) override;
  void save(ArchiveWriter& out) const override;
  void restore(ArchiveReader& in) override;

 private:
  static constexpr uint64_t kMasked = 1u << 16;

  uint32_t read_register() const;
  void write_register(uint32_t value);
  void write_entry(unsigned pin, uint64_t value);
  void evaluate(unsigned pin);
  bool send(unsigned pin);

  template <class Self, class Visit>
  static void fields(Self& s, Visit&& visit) {
    visit(s.id_, s.select_, s.pins_, s.entries_);
  }

  MessageSink sink_;
  uint8_t id_;
  uint8_t select_ = 0;
  uint32_t pins_ = 0;  // levels
  std::array<uint64_t, kPins> entries_{};
};

}  // namespace cupel::chips
