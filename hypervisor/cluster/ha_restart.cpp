// Which VMs of other hosts this host restarts, and when.
#include <algorithm>

#include "core/probe.h"
#include "hypervisor/cluster/ha_agent.h"

namespace cupel::cluster {

using datastore::LeaseRecord;
using datastore::LeaseState;
using datastore::PlantedBug;

void HaAgent::consider(Vm& vm) {
  const Verdict verdict = judge(vm);
  if (verdict == Verdict::leave) {
    vm.eligible_since.reset();
    return;
  }
  if (verdict == Verdict::restart) {
    if (config_.bug == PlantedBug::no_restart) return;
    if (!vm.eligible_since) vm.eligible_since = timers_.now();
    if (timers_.now() - *vm.eligible_since < turn_of_this_host()) return;
  }
  take(vm, verdict);
}

HaAgent::Verdict HaAgent::judge(Vm& vm) {
  const Verdict verdict = judge_lease(vm);
  const std::string& name = vm.lease->vm_name();
  if (verdict != Verdict::restart || !config_.unprotected.contains(name)) return verdict;
  return wanted_.contains(name) ? Verdict::restart : Verdict::leave;
}

HaAgent::Verdict HaAgent::judge_lease(Vm& vm) {
  const auto& record = vm.lease->observed();
  if (!record || registering_ || vm.must_rekey) return Verdict::leave;
  // An isolated host that leaves its VMs on may restart others' as well: the leases protect them.
  // One that powers off would only take back what it has just given up.
  if (isolated_ && config_.isolation == IsolationResponse::power_off) return Verdict::leave;
  switch (record->state) {
    case LeaseState::free:
      return wanted_.contains(vm.lease->vm_name()) ? Verdict::power_on : Verdict::leave;
    case LeaseState::orphaned:
      return Verdict::restart;
    case LeaseState::held:
    case LeaseState::fencing:
      break;
  }
  // Our own, from before a reset or a self-fence: the VM is known to be dead.
  if (record->owner == config_.self) {
    CUPEL_PROBE("ha.own_former_lease");
    return Verdict::restart;
  }
  if (!vm.lease->expired()) {
    vm.expiry_noted = false;
    return Verdict::leave;
  }
  if (!vm.expiry_noted) {
    vm.expiry_noted = true;
    note("ha.lease_expired",
         "vm " + vm.lease->vm_name() + " of host " + std::to_string(number(record->owner)));
  }
  return owner_is_gone(*record) ? Verdict::restart : Verdict::leave;
}

bool HaAgent::owner_is_gone(const LeaseRecord& record) const {
  if (config_.bug == PlantedBug::break_lease_early) return true;
  const PeerState state = heartbeat_.state(record.owner);
  if (state == PeerState::dead) return true;
  const HeartbeatMessage* last = heartbeat_.last(record.owner);
  return state == PeerState::alive && last != nullptr && !last->owns(record.vm);
}

// The lowest host number among those that could act goes first; each further one waits for two
// renewal periods more, in which the one before it will have changed the lease.
Nanoseconds HaAgent::turn_of_this_host() const {
  const auto before_us = std::ranges::count_if(config_.peers, [&](HostId peer) {
    const HeartbeatMessage* last = heartbeat_.last(peer);
    return peer < config_.self && heartbeat_.state(peer) == PeerState::alive && last != nullptr &&
           last->storage_ok;
  });
  return config_.timings.lease.renew * (2 * before_us);
}

void HaAgent::take(Vm& vm, Verdict why) {
  vm.taking = vm.lease->take_over([this, &vm, why](bool ok) {
    vm.taking = false;
    heard_from_storage(ok);
    if (ok) started(vm, why);
  });
}

// Alone with two or more peers gone at once, or with no link: it is we who are cut off.
void HaAgent::update_isolation() {
  const bool now_isolated =
      heartbeat_.alone() && (!heartbeat_.link_up() || config_.peers.size() >= 2);
  if (now_isolated == isolated_) return;
  isolated_ = now_isolated;
  note(now_isolated ? "ha.isolated" : "ha.rejoined");
  if (now_isolated && config_.isolation == IsolationResponse::power_off) {
    give_up_all(LeaseState::orphaned);
  }
}

}  // namespace cupel::cluster
