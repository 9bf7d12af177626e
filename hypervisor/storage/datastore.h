// The layout of a shared datastore on its LUN, and the reading of it.
//
//   sector 0          superblock: magic, version, number of VM slots, size of the LUN
//   sectors 64..127   one lease record a VM slot
//   sectors 128..191  one VM table entry a slot: name and extent
//   sectors 2048..    the VMs' disks, each one extent aligned to 1 MiB
#pragma once

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/host.h"
#include "core/lease_device.h"

namespace cupel::datastore {

inline constexpr uint64_t kMaxVms = 64;
inline constexpr Lba kLeaseArea{64};
inline constexpr Lba kVmTable{128};
inline constexpr uint64_t kMetadataSectors = 192;
inline constexpr uint64_t kFirstDataSector = 2048;
inline constexpr size_t kMaxVmName = 63;

struct Extent {
  Lba first{0};
  uint64_t sectors = 0;
};

struct VmEntry {
  VmId id{0};
  std::string name;  // 1..63 bytes of printable ASCII, unique
  Extent disk;
};

struct DatastoreLayout {
  uint64_t sectors = 0;  // of the LUN
  std::vector<VmEntry> vms;

  const VmEntry* find(std::string_view name) const;
  const VmEntry* find(VmId id) const;
};

constexpr Lba lease_of(VmId vm) { return kLeaseArea + number(vm); }

// What a new VM needs of the datastore.
struct VmRequest {
  std::string name;
  uint64_t sectors = 0;
};

// Places the VMs one after the other. bad_input: too many, bad or repeated names, no room.
Result<DatastoreLayout> plan(uint64_t lun_sectors, const std::vector<VmRequest>& vms);
// The metadata sectors of a fresh datastore with free leases: kMetadataSectors * 512 bytes for LBA
// 0.
std::vector<std::byte> format(const DatastoreLayout& layout);
// Reads metadata that anybody may have written. bad_input names the structure and what is wrong:
// foreign or damaged superblock, damaged entries, extents outside the LUN or overlapping, names.
Result<DatastoreLayout> parse(std::span<const std::byte> metadata, uint64_t lun_sectors);
// Reads and parses; environment errors when the LUN cannot be read.
void open(BlockDevice& lun, std::function<void(Result<DatastoreLayout>)> done);

}  // namespace cupel::datastore
