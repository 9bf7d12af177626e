// A virtual machine's disk: its extent of the shared LUN, usable only by the current owner.
#pragma once

#include <memory>

#include "core/block_device.h"
#include "core/host.h"
#include "hypervisor/storage/datastore.h"
#include "hypervisor/storage/lease.h"

namespace cupel::datastore {

// Requests complete `fenced` without reaching the LUN when the lease of `epoch` is not held or its
// time is up. The array's own fencing catches what was already on its way by then. Destroying the
// disk drops the completions of what is in flight.
class VmDisk : public BlockDevice {
 public:
  VmDisk(BlockDevice& lun, Extent extent, const Ownership& owner, uint64_t epoch,
         HostTimers& timers);

  uint64_t sectors() const override { return extent_.sectors; }
  void submit(BlockRequest request, Completion done) override;

 private:
  void refuse(BlockStatus status, Completion done);

  BlockDevice& lun_;
  Extent extent_;
  const Ownership& owner_;
  uint64_t epoch_;
  HostTimers& timers_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

// What a VM's start uses: a VmDisk, behind an EarlyAckDisk when that bug is planted.
std::unique_ptr<BlockDevice> make_vm_disk(BlockDevice& lun, Extent extent, const Ownership& owner,
                                          uint64_t epoch, HostTimers& timers, PlantedBug bug);

}  // namespace cupel::datastore
