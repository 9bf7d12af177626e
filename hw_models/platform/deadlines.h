// The earliest deadline of several chips, kept without asking all of them after every access.
#pragma once

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "core/chips/chip.h"

namespace cupel::platform {

// Chips are borrowed and named by the order in which they were added.
class Deadlines {
 public:
  using Sink = std::function<void(Nanoseconds earliest)>;

  size_t add(chips::Chip& chip) {
    entries_.push_back({&chip, Nanoseconds::max()});
    return entries_.size() - 1;
  }
  // Hears of every change of earliest().
  void set_sink(Sink sink) { sink_ = std::move(sink); }
  Nanoseconds earliest() const { return earliest_; }

  // The chip may have another deadline now.
  void touched(size_t chip) {
    Entry& entry = entries_[chip];
    const Nanoseconds at = entry.chip->next_deadline();
    if (at == entry.at) return;
    entry.at = at;
    update();
  }
  void all_touched() {
    for (Entry& entry : entries_) entry.at = entry.chip->next_deadline();
    update();
  }
  // Advances the chips whose time has come, in the order of their addition.
  void advance(Nanoseconds now) {
    if (now < earliest_) return;
    for (Entry& entry : entries_)
      if (entry.at <= now) entry.chip->advance(now);
    all_touched();
  }

 private:
  struct Entry {
    chips::Chip* chip;
    Nanoseconds at;
  };
  void update() {
    Nanoseconds earliest = Nanoseconds::max();
    for (const Entry& entry : entries_) earliest = std::min(earliest, entry.at);
    if (earliest == earliest_) return;
    earliest_ = earliest;
    if (sink_) sink_(earliest);
  }

  std::vector<Entry> entries_;
  Nanoseconds earliest_ = Nanoseconds::max();
  Sink sink_;
};

}  // namespace cupel::platform
