#include "hw_models/network/switch.h"

#include <algorithm>

#include "core/probe.h"

namespace cupel::network {
namespace {

constexpr size_t kHeaderBytes = 14;

MacAddress address_at(const Frame& frame, size_t offset) {
  MacAddress mac;
  for (size_t i = 0; i < mac.size(); ++i) mac[i] = static_cast<uint8_t>(frame[offset + i]);
  return mac;
}

bool is_group(const MacAddress& mac) { return (mac[0] & 1) != 0; }

}  // namespace

Switch::Switch(SwitchConfig config, EventQueue& queue, Trace& trace)
    : config_(std::move(config)), queue_(queue), trace_(trace) {}

size_t Switch::attach(Link::End& end) {
  const size_t port = ports_.size();
  ports_.push_back(Port{&end});
  end.set_receiver([this, port](const Frame& frame) { receive(port, frame); });
  update_carrier(port);
  return port;
}

void Switch::update_carrier(size_t port) {
  ports_[port].end->set_carrier(!down_ && !ports_[port].down);
}

void Switch::forget(size_t port) {
  std::erase_if(table_, [&](const auto& entry) { return entry.second == port; });
}

void Switch::set_port_down(size_t port, bool down) {
  ports_.at(port).down = down;
  trace_.record(config_.name, down ? "fault.switch_port_down" : "switch.port_up",
                "port " + std::to_string(port));
  if (down) forget(port);
  update_carrier(port);
}

void Switch::set_down(bool down) {
  down_ = down;
  trace_.record(config_.name, down ? "fault.switch_down" : "switch.up");
  if (down) table_.clear();
  for (size_t port = 0; port < ports_.size(); ++port) update_carrier(port);
}

void Switch::receive(size_t port, const Frame& frame) {
  if (down_ || ports_[port].down) return;
  if (frame.size() < kHeaderBytes) {
    CUPEL_PROBE("switch.runt");
    return;
  }
  const MacAddress source = address_at(frame, 6);
  if (!is_group(source) && (table_.contains(source) || table_.size() < config_.max_addresses)) {
    table_[source] = port;
  }
  queue_.after(config_.forwarding_delay, [this, port, frame] { forward(port, frame); });
}

void Switch::forward(size_t from, const Frame& frame) {
  if (down_) return;
  const MacAddress target = address_at(frame, 0);
  const auto known = is_group(target) ? table_.end() : table_.find(target);
  if (known != table_.end()) {
    if (known->second != from) ports_[known->second].end->send(frame);
    return;
  }
  for (size_t port = 0; port < ports_.size(); ++port) {
    if (port != from) ports_[port].end->send(frame);
  }
}

}  // namespace cupel::network
