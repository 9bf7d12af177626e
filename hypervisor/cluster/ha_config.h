// Configuration of high availability on one host, with the timings of published systems.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/host.h"
#include "hypervisor/storage/lease.h"

namespace cupel::cluster {

struct HaTimings {
  Nanoseconds heartbeat = 1_s;    // between heartbeats
  Nanoseconds suspect = 2500_ms;  // silence after which a peer is suspect
  Nanoseconds dead = 4_s;         // silence after which it counts as dead
  datastore::LeaseTimings lease;
};
// bad_input unless 0 < heartbeat < suspect < dead and the lease's own rules hold.
Result<void> check(const HaTimings& timings);

// "fast": the defaults; detection by lease dominates, about 8 s.
// "vi3": VMware VI3, dead after 15 s of silence, VMFS lock broken after 16 s (claims: HA
// mechanics). "sanlock": sanlock/oVirt, renewal every 20 s, failed after 80 s, broken after 140 s.
std::optional<HaTimings> timings_preset(std::string_view name);

// What a host does with its VMs when it hears nobody but still renews its leases.
enum class IsolationResponse : uint8_t { leave_on, power_off };

struct HaConfig {
  HostId self = HostId::none;
  std::string name = "host";  // source in the trace
  std::vector<HostId> peers;  // all other hosts of the cluster
  uint32_t boot = 1;          // number of this start of the host; makes its keys unique
  HaTimings timings;
  IsolationResponse isolation = IsolationResponse::leave_on;
  bool use_watchdog = true;
  // VMs that stay down after the loss of their host until somebody powers them on again.
  std::set<std::string, std::less<>> unprotected;
  datastore::PlantedBug bug = datastore::PlantedBug::none;
};

}  // namespace cupel::cluster
