// The real clock. This is the one place that reads it: a guest on /dev/kvm executes at the host
// processor's speed, so its virtual time can only follow. Runs with the kvm backend are therefore
// outside the deterministic ones, and nothing else may include this file.
#pragma once

#include <cerrno>
#include <ctime>

#include "core/types.h"

namespace cupel::kvm {

inline Nanoseconds to_nanoseconds(const timespec& t) {
  return Nanoseconds(static_cast<int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec);
}
inline timespec to_timespec(Nanoseconds t) {
  const int64_t n = t.count() < 0 ? 0 : t.count();
  return {.tv_sec = static_cast<time_t>(n / 1'000'000'000), .tv_nsec = n % 1'000'000'000};
}

// Since an arbitrary start; never goes backwards.
inline Nanoseconds real_now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return to_nanoseconds(t);
}

// `when` as in real_now().
inline void real_sleep_until(Nanoseconds when) {
  const timespec t = to_timespec(when);
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, nullptr) == EINTR) {
  }
}

}  // namespace cupel::kvm
