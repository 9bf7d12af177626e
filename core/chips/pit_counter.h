// One counter of an 8254, as a function of its clock's tick number. Source: Intel 8254 data sheet.
#pragma once

#include <cstdint>

#include "core/archive.h"
#include "core/chips/fields.h"

namespace cupel::chips {

// Nothing is counted tick by tick: between register accesses the counting element and OUT follow
// from how many ticks have passed since it was loaded. Callers give the current tick, which never
// decreases.
class PitCounter {
 public:
  static constexpr uint64_t kNever = UINT64_MAX;

  explicit PitCounter(bool gate = true) : gate_(gate) {}

  void write_control(uint8_t control, uint64_t tick);
  void write_count(uint8_t value, uint64_t tick);
  uint8_t read_count(uint64_t tick);
  void latch_count(uint64_t tick);
  void latch_status(uint64_t tick);
  void set_gate(bool level, uint64_t tick);
  bool gate() const { return gate_; }

  // Takes over a count that waited for the end of a period. Call before every other access.
  void settle(uint64_t tick);
  bool output(uint64_t tick) const;
  // The first tick after `tick` at which OUT differs from what it was just before; kNever if none.
  uint64_t next_change(uint64_t tick) const;

  void save(ArchiveWriter& out) const { fields(*this, FieldWriter(out)); }
  void restore(ArchiveReader& in);

 private:
  bool periodic() const { return mode_ == 2 || mode_ == 3; }
  bool triggered_by_gate() const { return mode_ == 1 || mode_ == 5; }
  uint64_t elapsed(uint64_t tick) const;
  bool loaded(uint64_t tick) const;
  uint64_t period_start(uint64_t tick) const;
  uint64_t wait_to_elapsed(uint64_t target, uint64_t tick) const;
  uint64_t high_ticks(uint64_t period) const;
  uint64_t effective(uint16_t written) const;
  uint16_t counting_element(uint64_t tick) const;
  bool null_count(uint64_t tick) const;
  bool output_at(uint64_t elapsed_ticks) const;
  void accept_count(uint16_t written, uint64_t tick);
  void start_at(uint64_t tick, uint64_t period);

  template <class Self, class Visit>
  static void fields(Self& s, Visit&& visit) {
    visit(s.mode_, s.access_, s.bcd_, s.gate_, s.write_high_next_, s.read_high_next_, s.low_byte_,
          s.written_, s.armed_, s.running_, s.stopped_, s.period_, s.start_, s.rest_, s.held_,
          s.next_period_, s.switch_at_, s.switch_to_low_, s.count_latched_, s.latched_count_,
          s.status_latched_, s.latched_status_);
  }

  uint8_t mode_ = 0;    // 0..5
  uint8_t access_ = 3;  // 1 low byte, 2 high byte, 3 low then high
  bool bcd_ = false;
  bool gate_;
  bool write_high_next_ = false;
  bool read_high_next_ = false;
  uint8_t low_byte_ = 0;
  uint16_t written_ = 0;          // count register
  bool armed_ = false;            // a count has been written since the control word
  bool running_ = false;          // the counting element has been loaded, or will be at start_
  bool stopped_ = false;          // held_ stands for the time passed
  uint64_t period_ = 65536;       // what was loaded last, in ticks
  int64_t start_ = 0;             // tick of that load; may lie before the run
  bool rest_ = true;              // OUT until that load
  uint64_t held_ = 0;             // ticks passed when counting was suspended
  uint64_t next_period_ = 65536;  // periodic modes: loaded at switch_at_
  uint64_t switch_at_ = kNever;
  bool switch_to_low_ = false;  // mode 3: the new count begins with its low half
  bool count_latched_ = false;
  uint16_t latched_count_ = 0;
  bool status_latched_ = false;
  uint8_t latched_status_ = 0;
};

}  // namespace cupel::chips
