// A scenario: the machines, what runs on them, what breaks when, and what must hold.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/net_port.h"
#include "core/types.h"
#include "scenarios/language/fault_catalogue.h"
#include "scenarios/language/oracle_catalogue.h"
#include "scenarios/language/problem.h"
#include "scenarios/language/units.h"

namespace cupel::scenarios {

// Sizes are bytes. `where` is the place in the file, for problems that show only at run time.

struct NicSpec {
  std::string name;
  std::string network;  // a switch
  Position where;
};

struct HostSpec {
  std::string name;
  uint64_t memory = 2_GiB;
  uint32_t cpus = 1;
  std::vector<NicSpec> nics;
  Position where;
};

struct SwitchSpec {
  std::string name;
  Nanoseconds latency = 50_us;  // one way, port to port
  Position where;
};

enum class DiskCache : uint8_t {
  volatile_cache,  // completed writes are durable only after a flush
  write_through,   // completed writes are durable
};

struct DiskSpec {
  std::string name;
  uint64_t size = 0;
  Nanoseconds latency = 100_us;  // of one request
  DiskCache cache = DiskCache::volatile_cache;
  Position where;
};

enum class GuestKind : uint8_t {
  linux_recorder,  // the Debian kernel with the record-writing initramfs
  workload,        // the project's own small guest
  image,           // a kernel of the user's
};
std::string_view to_string(GuestKind kind);

struct GuestSpec {
  GuestKind kind = GuestKind::workload;
  std::string kernel;   // image: path, relative to the working directory
  std::string initrd;   // image: may be empty
  std::string cmdline;  // image: kernel command line
};

struct WorkloadSpec {
  Nanoseconds write_interval = 5_ms;     // time between two records
  Nanoseconds report_interval = 100_ms;  // time between two questions how far the guest has come
};

struct VmDiskSpec {
  std::string on;  // a disk
  uint64_t size = 0;
};

struct VmNicSpec {
  std::string network;  // a switch
  Ipv4 ip{};
  MacAddress mac{};
};

struct VmSpec {
  std::string name;
  std::string host;  // where it starts
  uint64_t memory = 256_MiB;
  GuestSpec guest;
  WorkloadSpec workload;
  std::optional<VmDiskSpec> disk;
  std::optional<VmNicSpec> nic;
  bool ha = false;        // restarted on another host when its own is dead
  bool autostart = true;  // started at time 0
  Position where;
};

// Times of failure detection and fencing. Safe when a host that cannot renew its leases stops its
// VMs before anyone else may take them: watchdog < lease.
struct HaSpec {
  Nanoseconds heartbeat = 1_s;   // between two heartbeats of a host
  Nanoseconds dead_after = 5_s;  // silence after which a host is suspected
  Nanoseconds lease = 10_s;      // a lease that was not renewed for this long may be taken
  Nanoseconds renew = 2_s;       // between two renewals
  Nanoseconds watchdog = 8_s;    // without a renewal for this long, a host stops its own VMs
};

// An instant drawn uniformly from the seed; earliest == latest is a fixed one.
struct TimeWindow {
  Nanoseconds earliest;
  Nanoseconds latest;
};

struct FaultSpec {
  TimeWindow at;
  FaultId kind = FaultId::host_power_loss;
  std::string target;                   // "host-a", "host-a/nic0", "shared"
  std::optional<Nanoseconds> duration;  // none: to the end of the run
  Parameters parameters;                // complete, as fault_kind(kind).parameters says
  Position where;
};

struct OracleSpec {
  OracleId kind = OracleId::no_acknowledged_write_lost;
  Parameters parameters;  // complete, as oracle_kind(kind).parameters says
  Position where;
};

struct Scenario {
  std::string name;
  std::string description;
  Nanoseconds duration;
  uint64_t seed = 1;  // when the caller names none
  std::vector<HostSpec> hosts;
  std::vector<SwitchSpec> switches;
  std::vector<DiskSpec> disks;
  std::vector<VmSpec> vms;
  std::optional<HaSpec> ha;
  std::vector<FaultSpec> faults;
  std::vector<OracleSpec> oracles;
  bool expect_pass = true;  // false: the scenario shows something that must fail
};

// By name; null when there is none.
const HostSpec* find_host(const Scenario& scenario, std::string_view name);
const SwitchSpec* find_switch(const Scenario& scenario, std::string_view name);
const DiskSpec* find_disk(const Scenario& scenario, std::string_view name);
const VmSpec* find_vm(const Scenario& scenario, std::string_view name);
// "host-a/nic0" -> that host and NIC; nulls when there is none.
struct NicRef {
  const HostSpec* host = nullptr;
  const NicSpec* nic = nullptr;
};
NicRef find_nic(const Scenario& scenario, std::string_view target);

}  // namespace cupel::scenarios
