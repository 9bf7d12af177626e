// Exact conversion between virtual time and the ticks of a clock of any whole frequency.
#pragma once

#include <cassert>
#include <cstdint>

#include "core/types.h"

namespace cupel::chips {

// Tick n happens at n / hz seconds: nothing is rounded twice, so that nothing drifts.
class Frequency {
 public:
  static constexpr uint64_t kHighest = 18'000'000'000;  // 18 GHz: products below stay in 64 bits

  constexpr explicit Frequency(uint64_t hz) : hz_(hz) { assert(hz > 0 && hz <= kHighest); }
  constexpr uint64_t hz() const { return hz_; }

  // Ticks that have happened at `t`; negative times count as zero.
  constexpr uint64_t ticks_at(Nanoseconds t) const {
    const uint64_t ns = t.count() < 0 ? 0 : static_cast<uint64_t>(t.count());
    return ns / kSecond * hz_ + ns % kSecond * hz_ / kSecond;
  }
  // The first nanosecond at which `ticks` have happened; Nanoseconds::max() when beyond range.
  constexpr Nanoseconds time_of(uint64_t ticks) const {
    const uint64_t seconds = ticks / hz_;
    if (seconds >= INT64_MAX / kSecond) return Nanoseconds::max();
    const uint64_t part = (ticks % hz_ * kSecond + hz_ - 1) / hz_;
    return Nanoseconds(static_cast<int64_t>(seconds * kSecond + part));
  }

 private:
  static constexpr uint64_t kSecond = 1'000'000'000;
  uint64_t hz_;
};

}  // namespace cupel::chips
