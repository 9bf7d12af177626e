// A cluster of abstract hosts: real hardware models, real agents, VMs that are small loops of
// numbered disk writes; and a monitor that watches from outside.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "hw_models/network/switch.h"
#include "hw_models/platform/host_hardware.h"
#include "hw_models/storage/shared_disk.h"
#include "hypervisor/cluster/ha_agent.h"
#include "hypervisor/network/virtual_switch.h"
#include "hypervisor/storage/vm_disk.h"

namespace cupel::cluster::testing {

struct RigOptions {
  uint64_t seed = 1;
  uint16_t hosts = 3;
  std::vector<std::string> vms{"web"};  // VM i is powered on at host 1 + i % hosts
  HaTimings timings{};
  IsolationResponse isolation = IsolationResponse::leave_on;
  bool use_watchdog = true;
  datastore::PlantedBug bug = datastore::PlantedBug::none;
};

// What must hold under any faults; violations are sentences.
class Monitor {
 public:
  std::vector<std::string> violations;
  void violation(Nanoseconds at, const std::string& what);
};

// The writer inside a VM: record n goes to sector n % kSlots of its disk as (epoch, n), then a
// flush; when the flush is acknowledged, n is acknowledged. What fails is tried again.
class Writer {
 public:
  static constexpr uint64_t kSlots = 64;
  Writer(std::unique_ptr<BlockDevice> disk, HostTimers& timers, uint64_t epoch, uint64_t first,
         std::function<void(uint64_t)> acknowledged);
  void start() { write(); }

 private:
  void write();
  void flush();
  void write_after(Nanoseconds pause);
  std::unique_ptr<BlockDevice> disk_;
  HostTimers& timers_;
  uint64_t epoch_;
  uint64_t next_;
  std::function<void(uint64_t)> acknowledged_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

class Rig;

// One host: hardware, and while it runs a virtual switch, an agent and VMs.
class Host : public platform::HostListener, public VmControl {
 public:
  Host(Rig& rig, HostId id);

  void host_stopped(std::string_view reason) override;
  void host_booted() override;
  void start_vm(std::string_view name, uint64_t epoch) override;
  void kill_vm(std::string_view name) override;
  bool vm_running(std::string_view name) const override { return running_.contains(name); }

  Rig& rig;
  network::Link link;
  platform::HostHardware hardware;
  platform::HostNic& nic;
  platform::HostDisk& disk;
  std::unique_ptr<vnet::VirtualSwitch> vswitch;
  std::unique_ptr<HaAgent> agent;

 private:
  std::map<std::string, std::unique_ptr<Writer>, std::less<>> running_;
};

class Rig {
 public:
  explicit Rig(RigOptions options);
  ~Rig();

  void run_for(Nanoseconds time) { queue.run_until(queue.now() + time); }
  Host& host(uint16_t number) { return *hosts_.at(number - 1u); }
  storage::DiskPort& port(uint16_t number) { return *lun.port(HostId{number}); }
  // 0 when the VM runs nowhere.
  uint16_t host_running(std::string_view vm) const;
  size_t count(std::string_view what) const;
  // Time of the first record of this kind; fails the test when there is none.
  Nanoseconds time_of(std::string_view what) const;
  // Highest acknowledged record and starts of each VM, as the outside world saw them.
  struct Seen {
    uint64_t acknowledged = 0;
    bool any = false;
    unsigned starts = 0;
    uint64_t newest_epoch = 0;  // of a running instance
  };
  std::map<std::string, Seen, std::less<>> seen;
  // Compares the disk with what was acknowledged; call at the end of a run.
  void check_acknowledged_writes();
  void started(HostId host, std::string_view vm, uint64_t epoch);
  uint64_t next_record(std::string_view vm) const;

  RigOptions options;
  VirtualClock clock;
  EventQueue queue{clock};
  Trace trace{clock};
  RandomSource random;
  storage::SharedDisk lun;
  datastore::DatastoreLayout layout;
  Monitor monitor;

 private:
  void observe_write(HostId host, Lba lba, std::span<const std::byte> data);

  std::vector<std::unique_ptr<Host>> hosts_;
  network::Switch switch_;
};

}  // namespace cupel::cluster::testing
