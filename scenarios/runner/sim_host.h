// One host of a scenario: its hardware, and while it runs the hypervisor's software on it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "hw_models/network/link.h"
#include "hw_models/platform/host_hardware.h"
#include "hypervisor/cluster/ha_agent.h"
#include "hypervisor/network/virtual_switch.h"
#include "scenarios/runner/vm_instance.h"

namespace cupel::scenarios {

class Runner;

// Builds a VM's instance when the cluster software asks for it, and destroys it with the host.
class SimHost : public platform::HostListener, public cluster::VmControl {
 public:
  SimHost(Runner& runner, const HostSpec& spec, HostId id);
  ~SimHost() override;

  const HostSpec& spec() const { return spec_; }
  platform::HostHardware& hardware() { return hardware_; }
  // Cable of NIC `n`; its far end belongs to a switch.
  network::Link& link(size_t n) { return *links_.at(n); }
  std::map<std::string, std::unique_ptr<VmInstance>, std::less<>>& instances() { return running_; }
  // Has the cluster software start the VM here as soon as its lease is free.
  void power_on(const std::string& vm);
  void stop_all(std::string_view why);

  void host_stopped(std::string_view reason) override;
  void host_hung() override;
  void host_resumed() override;
  void host_booted() override;
  void start_vm(std::string_view name, uint64_t epoch) override;
  void kill_vm(std::string_view name) override;
  bool vm_running(std::string_view name) const override { return running_.contains(name); }

 private:
  struct Switch {
    std::string network;
    std::unique_ptr<vnet::VirtualSwitch> vswitch;
  };
  vnet::VirtualSwitch& vswitch_of(const std::string& network);
  void start_agent();
  std::unique_ptr<BlockDevice> open_disk(const VmSpec& vm, uint64_t epoch);
  void end(std::string_view name, std::string_view why);

  Runner& runner_;
  const HostSpec& spec_;
  std::vector<std::unique_ptr<network::Link>> links_;
  platform::HostHardware hardware_;
  platform::HostDisk* disk_ = nullptr;
  std::vector<platform::HostNic*> nics_;
  std::vector<Switch> switches_;
  std::unique_ptr<cluster::HaAgent> agent_;
  std::vector<std::string> wanted_;
  std::map<std::string, vnet::VirtualSwitch::Vnic*, std::less<>> vnics_;
  std::map<std::string, std::unique_ptr<VmInstance>, std::less<>> running_;
};

}  // namespace cupel::scenarios
