#include "core/chips/local_apic.h"

#include <algorithm>
#include <bit>

#include "core/chips/local_apic_bits.h"

namespace cupel::chips {
namespace {

void set(std::array<uint32_t, 8>& bits, uint8_t n, bool value) {
  const uint32_t mask = 1u << (n & 31);
  uint32_t& word = bits[n >> 5];
  word = value ? word | mask : word & ~mask;
}
bool test(const std::array<uint32_t, 8>& bits, uint8_t n) {
  return (bits[n >> 5] >> (n & 31) & 1) != 0;
}

}  // namespace

LocalApic::LocalApic(const VirtualClock& clock, const LocalApicConfig& config)
    : clock_(clock),
      config_(config),
      base_(0xfee0'0000 | kBaseEnable | (config.bootstrap ? kBaseBootstrap : 0)),
      xapic_id_(static_cast<uint8_t>(config.id)),
      timer_(config.timer_hz, config.tsc_hz) {
  lvt_.fill(kLvtMasked);
}

int LocalApic::highest(const Bits256& bits) {
  for (int word = 7; word >= 0; --word)
    if (const uint32_t w = bits[static_cast<size_t>(word)]; w != 0)
      return word * 32 + 31 - std::countl_zero(w);
  return -1;
}

// The processor priority is the task priority, or the class in service when that is higher.
void LocalApic::update() {
  const int served = std::max(highest(service_), 0);
  processor_priority_ =
      (task_priority_ >> 4) >= (served >> 4) ? task_priority_ : static_cast<uint8_t>(served & 0xf0);
  const int wanted = hardware_enabled() ? highest(requests_) : -1;
  pending_ = (wanted >> 4) > (processor_priority_ >> 4) ? wanted : -1;
}

uint8_t LocalApic::acknowledge() {
  if (pending_ < 0) return static_cast<uint8_t>(spurious_);
  const auto vector = static_cast<uint8_t>(pending_);
  set(requests_, vector, false);
  set(service_, vector, true);
  update();
  return vector;
}

bool LocalApic::inject(uint8_t vector, bool level) {
  if (!software_enabled()) return false;
  if (vector < kFirstLegalVector) {
    raise_error(kErrorReceivedIllegalVector);
    return false;
  }
  set(requests_, vector, true);
  set(triggers_, vector, level);
  update();
  return true;
}

bool LocalApic::deliver(DeliveryMode mode, uint8_t vector, bool level) {
  if (!hardware_enabled()) return false;
  switch (mode) {
    case DeliveryMode::fixed:
    case DeliveryMode::lowest_priority:
      return inject(vector, level);
    case DeliveryMode::ext_int:
      extint_message_ = true;
      return true;
    case DeliveryMode::smi:
    case DeliveryMode::nmi:
    case DeliveryMode::init:
    case DeliveryMode::startup:
      if (event_sink_) event_sink_(mode, vector);
      return true;
  }
  return false;  // the reserved mode
}

bool LocalApic::matches(uint32_t destination, bool logical) const {
  if (!hardware_enabled()) return false;
  if (destination == ApicMessage::kBroadcast) return true;
  if (!logical) return destination == id() || (!x2apic_mode() && destination == 0xff);
  const uint32_t mine = logical_id();
  if (x2apic_mode()) return destination >> 16 == mine >> 16 && (destination & mine & 0xffff) != 0;
  if (destination > 0xff) return false;
  if (format_ >> 28 == 0xf) return (destination & mine) != 0;  // flat model
  const bool cluster = destination >> 4 == 0xf || destination >> 4 == mine >> 4;
  return cluster && (destination & mine & 0x0f) != 0;
}

uint32_t LocalApic::id() const { return x2apic_mode() ? config_.id : xapic_id_; }

// In x2APIC mode it follows from the ID: 16 processors a cluster.
uint32_t LocalApic::logical_id() const {
  if (!x2apic_mode()) return logical_ >> 24;
  return config_.id >> 4 << 16 | 1u << (config_.id & 0xf);
}

void LocalApic::set_task_priority(uint8_t value) {
  task_priority_ = value;
  update();
}

void LocalApic::end_of_interrupt() {
  const int served = highest(service_);
  if (served < 0) return;
  const auto vector = static_cast<uint8_t>(served);
  set(service_, vector, false);
  update();
  if (!test(triggers_, vector)) return;
  uint32_t& lint0 = lvt_[kLint0];
  if ((lint0 & kLvtRemoteIrr) != 0 && (lint0 & 0xff) == vector) {
    lint0 &= ~kLvtRemoteIrr;
    evaluate_lint(0, false);
  }
  if ((spurious_ & kSuppressEoiBroadcast) == 0 && eoi_sink_) eoi_sink_(vector);
}

// An error interrupt whose own vector is illegal must not raise another one.
void LocalApic::raise_error(uint32_t error) {
  new_errors_ |= error;
  const auto vector = static_cast<uint8_t>(lvt_[kError]);
  if ((lvt_[kError] & kLvtMasked) != 0) return;
  if (vector < kFirstLegalVector) {
    new_errors_ |= kErrorReceivedIllegalVector;
  } else {
    inject(vector, false);
  }
}

// An edge at a local source: its LVT entry says what becomes of it.
void LocalApic::raise_local(Lvt entry) {
  const uint32_t lvt = lvt_[entry];
  if ((lvt & kLvtMasked) != 0) return;
  const bool has_mode = entry != kTimer && entry != kError;
  const auto mode = static_cast<DeliveryMode>(has_mode ? lvt >> 8 & 7 : 0);
  // An external interrupt is a level at the pin, see extint_pending(); the others do not exist.
  if (mode == DeliveryMode::ext_int || mode == DeliveryMode::startup ||
      mode == DeliveryMode::lowest_priority)
    return;
  deliver(mode, static_cast<uint8_t>(lvt), false);
}

void LocalApic::set_lint(unsigned pin, bool level) {
  if (pin > 1) return;
  const auto mask = static_cast<uint8_t>(1u << pin);
  const bool rose = level && (lint_ & mask) == 0;
  lint_ = static_cast<uint8_t>(level ? lint_ | mask : lint_ & ~mask);
  evaluate_lint(pin, rose);
}

// Only LINT0 with a fixed interrupt can be level-triggered.
void LocalApic::evaluate_lint(unsigned pin, bool rose) {
  uint32_t& lvt = lvt_[kLint0 + pin];
  const bool level_triggered = pin == 0 && (lvt & kLvtLevel) != 0 && (lvt >> 8 & 7) == 0;
  if (!level_triggered) {
    if (rose) raise_local(static_cast<Lvt>(kLint0 + pin));
    return;
  }
  const bool high = (lint_ >> pin & 1) != 0;
  if (!high || (lvt & (kLvtMasked | kLvtRemoteIrr)) != 0) return;
  if (inject(static_cast<uint8_t>(lvt), true)) lvt |= kLvtRemoteIrr;
}

// A disabled APIC leaves the pin connected to the processor's INTR.
bool LocalApic::extint_pending() const {
  if (extint_message_) return true;
  if ((lint_ & 1) == 0) return false;
  if (!hardware_enabled()) return true;
  return (lvt_[kLint0] & kLvtMasked) == 0 &&
         (lvt_[kLint0] >> 8 & 7) == static_cast<uint32_t>(DeliveryMode::ext_int);
}

void LocalApic::enable_virtual_wire() {
  write_spurious(0x1ff);
  write_lvt(kLint0, static_cast<uint32_t>(DeliveryMode::ext_int) << 8);
  write_lvt(kLint1, static_cast<uint32_t>(DeliveryMode::nmi) << 8);
}

void LocalApic::init_reset() {
  task_priority_ = 0;
  logical_ = 0;
  format_ = 0xffff'ffff;
  spurious_ = 0xff;
  errors_ = 0;
  new_errors_ = 0;
  command_ = 0;
  lvt_.fill(kLvtMasked);
  requests_ = {};
  service_ = {};
  triggers_ = {};
  extint_message_ = false;
  timer_.reset();
  update();
}

void LocalApic::advance(Nanoseconds now) {
  if (timer_.expire(now)) raise_local(kTimer);
}

// While masked the timer runs unheard; it is brought up to date by the next access.
Nanoseconds LocalApic::next_deadline() const {
  return (lvt_[kTimer] & kLvtMasked) != 0 ? Nanoseconds::max() : timer_.next_expiry();
}

void LocalApic::save(ArchiveWriter& out) const {
  out.section("local-apic", 1);
  fields(*this, FieldWriter(out));
  timer_.save(out);
}

void LocalApic::restore(ArchiveReader& in) {
  in.section("local-apic", 1);
  fields(*this, FieldReader(in));
  timer_.restore(in);
  if ((base_ & kBaseEnable) == 0 || !config_.x2apic) base_ &= ~kBaseX2apic;
  for (unsigned i = 0; i < kLvts; ++i) lvt_[i] &= kLvtFields[i];
  lint_ &= 3;
  spurious_ &= kSpuriousFields;
  update();
}

}  // namespace cupel::chips
