// A full-duplex Ethernet cable between two ends.
//
// Fault contract. It may lose frames (by probability, or all of one direction, or all while it is
// cut or flapping) and delay them. A two-way cut takes the link state down at both ends; a one-way
// cut does not, as on fibre without fault signalling. It never corrupts, duplicates or reorders
// the frames of one direction, and never delivers from inside send().
#pragma once

#include <array>
#include <string>

#include "core/event_queue.h"
#include "core/net_port.h"
#include "core/random.h"
#include "core/trace.h"

namespace cupel::network {

struct LinkConfig {
  std::string name = "link";
  Nanoseconds latency = 5_us;
  uint64_t bits_per_second = 1'000'000'000;  // > 0
  double loss = 0.0;                         // probability that a frame is lost
  Nanoseconds max_backlog = 20_ms;           // a sender's queue beyond which frames are dropped
};

class Link {
 public:
  // The socket of a cable at one side.
  class End : public NetPort {
   public:
    void send(Frame frame) override { link_->send(side_, std::move(frame)); }
    void set_receiver(Receiver receiver) override { receiver_ = std::move(receiver); }
    bool link_up() const override { return link_->up(); }
    void set_link_watcher(LinkWatcher watcher) override { watcher_ = std::move(watcher); }
    // The device behind this end is powered and enabled; both ends must be for the link to be up.
    void set_carrier(bool on);

   private:
    friend class Link;
    Link* link_ = nullptr;
    size_t side_ = 0;
    bool carrier_ = true;
    Receiver receiver_;
    LinkWatcher watcher_;
    Nanoseconds idle_at_;  // when the last frame sent from here has left
  };

  Link(LinkConfig config, EventQueue& queue, const RandomSource& random, Trace& trace);
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  End& end(size_t side) { return ends_.at(side); }
  bool up() const;

  void set_cut(bool cut);
  // Frames sent from `side` are lost, the other direction works and both ends show link.
  void set_one_way_cut(size_t side, bool cut);
  void set_loss(double probability) { config_.loss = probability; }
  // Down for `down`, up for `up`, and so on until `until`.
  void flap(Nanoseconds down, Nanoseconds up, Nanoseconds until);

 private:
  void send(size_t from, Frame frame);
  void deliver(size_t to, const Frame& frame, uint64_t era);
  void changed(bool was_up);

  LinkConfig config_;
  EventQueue& queue_;
  Trace& trace_;
  RandomStream loss_;
  std::array<End, 2> ends_;
  bool cut_ = false;
  std::array<bool, 2> one_way_cut_{};
  uint64_t era_ = 0;  // counts losses of link: frames on the wire are lost with it
};

}  // namespace cupel::network
