#include "scenarios/runner/sim_host.h"

#include <algorithm>
#include <utility>

#include "hypervisor/storage/vm_disk.h"
#include "scenarios/language/event_names.h"
#include "scenarios/runner/runner.h"

namespace cupel::scenarios {
namespace {

constexpr Nanoseconds kHostBoot = 60_s;  // firmware and hypervisor

}  // namespace

SimHost::SimHost(Runner& runner, const HostSpec& spec, HostId id)
    : runner_(runner),
      spec_(spec),
      hardware_({.name = spec.name, .id = id, .boot_time = kHostBoot, .nic_ring = 256},
                runner.queue(), runner.trace()) {
  for (const NicSpec& nic : spec.nics) {
    network::LinkConfig link;
    link.name = "link/" + spec.name + "/" + nic.name;
    if (const auto* network = find_switch(runner.scenario(), nic.network))
      link.latency = network->latency / 2;
    links_.push_back(
        std::make_unique<network::Link>(link, runner.queue(), runner.random(), runner.trace()));
    nics_.push_back(&hardware_.add_nic(links_.back()->end(0)));
  }
  if (auto* lun = runner.lun()) disk_ = &hardware_.add_disk(lun->add_port(id));
  hardware_.add_listener(*this);
}

SimHost::~SimHost() = default;

void SimHost::power_on(const std::string& vm) {
  wanted_.push_back(vm);
  if (agent_) agent_->power_on(vm);
}

// Made when first asked for; without an uplink nobody outside the host is reached through it.
vnet::VirtualSwitch& SimHost::vswitch_of(const std::string& network) {
  for (auto& s : switches_)
    if (s.network == network) return *s.vswitch;
  switches_.push_back({network, std::make_unique<vnet::VirtualSwitch>(
                                    vnet::VirtualSwitchConfig{.name = spec_.name + "/vswitch"},
                                    hardware_, runner_.trace())});
  return *switches_.back().vswitch;
}

void SimHost::host_booted() {
  for (size_t i = 0; i < nics_.size(); ++i) vswitch_of(spec_.nics[i].network).add_uplink(*nics_[i]);
  if (disk_ != nullptr) start_agent();
  // What an administrator asked for is asked once; after a crash the cluster decides.
  for (const auto& vm : std::exchange(wanted_, {})) {
    if (agent_ != nullptr) {
      agent_->power_on(vm);
    } else {
      start_vm(vm, 0);  // without shared storage there is no lease, and nobody else to run it
    }
  }
  runner_.update_tolerance();
}

void SimHost::start_agent() {
  cluster::HaConfig config = runner_.ha_config(hardware_.id());
  config.boot = hardware_.boots();
  const std::string network = spec_.nics.empty() ? std::string() : spec_.nics.front().network;
  auto& port = vswitch_of(network).add_vnic(vnet::VnicLink::follows_uplinks);
  agent_ = std::make_unique<cluster::HaAgent>(
      cluster::HaAgent::Setup{config, *disk_, port, hardware_, hardware_, runner_.trace(), *this});
  agent_->start();
}

void SimHost::host_hung() { runner_.update_tolerance(); }
void SimHost::host_resumed() { runner_.update_tolerance(); }

void SimHost::host_stopped(std::string_view reason) {
  stop_all(reason);
  agent_.reset();
  vnics_.clear();
  switches_.clear();
  runner_.update_tolerance();
}

std::unique_ptr<BlockDevice> SimHost::open_disk(const VmSpec& vm, uint64_t epoch) {
  const auto* entry = agent_->layout().find(vm.name);
  return datastore::make_vm_disk(*disk_, entry->disk, *agent_->lease(vm.name), epoch, hardware_,
                                 runner_.planted_bug());
}

void SimHost::start_vm(std::string_view name, uint64_t epoch) {
  const VmSpec* spec = find_vm(runner_.scenario(), name);
  if (spec == nullptr) return;
  auto images = runner_.guests().images(spec->guest);
  if (!images.ok()) return runner_.abort_run(images.error());
  VmInstance::Setup setup{.spec = *spec,
                          .backend = runner_.backend(),
                          .images = **images,
                          .clock = runner_.queue().clock(),
                          .trace = runner_.trace(),
                          .disk = nullptr,
                          .oracle = nullptr,
                          .port = nullptr,
                          .horizon = [this] { return runner_.queue().next_time(); }};
  if (spec->disk) {
    setup.disk = open_disk(*spec, epoch);
    setup.oracle = &runner_.disk_oracle(*spec);
  }
  if (spec->nic) {
    auto& vnic = vswitch_of(spec->nic->network).add_vnic();
    vnics_[std::string(name)] = &vnic;
    setup.port = &vnic;
  }
  auto instance = VmInstance::start(std::move(setup));
  if (!instance.ok()) return runner_.abort_run(instance.error());
  auto& made = running_[std::string(name)] = std::move(instance).value();
  made->id = runner_.instance_started(*spec, spec_.name);
}

void SimHost::stop_all(std::string_view why) {
  while (!running_.empty()) end(running_.begin()->first, why);
}

void SimHost::kill_vm(std::string_view name) { end(std::string(name), "killed"); }

void SimHost::end(std::string_view name, std::string_view why) {
  const auto at = running_.find(name);
  if (at == running_.end()) return;
  const std::string vm = at->first;
  runner_.instance_stopped(*at->second, spec_.name, why);
  running_.erase(at);
  const auto vnic = vnics_.find(vm);
  if (vnic == vnics_.end()) return;
  vswitch_of(find_vm(runner_.scenario(), vm)->nic->network).remove_vnic(*vnic->second);
  vnics_.erase(vnic);
}

}  // namespace cupel::scenarios
