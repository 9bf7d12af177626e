// The timer of a local APIC. Source: Intel SDM vol. 3A, "APIC Timer".
#pragma once

#include <cstdint>

#include "core/chips/fields.h"
#include "core/chips/frequency.h"

namespace cupel::chips {

// Counts down a divided input clock, once or again and again, or waits for a value of the TSC.
// Periods are multiples of input ticks, so nothing drifts.
class ApicTimer {
 public:
  // The numbers are those of the LVT timer mode field; 3 is reserved and never fires.
  enum Mode : uint8_t { one_shot = 0, periodic = 1, tsc_deadline = 2, reserved = 3 };

  ApicTimer(uint64_t input_hz, uint64_t tsc_hz) : input_(input_hz), tsc_(tsc_hz) {}

  // Entering or leaving the TSC-deadline mode disarms.
  void set_mode(Mode mode);
  // Starts counting, 0 stops; ignored in TSC-deadline mode.
  void set_initial_count(uint32_t count, Nanoseconds now);
  uint32_t initial_count() const { return mode_ == tsc_deadline ? 0 : initial_; }
  uint32_t current_count(Nanoseconds now) const;
  // The divide configuration register: bits 0, 1 and 3.
  void set_divide(uint32_t value, Nanoseconds now);
  uint32_t divide() const { return divide_; }
  // IA32_TSC_DEADLINE: 0 disarms; ignored, and 0, outside its mode.
  void set_deadline(uint64_t tsc);
  uint64_t deadline() const { return deadline_; }
  // What the guest's TSC shows more than the input counted since virtual time 0.
  void set_tsc_offset(int64_t offset) { tsc_offset_ = offset; }

  // True when the timer fired since the last call, at or before `now`, however often.
  bool expire(Nanoseconds now);
  // Nanoseconds::max() when disarmed.
  Nanoseconds next_expiry() const;

  void reset();
  void save(ArchiveWriter& out) const { fields(*this, FieldWriter(out)); }
  void restore(ArchiveReader& in);

 private:
  unsigned shift() const;
  uint64_t period() const { return static_cast<uint64_t>(initial_) << shift(); }
  uint64_t deadline_tick() const;

  template <class Self, class Visit>
  static void fields(Self& s, Visit&& visit) {
    visit(s.mode_, s.divide_, s.initial_, s.counting_, s.expiry_tick_, s.deadline_, s.tsc_offset_);
  }

  Frequency input_;
  Frequency tsc_;
  uint8_t mode_ = one_shot;
  uint32_t divide_ = 0;
  uint32_t initial_ = 0;
  bool counting_ = false;
  uint64_t expiry_tick_ = 0;  // of the input clock
  uint64_t deadline_ = 0;
  int64_t tsc_offset_ = 0;
};

}  // namespace cupel::chips
