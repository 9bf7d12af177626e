// A shared disk as cluster software needs it: blocks, an atomic compare-and-write, and
// registrations by which one initiator shuts another out.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "core/block_device.h"

namespace cupel {

struct CompareReply {
  BlockStatus status = BlockStatus::ok;
  bool matched = false;  // meaningful when ok; false: the medium held something else (MISCOMPARE)
};

// Registration key of an initiator; 0 is no key (SPC-4 PERSISTENT RESERVE OUT).
enum class ReservationKey : uint64_t { none = 0 };

// Completions follow the contract of BlockDevice. An error other than `fenced` leaves open whether
// the command took effect: the reply may have been lost on its way.
class LeaseDevice : public BlockDevice {
 public:
  using CompareCompletion = std::function<void(CompareReply)>;
  using StatusCompletion = std::function<void(BlockStatus)>;
  using Sector = std::span<const std::byte, kSectorSize>;

  // Replaces one sector when it equals `expected`, in one step against all other initiators; the
  // new content is on stable media at completion (SBC-4 COMPARE AND WRITE with FUA).
  virtual void compare_and_write(Lba lba, Sector expected, Sector replacement,
                                 CompareCompletion done) = 0;
  // Registers this initiator, replacing its former key. Commands it issued before count as issued
  // under the former key.
  virtual void register_key(ReservationKey key, StatusCompletion done) = 0;
  // Removes every registration of `victim`: from then on none of its commands takes effect, those
  // already on their way included; they complete `fenced`. Ok as well when nobody holds the key.
  virtual void preempt(ReservationKey victim, StatusCompletion done) = 0;
};

}  // namespace cupel
