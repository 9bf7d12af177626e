// Building the world of a scenario out of hardware models and hypervisor software.

#include <algorithm>

#include "scenarios/language/event_names.h"
#include "scenarios/runner/runner.h"

namespace cupel::scenarios {
namespace {

constexpr Nanoseconds kProbeTimeout = 500_ms;
constexpr uint64_t kDatastoreUnit = 1_MiB;  // metadata take one, each VM's disk whole ones

HostId host_id(size_t index) { return HostId{static_cast<uint16_t>(index + 1)}; }

}  // namespace

Result<void> Runner::build() {
  if (scenario_.ha) CUPEL_TRY(cluster::check(timings()));
  // Images are read now, so that a missing file is found before anything runs.
  for (const VmSpec& vm : scenario_.vms) {
    auto images = guests_.images(vm.guest);
    if (!images.ok()) return std::move(images).failure();
  }
  for (const OracleSpec& oracle : scenario_.oracles)
    if (oracle.kind == OracleId::recovery_within)
      recovery_.emplace(oracle.parameters.duration("bound"));
  trace_.add_sink([this](const TraceRecord& r) {
    if (r.what == "ha.heartbeat_lost") dead_hosts_.push_back(r.detail);
  });
  CUPEL_TRY(build_storage());
  build_hosts();
  build_client();
  return {};
}

// Every VM has its place on the shared disk, for its lease; those without a disk a small one.
Result<void> Runner::build_storage() {
  if (scenario_.disks.empty()) return {};
  const DiskSpec& spec = scenario_.disks.front();
  storage::SharedDiskConfig config;
  config.name = "disk/" + spec.name;
  // The scenario's size is what VMs can have; rounding and metadata come on top.
  config.sectors = (spec.size + kDatastoreUnit * (1 + scenario_.vms.size())) / kSectorSize;
  config.latency = spec.latency;
  config.jitter = spec.latency / 2;
  config.cache = spec.cache == DiskCache::volatile_cache ? storage::CachePolicy::volatile_cache
                                                         : storage::CachePolicy::stable_cache;
  lun_ = std::make_unique<storage::SharedDisk>(config, queue_, random_, trace_);
  std::vector<datastore::VmRequest> requests;
  for (const VmSpec& vm : scenario_.vms)
    requests.push_back({vm.name, vm.disk ? vm.disk->size / kSectorSize : 1});
  auto layout = datastore::plan(config.sectors, requests);
  if (!layout.ok()) return std::move(layout).failure();
  layout_ = std::move(layout).value();
  lun_->medium().write(Lba(0), datastore::format(layout_), true);
  return {};
}

void Runner::build_hosts() {
  for (const SwitchSpec& s : scenario_.switches)
    switches_.push_back(std::make_unique<network::Switch>(
        network::SwitchConfig{.name = "switch/" + s.name}, queue_, trace_));
  auto switch_of = [&](const std::string& name) -> network::Switch* {
    for (size_t i = 0; i < switches_.size(); ++i)
      if (scenario_.switches[i].name == name) return switches_[i].get();
    return nullptr;
  };
  RandomStream stagger = random_.stream("hosts/start");
  for (size_t i = 0; i < scenario_.hosts.size(); ++i) {
    const HostSpec& spec = scenario_.hosts[i];
    hosts_.push_back(std::make_unique<SimHost>(*this, spec, host_id(i)));
    SimHost& h = *hosts_.back();
    for (size_t n = 0; n < spec.nics.size(); ++n)
      if (auto* s = switch_of(spec.nics[n].network)) s->attach(h.link(n).end(1));
    for (const VmSpec& vm : scenario_.vms)
      if (vm.autostart && vm.host == spec.name) h.power_on(vm.name);
    // Hosts are not in step: their software starts somewhere within a second.
    queue_.at(Nanoseconds(static_cast<int64_t>(stagger.uniform(0, 1'000'000'000))),
              [&h] { h.hardware().start_running(); });
  }
}

void Runner::build_client() {
  for (size_t i = 0; i < switches_.size(); ++i) {
    const SwitchSpec& spec = scenario_.switches[i];
    client_links_.push_back(std::make_unique<network::Link>(
        network::LinkConfig{.name = "link/client/" + spec.name, .latency = spec.latency / 2},
        queue_, random_, trace_));
    network::Link& link = *client_links_.back();
    switches_[i]->attach(link.end(1));
    ProbeClient::Listener listener;
    listener.down = [this](const std::string& vm, Nanoseconds since) {
      trace_.record("vm/" + vm, events::kVmDown, "no answer since " + format_duration(since));
      if (recovery_) recovery_->down(vm, since, find_vm(scenario_, vm)->ha);
    };
    listener.answering = [this](const std::string& vm, Nanoseconds at) {
      trace_.record("vm/" + vm, events::kVmAnswering, {});
      if (recovery_) recovery_->answering(vm, at);
    };
    clients_.push_back(std::make_unique<ProbeClient>(link.end(0), queue_, std::move(listener)));
    for (const VmSpec& vm : scenario_.vms)
      if (vm.nic && vm.nic->network == spec.name)
        clients_.back()->watch(vm.name, vm.nic->ip, vm.workload.report_interval, kProbeTimeout);
  }
}

// The scenario speaks of what an administrator sets; the margin is the middle between the last
// moment software may keep a VM and the first it must.
cluster::HaTimings Runner::timings() const {
  cluster::HaTimings t;
  const HaSpec spec = scenario_.ha.value_or(HaSpec{});
  t.heartbeat = spec.heartbeat;
  t.dead = spec.dead_after;
  t.suspect = spec.heartbeat + (spec.dead_after - spec.heartbeat) / 2;
  t.lease.duration = spec.lease;
  t.lease.renew = spec.renew;
  t.lease.watchdog = spec.watchdog;
  t.lease.margin = spec.lease - (spec.renew * 2 + spec.watchdog) / 2;
  return t;
}

cluster::HaConfig Runner::ha_config(HostId host) const {
  cluster::HaConfig config;
  config.self = host;
  config.timings = timings();
  config.bug = options_.planted;
  for (const VmSpec& vm : scenario_.vms)
    if (!vm.ha) config.unprotected.insert(vm.name);
  for (size_t i = 0; i < scenario_.hosts.size(); ++i) {
    if (host_id(i) == host) {
      config.name = scenario_.hosts[i].name;
    } else {
      config.peers.push_back(host_id(i));
    }
  }
  return config;
}

NoAcknowledgedWriteLost& Runner::disk_oracle(const VmSpec& vm) {
  auto& oracle = disk_oracles_[vm.name];
  if (!oracle) oracle = std::make_unique<NoAcknowledgedWriteLost>(vm.name);
  return *oracle;
}

}  // namespace cupel::scenarios
