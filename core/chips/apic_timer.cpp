#include "core/chips/apic_timer.h"

#include <algorithm>

namespace cupel::chips {

// 0000b divides by 2, ... 1010b by 128, 1011b by 1.
unsigned ApicTimer::shift() const {
  const unsigned code = (divide_ & 3) | (divide_ >> 1 & 4);
  return (code + 1) & 7;
}

void ApicTimer::set_mode(Mode mode) {
  const bool counts = mode <= periodic;
  const bool counted = mode_ <= periodic;
  mode_ = mode;
  if (counts && counted) return;
  counting_ = false;
  initial_ = 0;
  deadline_ = 0;
}

void ApicTimer::set_initial_count(uint32_t count, Nanoseconds now) {
  if (mode_ > periodic) return;
  initial_ = count;
  counting_ = count != 0;
  expiry_tick_ = input_.ticks_at(now) + period();
}

uint32_t ApicTimer::current_count(Nanoseconds now) const {
  const uint64_t tick = input_.ticks_at(now);
  if (!counting_ || expiry_tick_ <= tick) return 0;
  const uint64_t left = (expiry_tick_ - tick + (uint64_t{1} << shift()) - 1) >> shift();
  return static_cast<uint32_t>(std::min<uint64_t>(left, initial_));
}

void ApicTimer::set_divide(uint32_t value, Nanoseconds now) {
  const uint64_t left = current_count(now);
  divide_ = value & 0x0b;
  if (counting_) expiry_tick_ = input_.ticks_at(now) + (left << shift());
}

void ApicTimer::set_deadline(uint64_t tsc) {
  if (mode_ == tsc_deadline) deadline_ = tsc;
}

// The TSC deadline in ticks since virtual time 0; saturates.
uint64_t ApicTimer::deadline_tick() const {
  if (tsc_offset_ >= 0) {
    const auto offset = static_cast<uint64_t>(tsc_offset_);
    return deadline_ > offset ? deadline_ - offset : 0;
  }
  const uint64_t behind = 0 - static_cast<uint64_t>(tsc_offset_);
  return deadline_ > UINT64_MAX - behind ? UINT64_MAX : deadline_ + behind;
}

bool ApicTimer::expire(Nanoseconds now) {
  if (mode_ == tsc_deadline) {
    if (deadline_ == 0 || tsc_.ticks_at(now) < deadline_tick()) return false;
    deadline_ = 0;
    return true;
  }
  const uint64_t tick = input_.ticks_at(now);
  if (!counting_ || tick < expiry_tick_) return false;
  if (mode_ == periodic) {
    expiry_tick_ += ((tick - expiry_tick_) / period() + 1) * period();
  } else {
    counting_ = false;
  }
  return true;
}

Nanoseconds ApicTimer::next_expiry() const {
  if (mode_ == tsc_deadline)
    return deadline_ == 0 ? Nanoseconds::max() : tsc_.time_of(deadline_tick());
  return counting_ ? input_.time_of(expiry_tick_) : Nanoseconds::max();
}

void ApicTimer::reset() {
  const int64_t offset = tsc_offset_;
  *this = ApicTimer(input_.hz(), tsc_.hz());
  tsc_offset_ = offset;
}

void ApicTimer::restore(ArchiveReader& in) {
  fields(*this, FieldReader(in));
  mode_ &= 3;
  divide_ &= 0x0b;
  if (initial_ == 0 || mode_ > periodic) counting_ = false;
  expiry_tick_ = std::min(expiry_tick_, UINT64_MAX / 2);
}

}  // namespace cupel::chips
