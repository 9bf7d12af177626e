#include "hw_models/platform/host_disk.h"

#include "hw_models/platform/host_hardware.h"

namespace cupel::platform {

template <class Reply>
std::function<void(Reply)> HostDisk::on_host(std::function<void(Reply)> done) {
  return [this, session = host_.session(), done = std::move(done)](Reply reply) {
    host_.deliver(session, [done, reply = std::move(reply)] { done(reply); });
  };
}

void HostDisk::submit(BlockRequest request, Completion done) {
  if (host_.running()) port_.submit(std::move(request), on_host<BlockReply>(std::move(done)));
}

void HostDisk::compare_and_write(Lba lba, Sector expected, Sector replacement,
                                 CompareCompletion done) {
  if (!host_.running()) return;
  port_.compare_and_write(lba, expected, replacement, on_host<CompareReply>(std::move(done)));
}

void HostDisk::register_key(ReservationKey key, StatusCompletion done) {
  if (host_.running()) port_.register_key(key, on_host<BlockStatus>(std::move(done)));
}

void HostDisk::preempt(ReservationKey victim, StatusCompletion done) {
  if (host_.running()) port_.preempt(victim, on_host<BlockStatus>(std::move(done)));
}

}  // namespace cupel::platform
