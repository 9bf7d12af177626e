// The 512-byte record on the shared LUN that says who may run a VM.
#pragma once

#include <array>
#include <span>

#include "core/error.h"
#include "core/host.h"
#include "core/lease_device.h"

namespace cupel::datastore {

enum class LeaseState : uint8_t {
  free = 1,      // the VM is powered off; nobody restarts it
  held = 2,      // the owner may run it while it keeps renewing
  fencing = 3,   // the owner has taken it over but not yet shut out `previous_key`
  orphaned = 4,  // given up by an owner that could not go on: to be restarted at once
};

using LeaseSector = std::array<std::byte, kSectorSize>;

struct LeaseRecord {
  VmId vm{0};
  LeaseState state = LeaseState::free;
  HostId owner = HostId::none;                         // none when free; the last one when orphaned
  ReservationKey owner_key = ReservationKey::none;     // registration the owner writes under
  ReservationKey previous_key = ReservationKey::none;  // to be preempted while fencing
  uint64_t epoch = 0;                                  // grows by one with every new owner
  uint64_t counter = 0;                                // grows by one with every renewal

  bool operator==(const LeaseRecord&) const = default;
  // An owner must be seen renewing, or be waited for.
  bool owned() const { return state == LeaseState::held || state == LeaseState::fencing; }
};

// Layout: magic, version, the fields in little-endian order, zeros, XXH3-64 of the first 504 bytes.
LeaseSector encode(const LeaseRecord& record);
// bad_input with the reason: never formatted, foreign, of another version, damaged, or impossible.
Result<LeaseRecord> decode_lease(std::span<const std::byte, kSectorSize> sector);

}  // namespace cupel::datastore
