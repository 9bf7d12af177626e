#include "scenarios/language/sections.h"

namespace cupel::scenarios {
namespace {

constexpr std::string_view kGuestWords[] = {"linux", "workload"};

// Assigns when there is something to assign.
template <class T, class U>
void set(T& to, const std::optional<U>& from) {
  if (from) to = static_cast<T>(*from);
}

NicSpec read_nic(const YamlNode& node, const std::string& path, Problems& problems) {
  MapReader reader(node, path, problems);
  NicSpec nic;
  nic.where = reader.where();
  nic.name = reader.name("nic0");
  reader.need("network", "lan");
  set(nic.network, reader.text("network"));
  reader.finish();
  return nic;
}

GuestSpec read_image_guest(const YamlNode& node, const std::string& path, Problems& problems) {
  MapReader reader(node, path, problems);
  GuestSpec guest{.kind = GuestKind::image, .kernel = {}, .initrd = {}, .cmdline = {}};
  reader.need("kernel", "build/cache/linux/vmlinuz");
  set(guest.kernel, reader.text("kernel"));
  set(guest.initrd, reader.text("initrd"));
  set(guest.cmdline, reader.text("cmdline"));
  reader.finish();
  return guest;
}

GuestSpec read_guest(MapReader& vm, Problems& problems) {
  const YamlNode* node = vm.need("guest", "workload");
  if (node == nullptr) return {};
  if (node->kind == YamlNode::Kind::map) return read_image_guest(*node, vm.path("guest"), problems);
  GuestSpec guest;
  if (const auto index = vm.choice("guest", kGuestWords)) {
    guest.kind = *index == 0 ? GuestKind::linux_recorder : GuestKind::workload;
  }
  return guest;
}

WorkloadSpec read_workload(const YamlNode& node, const std::string& path, Problems& problems) {
  MapReader reader(node, path, problems);
  WorkloadSpec workload;
  const auto rate = reader.parse("rate", parse_rate);
  if (rate && (*rate < 10_us || *rate > 60_s)) {
    problems.error(reader.where("rate"), reader.path("rate") + " is outside what a guest can do",
                   "it must be from 1/min to 100000/s");
  }
  set(workload.write_interval, rate);
  set(workload.report_interval, reader.duration("report", {1_ms, 3600_s}));
  reader.finish();
  return workload;
}

VmDiskSpec read_vm_disk(const YamlNode& node, const std::string& path, Problems& problems) {
  MapReader reader(node, path, problems);
  VmDiskSpec disk;
  reader.need("on", "shared");
  set(disk.on, reader.text("on"));
  reader.need("size", "16MiB");
  set(disk.size, reader.size("size", {64_KiB, kMostMemory}));
  if (disk.size % kSectorSize != 0) {
    problems.error(reader.where("size"), reader.path("size") + " is not a multiple of 512 bytes",
                   "sizes in KiB or MiB always are");
  }
  reader.finish();
  return disk;
}

VmNicSpec read_vm_nic(const YamlNode& node, const std::string& path, Problems& problems) {
  MapReader reader(node, path, problems);
  VmNicSpec nic;
  reader.need("network", "lan");
  set(nic.network, reader.text("network"));
  reader.need("ip", "10.0.0.10");
  set(nic.ip, reader.parse("ip", parse_ipv4));
  reader.need("mac", "52:54:00:00:00:0a");
  set(nic.mac, reader.parse("mac", parse_mac));
  reader.finish();
  return nic;
}

uint64_t page_multiple(MapReader& reader, uint64_t fallback, Range<uint64_t> range) {
  const auto given = reader.size("memory", range);
  if (given && *given % kPageSize != 0) {
    reader.problems().error(reader.where("memory"),
                            reader.path("memory") + " is not a multiple of 4KiB",
                            "sizes in MiB always are");
  }
  return given.value_or(fallback);
}

}  // namespace

HostSpec read_host(const YamlNode& node, const std::string& path, Problems& problems) {
  MapReader reader(node, path, problems);
  HostSpec host;
  host.where = reader.where();
  host.name = reader.name("host-a");
  host.memory = page_multiple(reader, host.memory, {64_MiB, kMostMemory});
  set(host.cpus, reader.count("cpus", {1, 256}));
  for (const auto& [item, item_path] : reader.list("nics", 16)) {
    host.nics.push_back(read_nic(*item, item_path, problems));
  }
  reader.finish();
  return host;
}

void read_network(const YamlNode& node, Scenario& scenario, Problems& problems) {
  MapReader reader(node, "network", problems);
  reader.need("switches", "[{name: lan}]");
  for (const auto& [item, path] : reader.list("switches", 16)) {
    MapReader entry(*item, path, problems);
    SwitchSpec spec;
    spec.where = entry.where();
    spec.name = entry.name("lan");
    set(spec.latency, entry.duration("latency", {0_ns, 10_s}));
    entry.finish();
    scenario.switches.push_back(std::move(spec));
  }
  reader.finish();
}

void read_storage(const YamlNode& node, Scenario& scenario, Problems& problems) {
  static constexpr std::string_view kCaches[] = {"volatile", "write_through"};
  MapReader reader(node, "storage", problems);
  reader.need("disks", "[{name: shared, size: 64MiB}]");
  for (const auto& [item, path] : reader.list("disks", kMostDisks)) {
    MapReader entry(*item, path, problems);
    DiskSpec disk;
    disk.where = entry.where();
    disk.name = entry.name("shared");
    entry.need("size", "64MiB");
    set(disk.size, entry.size("size", {1_MiB, kMostMemory}));
    if (disk.size % kSectorSize != 0) {
      problems.error(entry.where("size"), entry.path("size") + " is not a multiple of 512 bytes",
                     "sizes in KiB or MiB always are");
    }
    set(disk.latency, entry.duration("latency", {0_ns, 60_s}));
    if (const auto index = entry.choice("cache", kCaches)) {
      disk.cache = *index == 0 ? DiskCache::volatile_cache : DiskCache::write_through;
    }
    entry.finish();
    scenario.disks.push_back(std::move(disk));
  }
  reader.finish();
}

VmSpec read_vm(const YamlNode& node, const std::string& path, Problems& problems) {
  MapReader reader(node, path, problems);
  VmSpec vm;
  vm.where = reader.where();
  vm.name = reader.name("web");
  reader.need("host", "host-a");
  set(vm.host, reader.text("host"));
  vm.memory = page_multiple(reader, vm.memory, {kLeastVmMemory, kMostVmMemory});
  vm.guest = read_guest(reader, problems);
  if (const auto* n = reader.find("workload")) {
    vm.workload = read_workload(*n, reader.path("workload"), problems);
  }
  if (const auto* n = reader.find("disk")) {
    vm.disk = read_vm_disk(*n, reader.path("disk"), problems);
  }
  if (const auto* n = reader.find("nic")) {
    vm.nic = read_vm_nic(*n, reader.path("nic"), problems);
  }
  set(vm.ha, reader.flag("ha"));
  set(vm.autostart, reader.flag("autostart"));
  reader.finish();
  return vm;
}

HaSpec read_ha(const YamlNode& node, Problems& problems) {
  MapReader reader(node, "ha", problems);
  constexpr Range<Nanoseconds> kRange{1_ms, 3600_s};
  HaSpec ha;
  set(ha.heartbeat, reader.duration("heartbeat", kRange));
  set(ha.dead_after, reader.duration("dead_after", kRange));
  set(ha.lease, reader.duration("lease", kRange));
  set(ha.renew, reader.duration("renew", kRange));
  set(ha.watchdog, reader.duration("watchdog", kRange));
  reader.finish();
  const auto at = [&](const char* key) { return reader.where(key); };
  if (ha.dead_after <= ha.heartbeat) {
    problems.error(at("dead_after"), "ha.dead_after is not longer than ha.heartbeat",
                   "with these times every host is dead between two heartbeats");
  }
  if (ha.lease <= ha.renew) {
    problems.error(at("lease"), "ha.lease is not longer than ha.renew",
                   "with these times every lease runs out before it is renewed");
  }
  // Wrong, but a wrong configuration is something a scenario may want to show.
  if (ha.watchdog >= ha.lease) {
    problems.warning(at("watchdog"), "ha.watchdog is not shorter than ha.lease",
                     "a VM can then be taken while its old host still runs it");
  }
  if (ha.watchdog <= ha.renew) {
    problems.warning(at("watchdog"), "ha.watchdog is not longer than ha.renew",
                     "a host then stops its VMs between two renewals");
  }
  return ha;
}

}  // namespace cupel::scenarios
