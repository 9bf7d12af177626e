#include "core/chips/pit_counter.h"

#include <algorithm>

namespace cupel::chips {
namespace {

constexpr uint64_t from_bcd(uint16_t v) {
  return (v & 15) + (v >> 4 & 15) * 10u + (v >> 8 & 15) * 100u + (v >> 12) * 1000u;
}
constexpr uint16_t to_bcd(uint64_t v) {
  return static_cast<uint16_t>(v % 10 | (v / 10 % 10) << 4 | (v / 100 % 10) << 8 |
                               (v / 1000 % 10) << 12);
}

}  // namespace

// Zero stands for the largest count; digits above 9 wrap.
uint64_t PitCounter::effective(uint16_t written) const {
  if (!bcd_) return written == 0 ? 65536 : written;
  const uint64_t n = from_bcd(written) % 10000;
  return n == 0 ? 10000 : n;
}

uint64_t PitCounter::elapsed(uint64_t tick) const {
  if (stopped_) return held_;
  return loaded(tick) ? static_cast<uint64_t>(static_cast<int64_t>(tick) - start_) : 0;
}

bool PitCounter::loaded(uint64_t tick) const { return static_cast<int64_t>(tick) >= start_; }

// The tick, perhaps to come, at which the current period began; before the run counts as 2^64 - n.
uint64_t PitCounter::period_start(uint64_t tick) const {
  const uint64_t from = loaded(tick) ? tick : static_cast<uint64_t>(start_);
  return from - elapsed(tick) % period_;
}

// The tick at which elapsed() reaches `target`; kNever when it is past or counting is suspended.
uint64_t PitCounter::wait_to_elapsed(uint64_t target, uint64_t tick) const {
  const int64_t at = start_ + static_cast<int64_t>(target);
  if (stopped_ || at <= static_cast<int64_t>(tick)) return kNever;
  return static_cast<uint64_t>(at);
}

// Mode 3: OUT is high for the longer half of an odd period.
uint64_t PitCounter::high_ticks(uint64_t period) const { return (period + 1) / 2; }

bool PitCounter::output_at(uint64_t e) const {
  switch (mode_) {
    case 0:
    case 1:
      return e >= period_;
    case 2:
      return e % period_ != period_ - 1;
    case 3:
      return e % period_ < high_ticks(period_);
    default:
      return e != period_;  // strobes are low for one tick
  }
}

bool PitCounter::output(uint64_t tick) const {
  if (!running_) return mode_ != 0;
  if (periodic() && !gate_) return true;
  if (!stopped_ && !loaded(tick)) return rest_;
  return output_at(elapsed(tick));
}

uint64_t PitCounter::next_change(uint64_t tick) const {
  if (!running_ || stopped_ || (periodic() && (!gate_ || period_ < 2))) return kNever;
  if (!periodic()) {
    uint64_t next = wait_to_elapsed(period_, tick);
    if (mode_ == 1 && rest_) next = std::min(next, wait_to_elapsed(0, tick));
    if (mode_ >= 4) next = std::min(next, wait_to_elapsed(period_ + 1, tick));
    return next;
  }
  const uint64_t first_part = mode_ == 2 ? period_ - 1 : high_ticks(period_);
  const uint64_t in_period = elapsed(tick) % period_;
  const uint64_t base = period_start(tick);
  return in_period < first_part ? base + first_part : base + period_;
}

void PitCounter::settle(uint64_t tick) {
  if (switch_at_ > tick) return;
  period_ = next_period_;
  // In mode 3 a count may be taken over in the middle of a period: the low half then follows.
  start_ = static_cast<int64_t>(switch_at_);
  if (switch_to_low_) start_ -= static_cast<int64_t>(high_ticks(period_));
  switch_at_ = kNever;
}

void PitCounter::write_control(uint8_t control, uint64_t tick) {
  const uint8_t access = control >> 4 & 3;
  if (access == 0) {
    latch_count(tick);
    return;
  }
  access_ = access;
  mode_ = control >> 1 & 7;
  if (mode_ > 5) mode_ -= 4;  // the high bit is ignored for modes 2 and 3
  bcd_ = (control & 1) != 0;
  write_high_next_ = false;
  read_high_next_ = false;
  count_latched_ = false;
  status_latched_ = false;
  armed_ = false;
  running_ = false;
  stopped_ = false;
  held_ = 0;
  switch_at_ = kNever;
}

void PitCounter::write_count(uint8_t value, uint64_t tick) {
  switch (access_) {
    case 1:
      accept_count(value, tick);
      break;
    case 2:
      accept_count(static_cast<uint16_t>(value << 8), tick);
      break;
    default:
      if (!write_high_next_) {
        low_byte_ = value;
        // Mode 0 stops, OUT low, on the first of two bytes.
        if (mode_ == 0) {
          held_ = elapsed(tick);
          stopped_ = true;
          running_ = false;
        }
      } else {
        accept_count(static_cast<uint16_t>(value << 8 | low_byte_), tick);
      }
      write_high_next_ = !write_high_next_;
  }
}

// The counting element is loaded by the clock pulse after the write.
void PitCounter::start_at(uint64_t tick, uint64_t period) {
  rest_ = mode_ == 1 ? output(tick) : mode_ != 0;
  period_ = period;
  start_ = static_cast<int64_t>(tick) + 1;
  held_ = 0;
  stopped_ = false;
  running_ = true;
  switch_at_ = kNever;
}

void PitCounter::accept_count(uint16_t written, uint64_t tick) {
  written_ = written;
  armed_ = true;
  const uint64_t count = effective(written);
  if (triggered_by_gate()) return;  // for the next trigger
  if (!periodic()) {
    start_at(tick, count);
    stopped_ = !gate_;
    return;
  }
  if (!gate_) {
    running_ = true;
    stopped_ = true;
    period_ = count;
    return;
  }
  if (!running_ || period_ < 2) {
    start_at(tick, count);
    return;
  }
  // A running period, or in mode 3 half of one, is finished first.
  const uint64_t in_period = elapsed(tick) % period_;
  const bool first_half = mode_ == 3 && in_period < high_ticks(period_);
  switch_at_ = period_start(tick) + (first_half ? high_ticks(period_) : period_);
  next_period_ = count;
  switch_to_low_ = first_half;
}

void PitCounter::set_gate(bool level, uint64_t tick) {
  settle(tick);
  if (level == gate_) return;
  gate_ = level;
  if (!armed_) return;
  if (level && (periodic() || triggered_by_gate())) {
    start_at(tick, effective(written_));
    return;
  }
  if (periodic()) {
    held_ = elapsed(tick) % period_;
    stopped_ = true;
    switch_at_ = kNever;
  } else if (mode_ == 0 || mode_ == 4) {
    if (level) {
      // Counting goes on with the next pulse.
      start_ = static_cast<int64_t>(tick) - static_cast<int64_t>(held_);
      stopped_ = false;
    } else if (running_) {
      held_ = elapsed(tick);
      stopped_ = true;
    }
  }
}

bool PitCounter::null_count(uint64_t tick) const {
  if (!armed_ || switch_at_ != kNever) return true;
  return !running_ || (!stopped_ && !loaded(tick)) || effective(written_) != period_;
}

uint16_t PitCounter::counting_element(uint64_t tick) const {
  const uint64_t modulus = bcd_ ? 10000 : 65536;
  const uint64_t e = elapsed(tick);
  uint64_t count = 0;
  if (mode_ == 2) {
    count = period_ - e % period_;
  } else if (mode_ == 3) {
    const uint64_t in_period = e % period_;
    const uint64_t high = high_ticks(period_);
    const uint64_t in_half = in_period < high ? in_period : in_period - high;
    count = period_ - period_ % 2 - 2 * in_half;  // counts by twos, from an even number
  } else {
    count = period_ + modulus - e % modulus;  // goes on below zero
  }
  count %= modulus;
  return bcd_ ? to_bcd(count) : static_cast<uint16_t>(count);
}

void PitCounter::latch_count(uint64_t tick) {
  if (count_latched_) return;  // the first latch stands until it is read
  latched_count_ = counting_element(tick);
  count_latched_ = true;
}

void PitCounter::latch_status(uint64_t tick) {
  if (status_latched_) return;
  latched_status_ = static_cast<uint8_t>((output(tick) ? 0x80 : 0) | (null_count(tick) ? 0x40 : 0) |
                                         access_ << 4 | mode_ << 1 | (bcd_ ? 1 : 0));
  status_latched_ = true;
}

uint8_t PitCounter::read_count(uint64_t tick) {
  if (status_latched_) {
    status_latched_ = false;
    return latched_status_;
  }
  const uint16_t count = count_latched_ ? latched_count_ : counting_element(tick);
  const bool high = access_ == 2 || (access_ == 3 && read_high_next_);
  if (access_ == 3) read_high_next_ = !read_high_next_;
  if (access_ != 3 || high) count_latched_ = false;
  return static_cast<uint8_t>(high ? count >> 8 : count);
}

void PitCounter::restore(ArchiveReader& in) {
  fields(*this, FieldReader(in));
  if (mode_ > 5) mode_ = 0;
  if (access_ < 1 || access_ > 3) access_ = 3;
  period_ = std::clamp<uint64_t>(period_, 1, 65536);
  next_period_ = std::clamp<uint64_t>(next_period_, 1, 65536);
  // Sums of these stay far from overflow; real ticks stay below 2^54.
  constexpr int64_t kFar = int64_t{1} << 60;
  start_ = std::clamp(start_, -kFar, kFar);
  held_ = std::min<uint64_t>(held_, kFar);
}

}  // namespace cupel::chips
