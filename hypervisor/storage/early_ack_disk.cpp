#include "hypervisor/storage/early_ack_disk.h"

#include <algorithm>

namespace cupel::datastore {

void EarlyAckDisk::later(Nanoseconds delay, HostTimers::Action action) {
  timers_.after(delay, [action = std::move(action), alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) action();
  });
}

void EarlyAckDisk::submit(BlockRequest request, Completion done) {
  const uint64_t count = request.data.size() / kSectorSize;
  const bool fits = request.lba.value() <= sectors() && count <= sectors() - request.lba.value();
  if (request.op == BlockOp::read || (request.op == BlockOp::write && !fits)) {
    const Lba lba = request.lba;
    inner_->submit(std::move(request), [this, lba, done = std::move(done)](BlockReply reply) {
      overlay(lba, reply);
      done(std::move(reply));
    });
    return;
  }
  if (request.op == BlockOp::write) {
    hold(request);
    later(kHoldBack, [this, first = request.lba.value(), count] { write_out(first, count); });
  }
  later(10_us, [done = std::move(done)] { done(BlockReply{}); });
}

void EarlyAckDisk::hold(const BlockRequest& request) {
  for (size_t at = 0; at < request.data.size(); at += kSectorSize) {
    const auto from = request.data.begin() + static_cast<std::ptrdiff_t>(at);
    held_[request.lba.value() + at / kSectorSize].assign(
        from, from + static_cast<std::ptrdiff_t>(kSectorSize));
  }
}

void EarlyAckDisk::write_out(uint64_t first, uint64_t count) {
  for (uint64_t sector = first; sector < first + count; ++sector) {
    auto node = held_.extract(sector);
    if (node.empty()) continue;  // a later write of the same sector went out with an earlier timer
    BlockRequest request;
    request.op = BlockOp::write;
    request.lba = Lba(sector);
    request.data = std::move(node.mapped());
    inner_->submit(std::move(request), [](BlockReply) {});
  }
}

void EarlyAckDisk::overlay(Lba first, BlockReply& reply) const {
  for (size_t at = 0; at < reply.data.size(); at += kSectorSize) {
    const auto held = held_.find(first.value() + at / kSectorSize);
    if (held == held_.end()) continue;
    std::ranges::copy(held->second, reply.data.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

}  // namespace cupel::datastore
