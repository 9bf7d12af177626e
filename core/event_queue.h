// Events in virtual time, in a total order: by time, then by order of scheduling.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "core/clock.h"

namespace cupel {

class EventQueue {
 public:
  using Id = std::pair<Nanoseconds, uint64_t>;
  using Action = std::function<void()>;

  explicit EventQueue(VirtualClock& clock) : clock_(clock) {}

  // Runs `action` at `when`; a time in the past runs at the next opportunity, never backwards.
  Id at(Nanoseconds when, Action action);
  Id after(Nanoseconds delay, Action action) { return at(clock_.now() + delay, std::move(action)); }
  // Returns false when the event has already run or been cancelled.
  bool cancel(const Id& id) { return events_.erase(id) > 0; }

  // Nanoseconds::max() when empty.
  Nanoseconds next_time() const {
    return events_.empty() ? Nanoseconds::max() : events_.begin()->first.first;
  }
  // Runs everything due at or before `until`, the clock set to each event's own time, and leaves
  // the clock at `until`. Returns the number of events run.
  uint64_t run_until(Nanoseconds until);

  VirtualClock& clock() { return clock_; }
  Nanoseconds now() const { return clock_.now(); }
  size_t size() const { return events_.size(); }

 private:
  VirtualClock& clock_;
  uint64_t sequence_ = 0;
  std::map<Id, Action> events_;
};

}  // namespace cupel
