#include "hypervisor/storage/lease_record.h"

#include <algorithm>

#include "core/hash.h"
#include "hypervisor/storage/little_endian.h"

namespace cupel::datastore {
namespace {

constexpr uint64_t kMagic = 0x455341454c505543;  // "CUPLEASE"
constexpr uint16_t kVersion = 1;
enum Offset : size_t {
  kAtMagic = 0,
  kAtVersion = 8,
  kAtState = 10,
  kAtVm = 12,
  kAtOwner = 14,
  kAtOwnerKey = 16,
  kAtPreviousKey = 24,
  kAtEpoch = 32,
  kAtCounter = 40,
  kAtChecksum = 504,
};

bool is_state(uint8_t value) {
  return value >= static_cast<uint8_t>(LeaseState::free) &&
         value <= static_cast<uint8_t>(LeaseState::orphaned);
}

}  // namespace

LeaseSector encode(const LeaseRecord& record) {
  LeaseSector sector{};
  put_le(sector, kAtMagic, kMagic);
  put_le(sector, kAtVersion, kVersion);
  put_le(sector, kAtState, static_cast<uint8_t>(record.state));
  put_le(sector, kAtVm, number(record.vm));
  put_le(sector, kAtOwner, number(record.owner));
  put_le(sector, kAtOwnerKey, static_cast<uint64_t>(record.owner_key));
  put_le(sector, kAtPreviousKey, static_cast<uint64_t>(record.previous_key));
  put_le(sector, kAtEpoch, record.epoch);
  put_le(sector, kAtCounter, record.counter);
  put_le(sector, kAtChecksum, hash_bytes(sector.data(), kAtChecksum));
  return sector;
}

Result<LeaseRecord> decode_lease(std::span<const std::byte, kSectorSize> sector) {
  const auto bad = [](const char* what) {
    return fail(ErrorKind::bad_input, std::string("lease record: ") + what,
                "format the datastore again, with no VM running from it");
  };
  if (std::ranges::all_of(sector, [](std::byte b) { return b == std::byte{0}; })) {
    return bad("never formatted");
  }
  if (get_le<uint64_t>(sector, kAtMagic) != kMagic) return bad("not a lease record");
  if (get_le<uint16_t>(sector, kAtVersion) != kVersion) return bad("of an unknown version");
  if (get_le<uint64_t>(sector, kAtChecksum) != hash_bytes(sector.data(), kAtChecksum)) {
    return bad("damaged (checksum)");
  }
  if (!is_state(get_le<uint8_t>(sector, kAtState))) return bad("in an unknown state");
  LeaseRecord record;
  record.state = static_cast<LeaseState>(get_le<uint8_t>(sector, kAtState));
  record.vm = VmId{get_le<uint16_t>(sector, kAtVm)};
  record.owner = HostId{get_le<uint16_t>(sector, kAtOwner)};
  record.owner_key = ReservationKey{get_le<uint64_t>(sector, kAtOwnerKey)};
  record.previous_key = ReservationKey{get_le<uint64_t>(sector, kAtPreviousKey)};
  record.epoch = get_le<uint64_t>(sector, kAtEpoch);
  record.counter = get_le<uint64_t>(sector, kAtCounter);
  if (record.owned() && record.owner == HostId::none) return bad("held by nobody");
  return record;
}

}  // namespace cupel::datastore
