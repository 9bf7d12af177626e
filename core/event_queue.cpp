#include "core/event_queue.h"

namespace cupel {

EventQueue::Id EventQueue::at(Nanoseconds when, Action action) {
  const Id id{when, sequence_++};
  events_.emplace(id, std::move(action));
  return id;
}

uint64_t EventQueue::run_until(Nanoseconds until) {
  uint64_t count = 0;
  while (!events_.empty() && events_.begin()->first.first <= until) {
    auto node = events_.extract(events_.begin());
    clock_.advance_to(node.key().first);
    node.mapped()();
    ++count;
  }
  clock_.advance_to(until);
  return count;
}

}  // namespace cupel
