// A disk in the test's memory that answers from the event queue after a fixed time.
#pragma once

#include <algorithm>
#include <vector>

#include "core/block_device.h"
#include "core/event_queue.h"

namespace cupel::kvm {

class MemoryDisk final : public BlockDevice {
 public:
  static constexpr Nanoseconds kLatency = 50_us;

  MemoryDisk(EventQueue& queue, uint64_t sectors) : queue_(queue), data_(sectors * kSectorSize) {}

  uint64_t sectors() const override { return data_.size() / kSectorSize; }

  void submit(BlockRequest request, Completion done) override {
    queue_.after(kLatency, [this, request = std::move(request), done = std::move(done)] {
      done(serve(request));
    });
  }

 private:
  BlockReply serve(const BlockRequest& request) {
    if (request.op == BlockOp::flush) return {};
    const uint64_t count =
        request.op == BlockOp::write ? request.data.size() / kSectorSize : request.sectors;
    if (count > sectors() || request.lba.value() > sectors() - count) {
      return {BlockStatus::out_of_range, {}};
    }
    const auto at = data_.begin() + static_cast<ptrdiff_t>(request.lba.value() * kSectorSize);
    const auto end = at + static_cast<ptrdiff_t>(count * kSectorSize);
    if (request.op == BlockOp::read) return {BlockStatus::ok, {at, end}};
    std::copy(request.data.begin(), request.data.end(), at);
    return {};
  }

  EventQueue& queue_;
  std::vector<std::byte> data_;
};

}  // namespace cupel::kvm
