#include "hypervisor/storage/vm_disk.h"

#include "core/probe.h"
#include "hypervisor/storage/early_ack_disk.h"

namespace cupel::datastore {

VmDisk::VmDisk(BlockDevice& lun, Extent extent, const Ownership& owner, uint64_t epoch,
               HostTimers& timers)
    : lun_(lun), extent_(extent), owner_(owner), epoch_(epoch), timers_(timers) {}

void VmDisk::refuse(BlockStatus status, Completion done) {
  timers_.after(0_ns, [status, done = std::move(done), alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) done(BlockReply{status, {}});
  });
}

void VmDisk::submit(BlockRequest request, Completion done) {
  const uint64_t count =
      request.op == BlockOp::write ? request.data.size() / kSectorSize : request.sectors;
  if (request.op != BlockOp::flush &&
      (request.data.size() % kSectorSize != 0 || request.lba.value() > extent_.sectors ||
       count > extent_.sectors - request.lba.value())) {
    refuse(BlockStatus::out_of_range, std::move(done));
    return;
  }
  if (!owner_.owns(epoch_)) {
    CUPEL_PROBE("vm_disk.refused_without_lease");
    refuse(BlockStatus::fenced, std::move(done));
    return;
  }
  if (request.op != BlockOp::flush) request.lba = extent_.first + request.lba.value();
  lun_.submit(std::move(request),
              [done = std::move(done), alive = std::weak_ptr<int>(alive_)](BlockReply reply) {
                if (!alive.expired()) done(std::move(reply));
              });
}

std::unique_ptr<BlockDevice> make_vm_disk(BlockDevice& lun, Extent extent, const Ownership& owner,
                                          uint64_t epoch, HostTimers& timers, PlantedBug bug) {
  auto disk = std::make_unique<VmDisk>(lun, extent, owner, epoch, timers);
  if (bug != PlantedBug::ack_before_flush) return disk;
  return std::make_unique<EarlyAckDisk>(std::move(disk), timers);
}

}  // namespace cupel::datastore
