// What joins the parts of a scenario: duplicates, references, times, memory.
#include <algorithm>
#include <map>

#include "scenarios/language/sections.h"

namespace cupel::scenarios {
namespace {

template <class Spec>
std::vector<std::string_view> names(const std::vector<Spec>& specs) {
  std::vector<std::string_view> all;
  for (const Spec& spec : specs) all.push_back(spec.name);
  return all;
}

template <class Spec>
void check_unique(const std::vector<Spec>& specs, const char* noun, Problems& problems) {
  for (auto spec = specs.begin(); spec != specs.end(); ++spec) {
    const auto same = [&](const Spec& other) { return other.name == spec->name; };
    const auto first = std::find_if(specs.begin(), spec, same);
    if (first == spec || spec->name.empty()) continue;
    problems.error(spec->where, std::string("a second ") + noun + " is named '" + spec->name + "'",
                   "rename one; the first is in line " + std::to_string(first->where.line));
  }
}

// Empty names were reported when they were read.
void check_reference(std::string_view name, const std::vector<std::string_view>& known,
                     const std::string& who, const char* noun, Position where, Problems& problems) {
  if (name.empty() || std::find(known.begin(), known.end(), name) != known.end()) return;
  problems.error(where, who + " names " + noun + ' ' + quote(name) + ", which does not exist",
                 known.empty() ? std::string("the scenario has none") : suggest(name, known));
}

void check_hosts(const Scenario& s, Problems& problems) {
  check_unique(s.hosts, "host", problems);
  const auto switches = names(s.switches);
  for (const HostSpec& host : s.hosts) {
    check_unique(host.nics, "NIC of this host", problems);
    for (const NicSpec& nic : host.nics) {
      check_reference(nic.network, switches, "NIC '" + nic.name + "' of '" + host.name + "'",
                      "switch", nic.where, problems);
    }
  }
}

void check_placement(const Scenario& s, const VmSpec& vm, Problems& problems) {
  const HostSpec* host = find_host(s, vm.host);
  if (host == nullptr) return;
  if (vm.memory > host->memory) {
    problems.error(vm.where,
                   "VM '" + vm.name + "' has " + format_size(vm.memory) + " of memory, its host '" +
                       host->name + "' only " + format_size(host->memory),
                   "give the VM less memory or the host more");
    return;
  }
  if (!vm.ha) return;
  const auto fits = [&](const HostSpec& other) {
    return other.name != vm.host && other.memory >= vm.memory;
  };
  if (std::none_of(s.hosts.begin(), s.hosts.end(), fits)) {
    problems.warning(vm.where, "no other host has the memory to restart VM '" + vm.name + "'",
                     "add a host, or set 'ha: false'");
  }
}

// A host without a link to the VM's network runs the VM all the same, and nobody reaches it.
void check_uplink(const Scenario& s, const VmSpec& vm, Problems& problems) {
  const HostSpec* host = find_host(s, vm.host);
  if (host == nullptr || find_switch(s, vm.nic->network) == nullptr) return;
  const auto linked = [&](const NicSpec& nic) { return nic.network == vm.nic->network; };
  if (std::any_of(host->nics.begin(), host->nics.end(), linked)) return;
  problems.warning(vm.where,
                   "host '" + host->name + "' has no NIC on '" + vm.nic->network +
                       "', the network of VM '" + vm.name + "'",
                   "add 'nics: [{name: nic0, network: " + vm.nic->network + "}]' to the host");
}

void check_vms(const Scenario& s, Problems& problems) {
  check_unique(s.vms, "VM", problems);
  for (const VmSpec& vm : s.vms) {
    const std::string who = "VM '" + vm.name + "'";
    check_reference(vm.host, names(s.hosts), who, "host", vm.where, problems);
    if (vm.disk) {
      check_reference(vm.disk->on, names(s.disks), who, "disk", vm.where, problems);
    }
    if (vm.nic) {
      check_reference(vm.nic->network, names(s.switches), who, "switch", vm.where, problems);
      check_uplink(s, vm, problems);
    }
    if (vm.guest.kind != GuestKind::image && !vm.disk) {
      problems.error(vm.where, who + " records its writes, but has no disk",
                     "add 'disk: {on: shared, size: 16MiB}'");
    }
    if (vm.ha && s.disks.empty()) {
      problems.error(vm.where, who + " has 'ha: true', but there is no shared disk for its lease",
                     "add 'storage: {disks: [{name: shared, size: 64MiB}]}'");
    }
    if (vm.ha && !s.ha) {
      problems.error(vm.where, who + " has 'ha: true', but the scenario has no section 'ha'",
                     "add 'ha: {}' for the usual times");
    }
    check_placement(s, vm, problems);
  }
}

// Addresses of VMs, which must differ.
void check_addresses(const Scenario& s, Problems& problems) {
  std::map<Ipv4, const VmSpec*> by_ip;
  std::map<MacAddress, const VmSpec*> by_mac;
  for (const VmSpec& vm : s.vms) {
    if (!vm.nic) continue;
    if (const auto [other, fresh] = by_ip.emplace(vm.nic->ip, &vm); !fresh) {
      problems.error(vm.where,
                     "VMs '" + other->second->name + "' and '" + vm.name + "' both have address " +
                         format_ipv4(vm.nic->ip),
                     "change one");
    }
    if (const auto [other, fresh] = by_mac.emplace(vm.nic->mac, &vm); !fresh) {
      problems.error(vm.where,
                     "VMs '" + other->second->name + "' and '" + vm.name + "' both have MAC " +
                         format_mac(vm.nic->mac),
                     "change one");
    }
  }
}

// Sums fit 64 bits: at most 64 VMs.
void check_capacity(const Scenario& s, Problems& problems) {
  if (s.disks.size() > 1) {
    problems.error(s.disks[1].where,
                   "a second shared disk, '" + s.disks[1].name + "', is not possible yet",
                   "put all VMs on '" + s.disks[0].name + "', and make it large enough");
  }
  for (const HostSpec& host : s.hosts) {
    uint64_t used = 0;
    for (const VmSpec& vm : s.vms) used += vm.host == host.name && vm.autostart ? vm.memory : 0;
    const bool each_fits = std::all_of(s.vms.begin(), s.vms.end(), [&](const VmSpec& vm) {
      return vm.host != host.name || vm.memory <= host.memory;
    });
    if (used > host.memory && each_fits) {
      problems.error(host.where,
                     "the VMs that start on '" + host.name + "' need " + format_size(used) +
                         ", the host has " + format_size(host.memory),
                     "move a VM, or give the host more memory");
    }
  }
  for (const DiskSpec& disk : s.disks) {
    uint64_t used = 0;
    for (const VmSpec& vm : s.vms) used += vm.disk && vm.disk->on == disk.name ? vm.disk->size : 0;
    if (used > disk.size && disk.size > 0) {
      problems.error(disk.where,
                     "the VMs' disks on '" + disk.name + "' need " + format_size(used) +
                         ", it has " + format_size(disk.size),
                     "make it larger, or the VMs' disks smaller");
    }
  }
}

void check_fault_target(const Scenario& s, const FaultSpec& fault, Problems& problems) {
  const FaultKind& kind = fault_kind(fault.kind);
  const std::string who = "fault " + std::string(kind.name);
  if (kind.target == TargetKind::nic) {
    if (find_nic(s, fault.target).nic != nullptr) return;
    std::vector<std::string> all;
    for (const HostSpec& host : s.hosts) {
      for (const NicSpec& nic : host.nics) all.push_back(host.name + '/' + nic.name);
    }
    check_reference(fault.target, {all.begin(), all.end()}, who, "NIC", fault.where, problems);
    return;
  }
  const bool host = kind.target == TargetKind::host;
  check_reference(fault.target, host ? names(s.hosts) : names(s.disks), who, host ? "host" : "disk",
                  fault.where, problems);
}

void check_faults(const Scenario& s, Problems& problems) {
  for (const FaultSpec& fault : s.faults) {
    check_fault_target(s, fault, problems);
    if (s.duration > 0_ns && fault.at.latest >= s.duration) {
      problems.error(fault.where,
                     "the fault at " + format_duration(fault.at.latest) +
                         " is not before the end of the run at " + format_duration(s.duration),
                     "let it happen earlier, or make the run longer");
    }
  }
}

void check_oracles(const Scenario& s, Problems& problems) {
  for (auto oracle = s.oracles.begin(); oracle != s.oracles.end(); ++oracle) {
    const auto same = [&](const OracleSpec& other) { return other.kind == oracle->kind; };
    if (std::find_if(s.oracles.begin(), oracle, same) != oracle) {
      problems.error(oracle->where,
                     "oracle " + std::string(oracle_kind(oracle->kind).name) + " is asked twice",
                     "keep one");
    }
    if (oracle->kind != OracleId::recovery_within) continue;
    Nanoseconds last;
    for (const FaultSpec& fault : s.faults) last = std::max(last, fault.at.latest);
    const auto bound = oracle->parameters.duration("bound");
    if (!s.faults.empty() && s.duration > 0_ns && s.duration - last < bound) {
      problems.warning(oracle->where,
                       "the run ends " + format_duration(s.duration - last) +
                           " after its last fault, before the bound of " + format_duration(bound),
                       "make the run longer, so that the bound can be judged");
    }
  }
  if (s.oracles.empty()) {
    problems.warning({}, "the scenario has no oracles: its verdict will always be PASS",
                     "add 'oracles: [no_acknowledged_write_lost, single_instance]'");
  }
}

}  // namespace

void check_scenario(const Scenario& s, Problems& problems) {
  check_unique(s.switches, "switch", problems);
  check_unique(s.disks, "disk", problems);
  check_hosts(s, problems);
  check_vms(s, problems);
  check_addresses(s, problems);
  check_capacity(s, problems);
  check_faults(s, problems);
  check_oracles(s, problems);
}

}  // namespace cupel::scenarios
