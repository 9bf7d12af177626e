#include "core/chips/io_apic.h"

#include "core/chips/fields.h"

namespace cupel::chips {
namespace {

constexpr uint64_t kRemoteIrr = 1u << 14;
constexpr uint64_t kLevel = 1u << 15;
constexpr uint64_t kLogical = 1u << 11;
// Vector, modes, polarity, trigger, mask, destination; delivery status and remote IRR are
// read-only.
constexpr uint64_t kWritable = 0xff00'0000'0001'afff;
constexpr uint32_t kVersion = 0x20 | (IoApic::kPins - 1) << 16;
constexpr uint8_t kFirstEntry = 0x10;

}  // namespace

bool IoApic::send(unsigned pin) {
  const uint64_t entry = entries_[pin];
  const unsigned mode = entry >> 8 & 7;
  if (mode == 3 || mode == 6 || !sink_) return false;  // reserved here
  ApicMessage message;
  message.logical = (entry & kLogical) != 0;
  message.destination = static_cast<uint32_t>(entry >> 56);
  if (!message.logical && message.destination == 0xff)
    message.destination = ApicMessage::kBroadcast;
  message.mode = static_cast<DeliveryMode>(mode);
  message.vector = static_cast<uint8_t>(entry);
  message.level = (entry & kLevel) != 0;
  return sink_(message);
}

// Level-triggered: fires while the pin is up, once until the EOI.
void IoApic::evaluate(unsigned pin) {
  uint64_t& entry = entries_[pin];
  if ((entry & (kMasked | kRemoteIrr)) != 0 || (entry & kLevel) == 0) return;
  if ((pins_ >> pin & 1) == 0) return;
  // Only these are acknowledged by an EOI; SMI, NMI, INIT and ExtINT count as edges.
  const unsigned mode = entry >> 8 & 7;
  const bool has_eoi = mode <= 1;
  if (send(pin) && has_eoi) entry |= kRemoteIrr;
}

void IoApic::set_irq(unsigned pin, bool asserted) {
  if (pin >= kPins) return;
  const uint32_t mask = 1u << pin;
  const bool rose = asserted && (pins_ & mask) == 0;
  pins_ = asserted ? pins_ | mask : pins_ & ~mask;
  if (!rose) return;
  if ((entries_[pin] & kLevel) != 0) {
    evaluate(pin);
  } else if ((entries_[pin] & kMasked) == 0) {
    send(pin);
  }
}

void IoApic::end_of_interrupt(uint8_t vector) {
  for (unsigned pin = 0; pin < kPins; ++pin) {
    uint64_t& entry = entries_[pin];
    if ((entry & kRemoteIrr) == 0 || (entry & 0xff) != vector) continue;
    entry &= ~kRemoteIrr;
    evaluate(pin);
  }
}

void IoApic::write_entry(unsigned pin, uint64_t value) {
  uint64_t& entry = entries_[pin];
  entry = (value & kWritable) | (entry & kRemoteIrr);
  // Switching to edge forgets an outstanding level interrupt; Linux relies on it as an EOI.
  if ((entry & kLevel) == 0) entry &= ~kRemoteIrr;
  evaluate(pin);
}

uint32_t IoApic::read_register() const {
  if (select_ == 0 || select_ == 2) return static_cast<uint32_t>(id_) << 24;  // ID, arbitration
  if (select_ == 1) return kVersion;
  const unsigned pin = (select_ - kFirstEntry) / 2u;
  if (select_ < kFirstEntry || pin >= kPins) return 0;
  return static_cast<uint32_t>(entries_[pin] >> ((select_ & 1) * 32));
}

void IoApic::write_register(uint32_t value) {
  if (select_ == 0) id_ = value >> 24 & 0x0f;
  const unsigned pin = (select_ - kFirstEntry) / 2u;
  if (select_ < kFirstEntry || pin >= kPins) return;
  const uint64_t old = entries_[pin];
  const bool high = (select_ & 1) != 0;
  write_entry(pin, high ? (old & 0xffff'ffff) | static_cast<uint64_t>(value) << 32
                        : (old & ~0xffff'ffffull) | value);
}

uint64_t IoApic::read(uint64_t offset, unsigned) {
  switch (offset) {
    case 0x00:
      return select_;
    case 0x10:
      return read_register();
    default:
      return 0;
  }
}

void IoApic::write(uint64_t offset, unsigned, uint64_t value) {
  switch (offset) {
    case 0x00:
      select_ = static_cast<uint8_t>(value);
      break;
    case 0x10:
      write_register(static_cast<uint32_t>(value));
      break;
    case 0x40:
      end_of_interrupt(static_cast<uint8_t>(value));
      break;
    default:
      break;
  }
}

void IoApic::save(ArchiveWriter& out) const {
  out.section("io-apic", 1);
  fields(*this, FieldWriter(out));
}

void IoApic::restore(ArchiveReader& in) {
  in.section("io-apic", 1);
  fields(*this, FieldReader(in));
  id_ &= 0x0f;
  pins_ &= (1u << kPins) - 1;
  for (uint64_t& entry : entries_) entry &= kWritable | kRemoteIrr;
}

}  // namespace cupel::chips
