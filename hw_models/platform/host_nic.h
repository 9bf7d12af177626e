// A physical NIC of a host: the host's side of a cable.
#pragma once

#include "hw_models/network/link.h"

namespace cupel::platform {

class HostHardware;

// Received frames and link changes reach the software through the host's processors.
class HostNic : public NetPort {
 public:
  HostNic(HostHardware& host, network::Link::End& wire, size_t ring);

  void send(Frame frame) override;
  void set_receiver(Receiver receiver) override { receiver_ = std::move(receiver); }
  bool link_up() const override { return wire_.link_up(); }
  void set_link_watcher(LinkWatcher watcher) override { watcher_ = std::move(watcher); }

  // Off: the software is gone as well, and with it its receiver and watcher.
  void set_powered(bool on);
  void set_failed(bool failed);

 private:
  void received(const Frame& frame);
  void update_carrier() { wire_.set_carrier(powered_ && !failed_); }

  HostHardware& host_;
  network::Link::End& wire_;
  size_t ring_;
  size_t in_ring_ = 0;
  bool powered_ = false;
  bool failed_ = false;
  Receiver receiver_;
  LinkWatcher watcher_;
};

}  // namespace cupel::platform
