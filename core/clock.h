// Virtual time. Nothing on a decision path reads any other clock.
#pragma once

#include <cstdint>

#include "core/types.h"

namespace cupel {

// Counts quarter nanoseconds, so that a processor can advance it by code bytes in one addition
// (design: 4 bytes of guest code = 1 ns). One clock serves a whole run; while a vCPU executes its
// slice the clock shows that vCPU's local time, and the scheduler sets it back for the next one.
class VirtualClock {
 public:
  static constexpr uint64_t kTicksPerNanosecond = 4;

  Nanoseconds now() const {
    return Nanoseconds(static_cast<int64_t>(ticks_ / kTicksPerNanosecond));
  }
  uint64_t ticks() const { return ticks_; }
  void set(Nanoseconds t) { ticks_ = to_ticks(t); }
  void set_ticks(uint64_t ticks) { ticks_ = ticks; }
  // Moves forward to `t`; a time in the past leaves the clock alone.
  void advance_to(Nanoseconds t) {
    if (to_ticks(t) > ticks_) ticks_ = to_ticks(t);
  }
  void add_ticks(uint64_t ticks) { ticks_ += ticks; }
  // For a processor that counts time inside its translated code.
  uint64_t* ticks_address() { return &ticks_; }

  // Saturates: Nanoseconds::max() means "never".
  static constexpr uint64_t to_ticks(Nanoseconds t) {
    if (t.count() <= 0) return 0;
    if (t.count() > INT64_MAX / 4) return UINT64_MAX;
    return static_cast<uint64_t>(t.count()) * kTicksPerNanosecond;
  }

 private:
  uint64_t ticks_ = 0;
};

}  // namespace cupel
