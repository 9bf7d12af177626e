// Fault rules of a disk: which commands fail or slow down, and until when.
#pragma once

#include <cstdint>
#include <vector>

#include "core/block_device.h"
#include "core/random.h"

namespace cupel::storage {

// Commands of the chosen kinds that touch the range fail with io_error and have no effect.
struct IoErrorRule {
  Lba first{0};
  uint64_t sectors = UINT64_MAX;  // length of the range; flushes match any range
  double probability = 1.0;       // 0..1, drawn for each matching command
  Nanoseconds until = Nanoseconds::max();
  bool reads = true;
  bool writes = true;
  bool flushes = true;
};

class DiskFaults {
 public:
  explicit DiskFaults(RandomStream stream) : stream_(std::move(stream)) {}

  void add(const IoErrorRule& rule) { rules_.push_back(rule); }
  // Service times are multiplied by `factor` >= 1 until then; the latest call wins.
  void slow_down(uint32_t factor, Nanoseconds until);
  void clear();

  // Draws once for every rule that matches. `count` is ignored for flushes.
  bool fails(BlockOp op, Lba first, uint64_t count, Nanoseconds now);
  uint32_t slowness(Nanoseconds now) const { return now < slow_until_ ? slow_factor_ : 1; }

 private:
  RandomStream stream_;
  std::vector<IoErrorRule> rules_;
  uint32_t slow_factor_ = 1;
  Nanoseconds slow_until_;
};

}  // namespace cupel::storage
