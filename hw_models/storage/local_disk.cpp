#include "hw_models/storage/local_disk.h"

namespace cupel::storage {
namespace {

SharedDiskConfig as_shared(const LocalDiskConfig& config) {
  SharedDiskConfig shared;
  shared.name = config.name;
  shared.sectors = config.sectors;
  shared.cache = config.cache;
  shared.latency = config.latency;
  shared.per_sector = config.per_sector;
  shared.jitter = config.jitter;
  shared.concurrency = config.concurrency;
  return shared;
}

}  // namespace

LocalDisk::LocalDisk(const LocalDiskConfig& config, HostId owner, EventQueue& queue,
                     const RandomSource& random, Trace& trace)
    : disk_(as_shared(config), queue, random, trace), port_(disk_.add_port(owner)) {}

}  // namespace cupel::storage
