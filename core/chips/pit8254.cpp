#include "core/chips/pit8254.h"

#include <algorithm>

namespace cupel::chips {
namespace {
constexpr uint64_t kRefreshTicks = 18;
}

uint64_t Pit8254::ticks() {
  advance(clock_.now());
  return tick_;
}

void Pit8254::set_gate2(bool level) { counters_[2].set_gate(level, ticks()); }
bool Pit8254::output2() { return counters_[2].output(ticks()); }

void Pit8254::advance(Nanoseconds now) {
  const uint64_t target = std::max(tick_, kClock.ticks_at(now));
  PitCounter& timer = counters_[0];
  // A late call shows the missed edges as one: three changes suffice to end at the right level.
  for (int shown = 0; shown < 3; ++shown) {
    const uint64_t change = timer.next_change(tick_);
    if (change > target) break;
    tick_ = change;
    timer.settle(tick_);
    irq.set(timer.output(tick_));
  }
  tick_ = target;
  for (PitCounter& counter : counters_) counter.settle(tick_);
  irq.set(timer.output(tick_));
}

Nanoseconds Pit8254::next_deadline() const {
  const uint64_t change = counters_[0].next_change(tick_);
  return change == PitCounter::kNever ? Nanoseconds::max() : kClock.time_of(change);
}

uint8_t Pit8254::read_byte(uint64_t offset) {
  advance(clock_.now());
  return offset < 3 ? counters_[offset].read_count(tick_) : 0xff;  // the control word: write-only
}

void Pit8254::write_byte(uint64_t offset, uint8_t value) {
  advance(clock_.now());
  if (offset < 3) {
    counters_[offset].write_count(value, tick_);
  } else if (offset == 3) {
    const unsigned which = value >> 6;
    if (which == 3) {
      read_back(value);
    } else {
      counters_[which].write_control(value, tick_);
    }
  }
  irq.set(counters_[0].output(tick_));
}

// Read-back: bit 5 clear latches the count, bit 4 clear the status, of counters chosen by bits 1-3.
void Pit8254::read_back(uint8_t command) {
  for (unsigned i = 0; i < counters_.size(); ++i) {
    if ((command >> (i + 1) & 1) == 0) continue;
    if ((command & 0x20) == 0) counters_[i].latch_count(tick_);
    if ((command & 0x10) == 0) counters_[i].latch_status(tick_);
  }
}

void Pit8254::save(ArchiveWriter& out) const {
  out.section("pit8254", 1);
  out.put(tick_);
  for (const PitCounter& counter : counters_) counter.save(out);
}

void Pit8254::restore(ArchiveReader& in) {
  in.section("pit8254", 1);
  tick_ = std::min<uint64_t>(in.get<uint64_t>(), uint64_t{1} << 60);
  for (PitCounter& counter : counters_) counter.restore(in);
  irq.restore_level(counters_[0].output(tick_));
}

uint8_t SystemControlPortB::read_byte(uint64_t) {
  const bool refresh = pit_.ticks() / kRefreshTicks % 2 != 0;
  return static_cast<uint8_t>((pit_.gate2() ? 0x01 : 0) | (stored_ & 0x0e) | (refresh ? 0x10 : 0) |
                              (pit_.output2() ? 0x20 : 0));
}

void SystemControlPortB::write_byte(uint64_t, uint8_t value) {
  stored_ = value & 0x0e;
  pit_.set_gate2((value & 0x01) != 0);
}

void SystemControlPortB::save(ArchiveWriter& out) const {
  out.section("port-b", 1);
  out.put(stored_);
}

void SystemControlPortB::restore(ArchiveReader& in) {
  in.section("port-b", 1);
  stored_ = in.get<uint8_t>() & 0x0e;
}

}  // namespace cupel::chips
