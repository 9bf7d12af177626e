#include "hw_models/network/link.h"

#include <algorithm>
#include <cassert>

namespace cupel::network {

Link::Link(LinkConfig config, EventQueue& queue, const RandomSource& random, Trace& trace)
    : config_(std::move(config)),
      queue_(queue),
      trace_(trace),
      loss_(random.stream(config_.name + "/loss")) {
  assert(config_.bits_per_second > 0);
  for (size_t side = 0; side < 2; ++side) {
    ends_[side].link_ = this;
    ends_[side].side_ = side;
  }
}

bool Link::up() const { return !cut_ && ends_[0].carrier_ && ends_[1].carrier_; }

void Link::End::set_carrier(bool on) {
  const bool was_up = link_->up();
  carrier_ = on;
  link_->changed(was_up);
}

void Link::set_cut(bool cut) {
  const bool was_up = up();
  cut_ = cut;
  changed(was_up);
}

void Link::set_one_way_cut(size_t side, bool cut) {
  one_way_cut_.at(side) = cut;
  trace_.record(config_.name, cut ? "fault.link_one_way_cut" : "link.one_way_restored");
}

void Link::changed(bool was_up) {
  const bool is_up = up();
  if (is_up == was_up) return;
  if (!is_up) ++era_;
  trace_.record(config_.name, is_up ? "link.up" : "link.down");
  // From the queue: a watcher may be told by the very call that it made.
  for (size_t side = 0; side < 2; ++side) {
    queue_.after(0_ns, [this, side, is_up] {
      if (ends_[side].watcher_) ends_[side].watcher_(is_up);
    });
  }
}

void Link::flap(Nanoseconds down, Nanoseconds up, Nanoseconds until) {
  set_cut(true);
  queue_.after(down, [this, down, up, until] {
    set_cut(false);
    if (queue_.now() + up < until) {
      queue_.after(up, [this, down, up, until] { flap(down, up, until); });
    }
  });
}

void Link::send(size_t from, Frame frame) {
  if (!up() || one_way_cut_[from]) return;
  if (config_.loss > 0 && loss_.chance(config_.loss)) return;
  constexpr uint64_t kOverheadBytes = 24;  // preamble, FCS, inter-frame gap
  const uint64_t bits = (frame.size() + kOverheadBytes) * 8;
  const Nanoseconds wire_time(static_cast<int64_t>(bits * 1'000'000'000 / config_.bits_per_second));
  End& sender = ends_[from];
  const Nanoseconds begin = std::max(sender.idle_at_, queue_.now());
  if (begin - queue_.now() > config_.max_backlog) return;
  sender.idle_at_ = begin + wire_time;
  queue_.at(sender.idle_at_ + config_.latency,
            [this, to = 1 - from, f = std::move(frame), era = era_] { deliver(to, f, era); });
}

void Link::deliver(size_t to, const Frame& frame, uint64_t era) {
  if (era == era_ && ends_[to].receiver_) ends_[to].receiver_(frame);
}

}  // namespace cupel::network
