// A disk that passes everything through and tells the oracle about it.
#pragma once

#include <cstdint>
#include <memory>

#include "core/block_device.h"
#include "core/clock.h"
#include "scenarios/oracles/no_acknowledged_write_lost.h"

namespace cupel::scenarios {

// Stands between one instance of a VM and its disk; every new instance gets a new observer over the
// same oracle. The oracle and the clock outlive the observer and all requests in flight. Changes
// neither data, status nor time of any request.
class BlockObserver : public BlockDevice {
 public:
  BlockObserver(BlockDevice& disk, NoAcknowledgedWriteLost& oracle, const VirtualClock& clock)
      : disk_(disk), oracle_(oracle), clock_(clock) {}

  uint64_t sectors() const override { return disk_.sectors(); }
  void submit(BlockRequest request, Completion done) override;

 private:
  void submit_read(BlockRequest request, Completion done);
  void submit_write(BlockRequest request, Completion done);
  void submit_flush(BlockRequest request, Completion done);

  BlockDevice& disk_;
  NoAcknowledgedWriteLost& oracle_;
  const VirtualClock& clock_;
};

}  // namespace cupel::scenarios
