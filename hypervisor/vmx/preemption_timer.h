// From a virtual deadline to a value of the VMX-preemption timer. Freestanding.
// SDM vol. 3C, "VMX-Preemption Timer".
#pragma once

#include <cstdint>

#include "core/types.h"

namespace cupel::vmx {

// The timer counts down by one every 2^rate TSC cycles. Values are rounded up and at least 1: a
// timer that fires short of its deadline would make the loop enter with 0 and never get on.
class PreemptionTimer {
 public:
  // tsc_hz: 1 .. 2^40; rate: 0 .. 31 (IA32_VMX_MISC bits 4:0).
  constexpr PreemptionTimer(uint64_t tsc_hz, unsigned rate)
      : scale_(static_cast<uint64_t>(((Wide{tsc_hz} << kFraction) + 999'999'999) / 1'000'000'000)),
        shift_(kFraction + rate) {}

  constexpr uint32_t value(Nanoseconds now, Nanoseconds deadline) const {
    if (deadline <= now) return 1;
    const auto wait = static_cast<uint64_t>(deadline.count()) - static_cast<uint64_t>(now.count());
    const Wide ticks = (Wide{wait} * scale_ + ((Wide{1} << shift_) - 1)) >> shift_;
    return ticks > UINT32_MAX ? UINT32_MAX : static_cast<uint32_t>(ticks);
  }

 private:
  __extension__ using Wide = unsigned __int128;
  static constexpr unsigned kFraction = 32;
  uint64_t scale_;  // TSC cycles a nanosecond, fixed point
  unsigned shift_;
};

}  // namespace cupel::vmx
