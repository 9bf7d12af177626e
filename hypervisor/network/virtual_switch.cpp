#include "hypervisor/network/virtual_switch.h"

#include <algorithm>

#include "core/probe.h"

namespace cupel::vnet {
namespace {

constexpr size_t kHeaderBytes = 14;

MacAddress address_at(const Frame& frame, size_t offset) {
  MacAddress mac;
  for (size_t i = 0; i < mac.size(); ++i) mac[i] = static_cast<uint8_t>(frame[offset + i]);
  return mac;
}
MacAddress target_of(const Frame& frame) { return address_at(frame, 0); }
MacAddress source_of(const Frame& frame) { return address_at(frame, 6); }
bool is_group(const MacAddress& mac) { return (mac[0] & 1) != 0; }

// A reverse ARP request (RFC 903) that asks nothing: switches learn where `mac` is now.
Frame announcement(const MacAddress& mac) {
  static constexpr uint8_t kHead[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
  Frame frame(60, std::byte{0});
  std::fill_n(frame.begin(), 6, std::byte{0xff});
  for (size_t i = 0; i < sizeof kHead; ++i) frame[12 + i] = std::byte{kHead[i]};
  for (size_t i = 0; i < mac.size(); ++i) {
    for (size_t field : {6, 22, 32})
      frame[field + i] = std::byte{mac[i]};  // source, sender, target
  }
  return frame;
}

}  // namespace

bool VirtualSwitch::Vnic::link_up() const {
  return link_ == VnicLink::always_up || switch_->active_.has_value();
}

VirtualSwitch::VirtualSwitch(VirtualSwitchConfig config, HostTimers& timers, Trace& trace)
    : config_(std::move(config)), timers_(timers), trace_(trace) {}

VirtualSwitch::~VirtualSwitch() {
  for (auto* nic : uplinks_) {
    nic->set_receiver(nullptr);
    nic->set_link_watcher(nullptr);
  }
}

void VirtualSwitch::later(HostTimers::Action action) {
  timers_.after(config_.delay, [action = std::move(action), alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) action();
  });
}

void VirtualSwitch::add_uplink(NetPort& nic) {
  const size_t index = uplinks_.size();
  uplinks_.push_back(&nic);
  nic.set_receiver([this, index](const Frame& frame) { from_uplink(index, frame); });
  nic.set_link_watcher([this](bool) { choose_uplink(); });
  choose_uplink();
}

VirtualSwitch::Vnic& VirtualSwitch::add_vnic(VnicLink link) {
  auto vnic = std::make_unique<Vnic>();
  vnic->switch_ = this;
  vnic->number_ = next_vnic_++;
  vnic->link_ = link;
  return *vnics_.emplace(vnic->number_, std::move(vnic)).first->second;
}

void VirtualSwitch::remove_vnic(Vnic& vnic) {
  const uint32_t number = vnic.number_;
  std::erase_if(local_, [&](const auto& entry) { return entry.second == number; });
  vnics_.erase(number);
}

void VirtualSwitch::choose_uplink() {
  std::optional<size_t> best;
  if (!config_.failback && active_ && uplinks_[*active_]->link_up()) best = active_;
  for (size_t i = 0; i < uplinks_.size() && !best; ++i) {
    if (uplinks_[i]->link_up()) best = i;
  }
  if (best == active_) return;
  const bool had_link = active_.has_value();
  active_ = best;
  trace_.record(config_.name, best ? "net.uplink_active" : "net.no_uplink",
                best ? "uplink " + std::to_string(*best) : std::string());
  if (best) announce_addresses();
  if (had_link == best.has_value()) return;
  for (auto& [number, vnic] : vnics_) {
    if (vnic->link_ == VnicLink::follows_uplinks && vnic->watcher_) {
      vnic->watcher_(best.has_value());
    }
  }
}

void VirtualSwitch::announce_addresses() {
  for (const auto& [mac, vnic] : local_) to_uplink(announcement(mac));
}

void VirtualSwitch::from_vnic(uint32_t number, Frame frame) {
  if (frame.size() < kHeaderBytes) {
    CUPEL_PROBE("vswitch.runt");
    return;
  }
  const MacAddress source = source_of(frame);
  if (!is_group(source) && (local_.contains(source) || local_.size() < config_.max_addresses)) {
    local_[source] = number;
  }
  later([this, number, f = std::move(frame)] { forward_from_vnic(number, f); });
}

void VirtualSwitch::forward_from_vnic(uint32_t number, const Frame& frame) {
  const MacAddress target = target_of(frame);
  const auto known = is_group(target) ? local_.end() : local_.find(target);
  if (known != local_.end()) {
    if (known->second != number) to_vnic(known->second, frame);
    return;
  }
  to_uplink(frame);
  flood_vnics(number, frame);
}

void VirtualSwitch::from_uplink(size_t index, const Frame& frame) {
  if (index != active_ || frame.size() < kHeaderBytes) return;
  if (local_.contains(source_of(frame))) {
    CUPEL_PROBE("vswitch.reflected_frame");
    return;
  }
  later([this, frame] { forward_from_uplink(frame); });
}

void VirtualSwitch::forward_from_uplink(const Frame& frame) {
  const MacAddress target = target_of(frame);
  const auto known = is_group(target) ? local_.end() : local_.find(target);
  if (known != local_.end()) {
    to_vnic(known->second, frame);
  } else {
    flood_vnics(std::nullopt, frame);
  }
}

void VirtualSwitch::to_vnic(uint32_t number, const Frame& frame) {
  const auto vnic = vnics_.find(number);
  if (vnic == vnics_.end() || !vnic->second->receiver_) return;
  // A copy: the receiver may replace itself or remove its vNIC.
  const NetPort::Receiver receiver = vnic->second->receiver_;
  receiver(frame);
}

void VirtualSwitch::flood_vnics(std::optional<uint32_t> except, const Frame& frame) {
  std::vector<uint32_t> targets;
  for (const auto& [number, vnic] : vnics_) {
    if (number != except) targets.push_back(number);
  }
  for (const uint32_t number : targets) to_vnic(number, frame);
}

void VirtualSwitch::to_uplink(const Frame& frame) {
  if (active_) uplinks_[*active_]->send(frame);
}

}  // namespace cupel::vnet
