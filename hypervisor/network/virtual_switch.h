// The switch inside the hypervisor: virtual NICs on one side, teamed physical NICs on the other.
//
// Uplinks are used one at a time, in the order they were added, chosen by link status alone: what
// happens beyond the first cable is not noticed. Frames never pass from uplink to uplink, so that
// two uplinks on one physical network make no loop; frames from an uplink that is not in use, and
// our own broadcasts coming back, are dropped.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/host.h"
#include "core/net_port.h"
#include "core/trace.h"

namespace cupel::vnet {

struct VirtualSwitchConfig {
  std::string name = "vswitch";  // source in the trace
  Nanoseconds delay = 2_us;      // through the switch
  bool failback = true;          // return to an earlier uplink as soon as its link is back
  size_t max_addresses = 4096;
};

enum class VnicLink : uint8_t {
  always_up,       // a guest is not told of the physical network
  follows_uplinks  // the host's own port: down when no uplink has link
};

class VirtualSwitch {
 public:
  class Vnic : public NetPort {
   public:
    void send(Frame frame) override { switch_->from_vnic(number_, std::move(frame)); }
    void set_receiver(Receiver receiver) override { receiver_ = std::move(receiver); }
    bool link_up() const override;
    void set_link_watcher(LinkWatcher watcher) override { watcher_ = std::move(watcher); }

   private:
    friend class VirtualSwitch;
    VirtualSwitch* switch_ = nullptr;
    uint32_t number_ = 0;
    VnicLink link_ = VnicLink::always_up;
    Receiver receiver_;
    LinkWatcher watcher_;
  };

  VirtualSwitch(VirtualSwitchConfig config, HostTimers& timers, Trace& trace);
  ~VirtualSwitch();
  VirtualSwitch(const VirtualSwitch&) = delete;
  VirtualSwitch& operator=(const VirtualSwitch&) = delete;

  // The switch takes the port's receiver and watcher; the port must outlive it.
  void add_uplink(NetPort& nic);
  // The switch owns the vNIC until it is removed.
  Vnic& add_vnic(VnicLink link = VnicLink::always_up);
  void remove_vnic(Vnic& vnic);

  // Nothing when no uplink has link.
  std::optional<size_t> active_uplink() const { return active_; }

 private:
  void from_vnic(uint32_t number, Frame frame);
  void from_uplink(size_t index, const Frame& frame);
  void forward_from_vnic(uint32_t number, const Frame& frame);
  void forward_from_uplink(const Frame& frame);
  void to_vnic(uint32_t number, const Frame& frame);
  void flood_vnics(std::optional<uint32_t> except, const Frame& frame);
  void to_uplink(const Frame& frame);
  void choose_uplink();
  void announce_addresses();
  void later(HostTimers::Action action);

  VirtualSwitchConfig config_;
  HostTimers& timers_;
  Trace& trace_;
  std::vector<NetPort*> uplinks_;
  std::optional<size_t> active_;
  uint32_t next_vnic_ = 0;
  std::map<uint32_t, std::unique_ptr<Vnic>> vnics_;
  std::map<MacAddress, uint32_t> local_;  // learnt from what vNICs send
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace cupel::vnet
