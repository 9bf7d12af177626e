// A planted bug, never part of a sound configuration: a disk that acknowledges writes and flushes
// out of the host's memory and writes them later. What it holds dies with the host.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "core/block_device.h"
#include "core/host.h"

namespace cupel::datastore {

class EarlyAckDisk : public BlockDevice {
 public:
  EarlyAckDisk(std::unique_ptr<BlockDevice> inner, HostTimers& timers)
      : inner_(std::move(inner)), timers_(timers) {}

  uint64_t sectors() const override { return inner_->sectors(); }
  void submit(BlockRequest request, Completion done) override;

 private:
  static constexpr Nanoseconds kHoldBack = 500_ms;

  // Runs `action` later unless this disk is gone by then.
  void later(Nanoseconds delay, HostTimers::Action action);
  void hold(const BlockRequest& request);
  void write_out(uint64_t first, uint64_t count);
  void overlay(Lba first, BlockReply& reply) const;

  std::unique_ptr<BlockDevice> inner_;
  HostTimers& timers_;
  std::map<uint64_t, std::vector<std::byte>> held_;  // by sector
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace cupel::datastore
