#include "tests/cluster/cluster_rig.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

namespace cupel::cluster::testing {
namespace {

constexpr uint64_t kLunSectors = 65536;
constexpr uint64_t kVmSectors = 1024;

struct Record {
  uint64_t epoch;
  uint64_t number;  // counts from 1
};

std::vector<std::byte> bytes_of(const Record& record) {
  std::vector<std::byte> bytes(kSectorSize);
  std::memcpy(bytes.data(), &record, sizeof record);
  return bytes;
}
Record record_in(std::span<const std::byte> bytes) {
  Record record;
  std::memcpy(&record, bytes.data(), sizeof record);
  return record;
}

storage::SharedDiskConfig lun_config() {
  storage::SharedDiskConfig config;
  config.sectors = kLunSectors;
  config.cache = storage::CachePolicy::volatile_cache;
  return config;
}

std::string name_of(HostId id) { return "host-" + std::to_string(number(id)); }

}  // namespace

void Monitor::violation(Nanoseconds at, const std::string& what) {
  violations.push_back("at " + std::to_string(at.seconds()) + " s: " + what);
}

// ---- Writer ----

Writer::Writer(std::unique_ptr<BlockDevice> disk, HostTimers& timers, uint64_t epoch,
               uint64_t first, std::function<void(uint64_t)> acknowledged)
    : disk_(std::move(disk)),
      timers_(timers),
      epoch_(epoch),
      next_(first),
      acknowledged_(std::move(acknowledged)) {}

void Writer::write() {
  disk_->submit({BlockOp::write, Lba(next_ % kSlots), 0, false, bytes_of({epoch_, next_})},
                [this](BlockReply reply) {
                  if (reply.status == BlockStatus::ok) {
                    flush();
                  } else {
                    write_after(100_ms);
                  }
                });
}

void Writer::flush() {
  disk_->submit({BlockOp::flush, Lba(0), 0, false, {}}, [this](BlockReply reply) {
    if (reply.status == BlockStatus::ok) acknowledged_(next_++);
    write_after(50_ms);
  });
}

void Writer::write_after(Nanoseconds pause) {
  timers_.after(pause, [this, alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) write();
  });
}

// ---- Host ----

Host::Host(Rig& r, HostId id)
    : rig(r),
      link({.name = "link-" + std::to_string(number(id))}, r.queue, r.random, r.trace),
      hardware({.name = name_of(id), .id = id, .boot_time = 30_s}, r.queue, r.trace),
      nic(hardware.add_nic(link.end(0))),
      disk(hardware.add_disk(r.lun.add_port(id))) {
  hardware.add_listener(*this);
}

void Host::host_booted() {
  vswitch = std::make_unique<vnet::VirtualSwitch>(
      vnet::VirtualSwitchConfig{.name = hardware.name() + "/vswitch"}, hardware, rig.trace);
  vswitch->add_uplink(nic);
  HaConfig config;
  config.self = hardware.id();
  config.name = hardware.name();
  for (uint16_t n = 1; n <= rig.options.hosts; ++n) {
    if (HostId{n} != config.self) config.peers.push_back(HostId{n});
  }
  config.boot = hardware.boots();
  config.timings = rig.options.timings;
  config.isolation = rig.options.isolation;
  config.use_watchdog = rig.options.use_watchdog;
  config.bug = rig.options.bug;
  auto& port = vswitch->add_vnic(vnet::VnicLink::follows_uplinks);
  agent = std::make_unique<HaAgent>(
      HaAgent::Setup{config, disk, port, hardware, hardware, rig.trace, *this});
  agent->start();
}

void Host::host_stopped(std::string_view) {
  running_.clear();
  agent.reset();
  vswitch.reset();
}

void Host::start_vm(std::string_view name, uint64_t epoch) {
  rig.started(hardware.id(), name, epoch);
  const auto* entry = agent->layout().find(name);
  auto vm_disk = datastore::make_vm_disk(disk, entry->disk, *agent->lease(name), epoch, hardware,
                                         rig.options.bug);
  auto& seen = rig.seen[std::string(name)];
  auto writer = std::make_unique<Writer>(std::move(vm_disk), hardware, epoch, rig.next_record(name),
                                         [&seen](uint64_t n) {
                                           seen.acknowledged = std::max(seen.acknowledged, n);
                                           seen.any = true;
                                         });
  writer->start();
  running_[std::string(name)] = std::move(writer);
}

void Host::kill_vm(std::string_view name) {
  rig.trace.record(hardware.name(), "vm.killed", name);
  running_.erase(running_.find(name));
}

// ---- Rig ----

Rig::Rig(RigOptions o)
    : options(std::move(o)),
      random(options.seed),
      lun(lun_config(), queue, random, trace),
      switch_({}, queue, trace) {
  std::vector<datastore::VmRequest> requests;
  for (const auto& vm : options.vms) requests.push_back({vm, kVmSectors});
  layout = datastore::plan(kLunSectors, requests).value();
  lun.medium().write(Lba(0), datastore::format(layout), true);
  lun.set_write_observer([this](HostId host, Lba lba, std::span<const std::byte> data) {
    observe_write(host, lba, data);
  });
  RandomStream jitter = random.stream("rig/boot");
  for (uint16_t n = 1; n <= options.hosts; ++n) {
    hosts_.push_back(std::make_unique<Host>(*this, HostId{n}));
    Host& h = *hosts_.back();
    switch_.attach(h.link.end(1));
    // Hosts are not in step: each boots somewhere within two seconds.
    queue.after(Nanoseconds(static_cast<int64_t>(jitter.uniform(0, 2'000'000'000))), [this, &h, n] {
      h.hardware.start_running();
      for (size_t i = 0; i < options.vms.size(); ++i) {
        if (i % options.hosts == n - 1u) h.agent->power_on(options.vms[i]);
      }
    });
  }
}

Rig::~Rig() = default;

uint16_t Rig::host_running(std::string_view vm) const {
  for (const auto& h : hosts_) {
    if (h->vm_running(vm)) return number(h->hardware.id());
  }
  return 0;
}

size_t Rig::count(std::string_view what) const {
  return static_cast<size_t>(std::ranges::count(trace.records(), what, &TraceRecord::what));
}

Nanoseconds Rig::time_of(std::string_view what) const {
  const auto it = std::ranges::find(trace.records(), what, &TraceRecord::what);
  EXPECT_NE(it, trace.records().end()) << "no " << what;
  return it == trace.records().end() ? Nanoseconds() : it->at;
}

// A hung host counts: its VM goes on where it stands once the hang is over.
void Rig::started(HostId host, std::string_view vm, uint64_t epoch) {
  Seen& s = seen[std::string(vm)];
  ++s.starts;
  for (const auto& h : hosts_) {
    if (h->vm_running(vm)) {
      monitor.violation(queue.now(), "vm " + std::string(vm) + " starts on " + name_of(host) +
                                         " while it runs on " + h->hardware.name());
    }
  }
  if (epoch <= s.newest_epoch) monitor.violation(queue.now(), "epoch did not grow");
  s.newest_epoch = std::max(s.newest_epoch, epoch);
}

void Rig::observe_write(HostId host, Lba lba, std::span<const std::byte> data) {
  for (const auto& vm : layout.vms) {
    if (lba < vm.disk.first || lba - vm.disk.first >= vm.disk.sectors) continue;
    const Record record = record_in(data);
    if (record.epoch < seen[vm.name].newest_epoch) {
      monitor.violation(queue.now(), "late write of an old owner, " + name_of(host) +
                                         ", reached the disk of vm " + vm.name);
    }
  }
}

// A restarted VM reads its disk; here it looks at it directly.
uint64_t Rig::next_record(std::string_view vm) const {
  const auto* entry = layout.find(vm);
  uint64_t newest = 0;
  for (uint64_t slot = 0; slot < Writer::kSlots; ++slot) {
    std::vector<std::byte> sector(kSectorSize);
    lun.medium().read(entry->disk.first + slot, sector);
    newest = std::max(newest, record_in(sector).number);
  }
  const auto s = seen.find(vm);
  if (s != seen.end() && s->second.any && newest < s->second.acknowledged) {
    const_cast<Rig*>(this)->monitor.violation(
        queue.now(), "vm " + std::string(vm) + " lost acknowledged writes: has " +
                         std::to_string(newest) + ", acknowledged " +
                         std::to_string(s->second.acknowledged));
  }
  return newest + 1;
}

void Rig::check_acknowledged_writes() {
  for (const auto& vm : layout.vms) next_record(vm.name);
}

}  // namespace cupel::cluster::testing
