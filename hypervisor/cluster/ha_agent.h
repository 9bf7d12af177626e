// High availability of VMs on a shared datastore: the agent that runs on every host.
//
// Rules:
// - A VM runs on a host only while the host holds its lease (hypervisor/storage/lease.h). When the
//   lease is lost the VM is killed at once; the hardware watchdog stands behind the agent and is
//   petted only by successful renewals.
// - Another host restarts the VM when its lease has expired *and* its owner is silent, or is heard
//   saying that it does not run the VM. Silence alone restarts nothing: an isolated host renews.
// - Of the hosts that are alive and reach the datastore, the one with the lowest number acts first;
//   the next one steps in when it does not. The compare-and-write on the lease decides races.
// - Before the VM starts, the old owner's registration on the LUN is preempted.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/host.h"
#include "core/lease_device.h"
#include "core/net_port.h"
#include "core/trace.h"
#include "hypervisor/cluster/ha_config.h"
#include "hypervisor/cluster/heartbeat.h"
#include "hypervisor/storage/datastore.h"
#include "hypervisor/storage/lease.h"

namespace cupel::cluster {

// What the agent can do to VMs. Both commands take effect before they return: a killed VM runs no
// further instruction and issues no further request.
class VmControl {
 public:
  virtual ~VmControl() = default;
  virtual void start_vm(std::string_view name, uint64_t epoch) = 0;
  virtual void kill_vm(std::string_view name) = 0;
  virtual bool vm_running(std::string_view name) const = 0;
};

// Destroyed with the software of its host; its timers, completions and frames stop with it.
class HaAgent {
 public:
  struct Setup {
    HaConfig config;  // timings must pass check()
    LeaseDevice& lun;
    NetPort& network;
    HostTimers& timers;
    Watchdog& watchdog;
    Trace& trace;
    VmControl& control;
  };
  explicit HaAgent(Setup setup);
  ~HaAgent();
  HaAgent(const HaAgent&) = delete;
  HaAgent& operator=(const HaAgent&) = delete;

  // Registers on the LUN, reads the datastore, and begins; retries until the LUN answers.
  void start();
  // Starts the VM on this host as soon as its lease is found free. Unknown names are ignored.
  void power_on(std::string_view vm);
  // Stops the VM and frees its lease, when this host runs it. The guest should be quiet: writes it
  // has in flight are not shut out, because that would cost the host's other VMs their disks.
  void power_off(std::string_view vm);

  // Null until the datastore was read, or for an unknown VM.
  const datastore::Lease* lease(std::string_view vm) const;
  const datastore::DatastoreLayout& layout() const { return layout_; }
  const Heartbeat& heartbeat() const { return heartbeat_; }
  bool ready() const { return ready_; }
  bool isolated() const { return isolated_; }

 private:
  // One VM of the datastore, as this host sees it.
  struct Vm {
    std::unique_ptr<datastore::Lease> lease;
    std::optional<datastore::LeaseState> give_up_as;  // to be written once the VM is dead
    std::optional<Nanoseconds> eligible_since;
    bool expiry_noted = false;
    bool taking = false;
    // It ran here until the lease was lost; commands of it may still be on their way under the
    // present key. Nothing is taken back or given up before a new registration has shut them out.
    bool must_rekey = false;
  };
  enum class Verdict : uint8_t { leave, power_on, restart };

  void register_on_lun();
  void read_datastore();
  void opened(Result<datastore::DatastoreLayout> layout);
  void retry(void (HaAgent::*step)());
  void tick();
  void tick(Vm& vm);
  void poll(Vm& vm);
  void heard_from_storage(bool ok);
  bool storage_ok() const;
  HeartbeatMessage heartbeat_content() const;

  // Owning.
  void started(Vm& vm, Verdict why);
  void lost(Vm& vm, BlockStatus why);
  void kill(Vm& vm);
  void give_up_all(datastore::LeaseState as);
  void give_up(Vm& vm);
  void pet_watchdog();
  // A new key now would leave leases on disk that name the old one.
  bool may_rekey() const;
  bool wants_rekey() const;

  // Restarting others' VMs (ha_restart.cpp).
  void consider(Vm& vm);
  Verdict judge(Vm& vm);
  Verdict judge_lease(Vm& vm);
  bool owner_is_gone(const datastore::LeaseRecord& record) const;
  Nanoseconds turn_of_this_host() const;
  void take(Vm& vm, Verdict why);
  void update_isolation();

  void later(Nanoseconds delay, HostTimers::Action action);
  void note(std::string_view what, const std::string& detail = {});
  Vm* find(std::string_view name);

  HaConfig config_;
  LeaseDevice& lun_;
  HostTimers& timers_;
  Watchdog& watchdog_;
  Trace& trace_;
  VmControl& control_;
  datastore::HostIdentity self_;
  Heartbeat heartbeat_;
  datastore::DatastoreLayout layout_;
  std::map<VmId, Vm> vms_;
  std::set<std::string, std::less<>> wanted_;  // to be powered on here
  uint16_t registrations_ = 0;
  bool ready_ = false;
  bool isolated_ = false;
  bool shut_out_ = false;  // our registration is gone
  bool registering_ = false;
  std::optional<Nanoseconds> storage_heard_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace cupel::cluster
