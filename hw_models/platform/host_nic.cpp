#include "hw_models/platform/host_nic.h"

#include "core/probe.h"
#include "hw_models/platform/host_hardware.h"

namespace cupel::platform {

HostNic::HostNic(HostHardware& host, network::Link::End& wire, size_t ring)
    : host_(host), wire_(wire), ring_(ring) {
  wire_.set_receiver([this](const Frame& frame) { received(frame); });
  wire_.set_link_watcher([this](bool up) {
    host_.deliver(host_.session(), [this, up] {
      if (watcher_) watcher_(up);
    });
  });
}

void HostNic::send(Frame frame) {
  if (host_.running()) wire_.send(std::move(frame));
}

void HostNic::received(const Frame& frame) {
  if (in_ring_ >= ring_) {
    CUPEL_PROBE("nic.ring_overrun");
    return;
  }
  if (!host_.alive()) return;
  ++in_ring_;
  host_.deliver(host_.session(), [this, frame] {
    --in_ring_;
    if (receiver_) receiver_(frame);
  });
}

void HostNic::set_powered(bool on) {
  powered_ = on;
  if (!on) {
    in_ring_ = 0;
    receiver_ = nullptr;
    watcher_ = nullptr;
  }
  update_carrier();
}

void HostNic::set_failed(bool failed) {
  failed_ = failed;
  update_carrier();
}

}  // namespace cupel::platform
