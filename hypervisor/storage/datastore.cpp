#include "hypervisor/storage/datastore.h"

#include <algorithm>
#include <set>

#include "core/hash.h"
#include "hypervisor/storage/lease_record.h"
#include "hypervisor/storage/little_endian.h"

namespace cupel::datastore {
namespace {

constexpr uint64_t kMagic = 0x45524f5453505543;       // "CUPSTORE"
constexpr uint64_t kEntryMagic = 0x5952544e454d5643;  // "CVMENTRY"
constexpr uint16_t kVersion = 1;
constexpr uint64_t kAlignment = 2048;  // sectors
enum Offset : size_t {
  kAtMagic = 0,
  kAtVersion = 8,
  kAtVms = 10,
  kAtSectors = 16,
  // of a VM table entry
  kAtFirst = 16,
  kAtCount = 24,
  kAtName = 32,
  kAtChecksum = 504,
};

using Sector = std::span<std::byte>;
using ConstSector = std::span<const std::byte>;

Failure<Error> bad(const std::string& what) {
  return fail(ErrorKind::bad_input, "datastore: " + what,
              "check that this is the right LUN, or format it");
}

void seal(Sector sector) { put_le(sector, kAtChecksum, hash_bytes(sector.data(), kAtChecksum)); }
bool sealed(ConstSector sector) {
  return get_le<uint64_t>(sector, kAtChecksum) == hash_bytes(sector.data(), kAtChecksum);
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxVmName &&
         std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
}

// The rules every layout obeys, whether planned or read.
Result<void> check(const DatastoreLayout& layout) {
  std::set<std::string> names;
  uint64_t free_from = kFirstDataSector;
  std::vector<const VmEntry*> by_place;
  for (const auto& vm : layout.vms) by_place.push_back(&vm);
  std::ranges::sort(by_place, {}, [](const VmEntry* vm) { return vm->disk.first; });
  for (const VmEntry* vm : by_place) {
    const std::string slot = "VM slot " + std::to_string(number(vm->id));
    if (!is_name(vm->name)) return bad(slot + ": name is empty, too long or not printable");
    if (!names.insert(vm->name).second) return bad(slot + ": name " + vm->name + " is taken");
    const uint64_t first = vm->disk.first.value();
    if (vm->disk.sectors == 0) return bad(slot + ": disk is empty");
    if (first < free_from) return bad(slot + ": disk overlaps other data");
    if (first > layout.sectors || vm->disk.sectors > layout.sectors - first) {
      return bad(slot + ": disk ends beyond the LUN");
    }
    free_from = first + vm->disk.sectors;
  }
  return {};
}

VmEntry entry_from(ConstSector sector, VmId id) {
  VmEntry vm;
  vm.id = id;
  vm.disk.first = Lba(get_le<uint64_t>(sector, kAtFirst));
  vm.disk.sectors = get_le<uint64_t>(sector, kAtCount);
  for (size_t i = 0; i <= kMaxVmName && sector[kAtName + i] != std::byte{0}; ++i) {
    vm.name += static_cast<char>(sector[kAtName + i]);
  }
  return vm;
}

void put_entry(Sector sector, const VmEntry& vm) {
  put_le(sector, kAtMagic, kEntryMagic);
  put_le(sector, kAtFirst, vm.disk.first.value());
  put_le(sector, kAtCount, vm.disk.sectors);
  for (size_t i = 0; i < vm.name.size(); ++i) sector[kAtName + i] = std::byte(vm.name[i]);
  seal(sector);
}

}  // namespace

const VmEntry* DatastoreLayout::find(std::string_view name) const {
  const auto it = std::ranges::find(vms, name, &VmEntry::name);
  return it == vms.end() ? nullptr : &*it;
}

const VmEntry* DatastoreLayout::find(VmId id) const {
  const auto it = std::ranges::find(vms, id, &VmEntry::id);
  return it == vms.end() ? nullptr : &*it;
}

Result<DatastoreLayout> plan(uint64_t lun_sectors, const std::vector<VmRequest>& vms) {
  if (vms.size() > kMaxVms) return bad("more than " + std::to_string(kMaxVms) + " VMs");
  DatastoreLayout layout{lun_sectors, {}};
  uint64_t next = kFirstDataSector;
  for (const auto& vm : vms) {
    const auto id = VmId{static_cast<uint16_t>(layout.vms.size())};
    if (next > lun_sectors || vm.sectors > lun_sectors - next) {
      return bad("no room for the disk of " + vm.name);
    }
    layout.vms.push_back({id, vm.name, {Lba(next), vm.sectors}});
    next += (vm.sectors + kAlignment - 1) / kAlignment * kAlignment;
  }
  CUPEL_TRY(check(layout));
  return layout;
}

std::vector<std::byte> format(const DatastoreLayout& layout) {
  std::vector<std::byte> image(kMetadataSectors * kSectorSize);
  const auto sector = [&](Lba lba) {
    return Sector(image).subspan(lba.value() * kSectorSize, kSectorSize);
  };
  const Sector super = sector(Lba(0));
  put_le(super, kAtMagic, kMagic);
  put_le(super, kAtVersion, kVersion);
  put_le(super, kAtVms, static_cast<uint16_t>(layout.vms.size()));
  put_le(super, kAtSectors, layout.sectors);
  seal(super);
  for (const auto& vm : layout.vms) {
    put_entry(sector(kVmTable + number(vm.id)), vm);
    LeaseRecord lease;
    lease.vm = vm.id;
    std::ranges::copy(encode(lease), sector(lease_of(vm.id)).begin());
  }
  return image;
}

Result<DatastoreLayout> parse(std::span<const std::byte> metadata, uint64_t lun_sectors) {
  if (metadata.size() < kMetadataSectors * kSectorSize) return bad("LUN is too small");
  const auto sector = [&](Lba lba) {
    return metadata.subspan(lba.value() * kSectorSize, kSectorSize);
  };
  const ConstSector super = sector(Lba(0));
  if (get_le<uint64_t>(super, kAtMagic) != kMagic) return bad("no superblock at sector 0");
  if (get_le<uint16_t>(super, kAtVersion) != kVersion) return bad("superblock of unknown version");
  if (!sealed(super)) return bad("superblock is damaged (checksum)");
  const auto vms = get_le<uint16_t>(super, kAtVms);
  if (vms > kMaxVms) return bad("superblock claims " + std::to_string(vms) + " VMs");
  DatastoreLayout layout;
  layout.sectors = get_le<uint64_t>(super, kAtSectors);
  if (layout.sectors > lun_sectors) return bad("superblock claims more sectors than the LUN has");
  for (uint16_t i = 0; i < vms; ++i) {
    const ConstSector entry = sector(kVmTable + i);
    if (get_le<uint64_t>(entry, kAtMagic) != kEntryMagic || !sealed(entry)) {
      return bad("VM slot " + std::to_string(i) + ": table entry is damaged");
    }
    layout.vms.push_back(entry_from(entry, VmId{i}));
  }
  CUPEL_TRY(check(layout));
  return layout;
}

void open(BlockDevice& lun, std::function<void(Result<DatastoreLayout>)> done) {
  BlockRequest request;
  request.op = BlockOp::read;
  request.lba = Lba(0);
  request.sectors = kMetadataSectors;
  lun.submit(std::move(request), [sectors = lun.sectors(), done = std::move(done)](BlockReply r) {
    if (r.status == BlockStatus::out_of_range) {
      done(bad("LUN is too small"));
    } else if (r.status != BlockStatus::ok) {
      done(fail(ErrorKind::environment,
                "datastore: cannot be read: " + std::string(to_string(r.status))));
    } else {
      done(parse(r.data, sectors));
    }
  });
}

}  // namespace cupel::datastore
