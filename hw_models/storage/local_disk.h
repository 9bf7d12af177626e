// A disk inside one host, with a volatile write cache by default.
//
// Fault contract: that of SharedDisk with one port. It loses power together with its host, unless
// told otherwise, and is readable again once the host has booted.
#pragma once

#include "hw_models/storage/shared_disk.h"

namespace cupel::storage {

struct LocalDiskConfig {
  std::string name = "disk/local";
  uint64_t sectors = 0;  // > 0
  CachePolicy cache = CachePolicy::volatile_cache;
  // Defaults: a SATA flash disk.
  Nanoseconds latency = 80_us;
  Nanoseconds per_sector = 1000_ns;
  Nanoseconds jitter = 20_us;
  unsigned concurrency = 32;
};

class LocalDisk : public BlockDevice {
 public:
  LocalDisk(const LocalDiskConfig& config, HostId owner, EventQueue& queue,
            const RandomSource& random, Trace& trace);

  uint64_t sectors() const override { return disk_.sectors(); }
  void submit(BlockRequest request, Completion done) override {
    port_.submit(std::move(request), std::move(done));
  }

  // The host lost power: the cache and everything in flight are gone.
  void power_cut(Nanoseconds duration) {
    port_.initiator_lost_power();
    disk_.power_cut(duration);
  }
  DiskFaults& faults() { return disk_.faults(); }
  void lose_device(Nanoseconds duration = Nanoseconds::max()) { disk_.lose_device(duration); }
  Medium& medium() { return disk_.medium(); }
  DiskPort& port() { return port_; }

 private:
  SharedDisk disk_;
  DiskPort& port_;
};

}  // namespace cupel::storage
