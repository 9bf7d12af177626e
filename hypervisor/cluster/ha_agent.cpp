#include "hypervisor/cluster/ha_agent.h"

#include <algorithm>
#include <cassert>

#include "core/probe.h"

namespace cupel::cluster {

using datastore::Lease;
using datastore::LeaseState;
using datastore::PlantedBug;

HaAgent::HaAgent(Setup setup)
    : config_(std::move(setup.config)),
      lun_(setup.lun),
      timers_(setup.timers),
      watchdog_(setup.watchdog),
      trace_(setup.trace),
      control_(setup.control),
      self_{config_.self, ReservationKey::none, config_.name},
      heartbeat_(config_, setup.network, timers_, trace_, [this] { return heartbeat_content(); }) {
  assert(config_.self != HostId::none && check(config_.timings).ok());
}

HaAgent::~HaAgent() = default;

void HaAgent::later(Nanoseconds delay, HostTimers::Action action) {
  timers_.after(delay, [action = std::move(action), alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) action();
  });
}

void HaAgent::note(std::string_view what, const std::string& detail) {
  trace_.record(config_.name, what, detail);
}

HaAgent::Vm* HaAgent::find(std::string_view name) {
  const auto* entry = layout_.find(name);
  return entry == nullptr ? nullptr : &vms_.at(entry->id);
}

const Lease* HaAgent::lease(std::string_view vm) const {
  const auto* entry = layout_.find(vm);
  return entry == nullptr ? nullptr : vms_.at(entry->id).lease.get();
}

// ---- coming up ----

void HaAgent::start() {
  heartbeat_.start();
  register_on_lun();
}

void HaAgent::retry(void (HaAgent::*step)()) {
  later(config_.timings.lease.renew / 2, [this, step] { (this->*step)(); });
}

// A new key for every registration: what was issued under an older one stays shut out.
void HaAgent::register_on_lun() {
  registering_ = true;
  ++registrations_;
  const uint64_t key = static_cast<uint64_t>(number(config_.self)) << 48 |
                       static_cast<uint64_t>(config_.boot) << 16 | registrations_;
  lun_.register_key(ReservationKey{key},
                    [this, key, alive = std::weak_ptr<int>(alive_)](BlockStatus status) {
                      if (alive.expired()) return;
                      if (status != BlockStatus::ok) {
                        retry(&HaAgent::register_on_lun);
                        return;
                      }
                      self_.key = ReservationKey{key};
                      registering_ = false;
                      shut_out_ = false;
                      for (auto& [id, vm] : vms_) vm.must_rekey = false;
                      if (!ready_) read_datastore();
                    });
}

void HaAgent::read_datastore() {
  datastore::open(
      lun_, [this, alive = std::weak_ptr<int>(alive_)](Result<datastore::DatastoreLayout> layout) {
        if (!alive.expired()) opened(std::move(layout));
      });
}

void HaAgent::opened(Result<datastore::DatastoreLayout> layout) {
  if (!layout.ok()) {
    note("ha.datastore_error", layout.error().message);
    retry(&HaAgent::read_datastore);
    return;
  }
  layout_ = std::move(layout).value();
  const Lease::Setup setup{lun_, timers_, trace_, self_, config_.timings.lease, config_.bug};
  for (const auto& entry : layout_.vms) {
    Vm& vm = vms_[entry.id];
    vm.lease = std::make_unique<Lease>(setup, datastore::lease_of(entry.id), entry.id, entry.name,
                                       [this, &vm](BlockStatus why) { lost(vm, why); });
  }
  ready_ = true;
  heard_from_storage(true);
  note("ha.ready", std::to_string(layout_.vms.size()) + " VMs");
  tick();
}

// ---- the regular round ----

void HaAgent::tick() {
  update_isolation();
  if (!registering_ && wants_rekey() && may_rekey()) register_on_lun();
  for (auto& [id, vm] : vms_) tick(vm);
  later(config_.timings.lease.renew / 4, [this] { tick(); });
}

void HaAgent::tick(Vm& vm) {
  Lease& lease = *vm.lease;
  if (!lease.held()) {
    poll(vm);
    return;
  }
  if (timers_.now() - lease.renewed_at() < config_.timings.lease.renew) return;
  lease.renew([this](bool ok) {
    heard_from_storage(ok);
    if (ok) pet_watchdog();
  });
}

void HaAgent::poll(Vm& vm) {
  vm.lease->poll([this, &vm](bool ok) {
    heard_from_storage(ok);
    if (vm.lease->shut_out()) shut_out_ = true;
    if (!ok) return;
    if (vm.give_up_as) {
      give_up(vm);
    } else {
      consider(vm);
    }
  });
}

void HaAgent::heard_from_storage(bool ok) {
  if (ok) storage_heard_ = timers_.now();
}

bool HaAgent::storage_ok() const {
  return ready_ && storage_heard_ && timers_.now() - *storage_heard_ <= config_.timings.lease.renew;
}

HeartbeatMessage HaAgent::heartbeat_content() const {
  HeartbeatMessage message;
  message.storage_ok = storage_ok();
  for (const auto& [id, vm] : vms_) {
    if (vm.lease->held() || control_.vm_running(vm.lease->vm_name())) message.owned.push_back(id);
  }
  return message;
}

// ---- owning ----

bool HaAgent::may_rekey() const {
  return std::ranges::none_of(
      vms_, [](const auto& entry) { return entry.second.lease->held() || entry.second.taking; });
}

bool HaAgent::wants_rekey() const {
  return shut_out_ ||
         std::ranges::any_of(vms_, [](const auto& entry) { return entry.second.must_rekey; });
}

// Counts from the oldest renewal, as issued: a reply that came late buys no time.
void HaAgent::pet_watchdog() {
  if (!config_.use_watchdog) return;
  std::optional<Nanoseconds> oldest;
  for (const auto& [id, vm] : vms_) {
    if (!vm.lease->held()) continue;
    oldest = std::min(oldest.value_or(Nanoseconds::max()), vm.lease->renewed_at());
  }
  if (!oldest) {
    watchdog_.disarm();
    return;
  }
  const Nanoseconds left = *oldest + config_.timings.lease.watchdog - timers_.now();
  watchdog_.arm(std::max(left, 1_ns));
}

void HaAgent::started(Vm& vm, Verdict why) {
  Lease& lease = *vm.lease;
  vm.eligible_since.reset();
  vm.expiry_noted = false;
  pet_watchdog();
  note(why == Verdict::restart ? "ha.restart" : "ha.power_on",
       "vm " + lease.vm_name() + ", epoch " + std::to_string(lease.epoch()));
  wanted_.erase(lease.vm_name());
  control_.start_vm(lease.vm_name(), lease.epoch());
}

void HaAgent::kill(Vm& vm) {
  if (control_.vm_running(vm.lease->vm_name())) control_.kill_vm(vm.lease->vm_name());
}

void HaAgent::lost(Vm& vm, BlockStatus why) {
  note("ha.self_fence", "vm " + vm.lease->vm_name());
  kill(vm);
  vm.must_rekey = true;
  if (why == BlockStatus::fenced) {
    // The registration is the host's: every VM on this LUN has lost its disk.
    for (auto& [id, other] : vms_) {
      if (!other.lease->held()) continue;
      other.lease->abandon();
      note("ha.self_fence", "vm " + other.lease->vm_name());
      kill(other);
      other.must_rekey = true;
    }
  }
  pet_watchdog();
}

void HaAgent::give_up_all(LeaseState as) {
  for (auto& [id, vm] : vms_) {
    if (!vm.lease->held()) continue;
    vm.lease->abandon();
    kill(vm);
    vm.give_up_as = as;
    vm.must_rekey = true;
  }
  pet_watchdog();
}

void HaAgent::give_up(Vm& vm) {
  const auto& record = vm.lease->observed();
  if (record && (record->owner != config_.self || !record->owned())) {
    vm.give_up_as.reset();  // written already, or taken by another host meanwhile
    return;
  }
  if (!record || registering_ || vm.must_rekey) return;
  vm.lease->release(*vm.give_up_as, [](bool) {});
}

void HaAgent::power_on(std::string_view vm) { wanted_.emplace(vm); }

void HaAgent::power_off(std::string_view name) {
  if (const auto it = wanted_.find(name); it != wanted_.end()) wanted_.erase(it);
  Vm* vm = find(name);
  if (vm == nullptr || !vm->lease->held()) return;
  vm->lease->abandon();
  kill(*vm);
  vm->give_up_as = LeaseState::free;
  pet_watchdog();
}

}  // namespace cupel::cluster
