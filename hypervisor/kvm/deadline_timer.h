// Makes KVM_RUN return at a point of real time.
#pragma once

#include <cstdint>

#include "core/error.h"
#include "core/types.h"

namespace cupel::kvm {

// One POSIX timer of the calling thread. When it fires, a signal handler sets the armed vCPU's
// `immediate_exit` byte, so that a deadline that passes just before KVM_RUN is entered is not
// missed, and the signal itself interrupts a KVM_RUN that is under way.
// Uses the real-time signal SIGRTMIN + 5.
class DeadlineTimer {
 public:
  // The calling thread's own; made at first use.
  static Result<DeadlineTimer*> of_this_thread();
  ~DeadlineTimer();
  DeadlineTimer(const DeadlineTimer&) = delete;
  DeadlineTimer& operator=(const DeadlineTimer&) = delete;

  // Until detach(), an expiry writes 1 to `*immediate_exit`.
  void attach(uint8_t* immediate_exit);
  void detach();
  // `when` as in real_now(); setting the same time again costs nothing.
  void arm(Nanoseconds when);
  // The expiry was seen: the next arm() sets the timer in any case.
  void expired() { armed_ = Nanoseconds::max(); }

 private:
  DeadlineTimer() = default;

  void* timer_ = nullptr;
  bool valid_ = false;
  Nanoseconds armed_ = Nanoseconds::max();
};

}  // namespace cupel::kvm
