#include "hw_models/storage/disk_faults.h"

#include <algorithm>

namespace cupel::storage {
namespace {

bool overlaps(const IoErrorRule& rule, Lba first, uint64_t count) {
  const uint64_t a = rule.first.value();
  const uint64_t b = first.value();
  return a >= b ? a - b < count : b - a < rule.sectors;
}

bool covers(const IoErrorRule& rule, BlockOp op, Lba first, uint64_t count) {
  switch (op) {
    case BlockOp::read:
      return rule.reads && overlaps(rule, first, count);
    case BlockOp::write:
      return rule.writes && overlaps(rule, first, count);
    case BlockOp::flush:
      return rule.flushes;
  }
  return false;
}

}  // namespace

void DiskFaults::slow_down(uint32_t factor, Nanoseconds until) {
  slow_factor_ = std::max(factor, 1u);
  slow_until_ = until;
}

void DiskFaults::clear() {
  rules_.clear();
  slow_factor_ = 1;
}

bool DiskFaults::fails(BlockOp op, Lba first, uint64_t count, Nanoseconds now) {
  std::erase_if(rules_, [&](const IoErrorRule& rule) { return rule.until <= now; });
  bool failed = false;
  for (const auto& rule : rules_) {
    if (covers(rule, op, first, count) && stream_.chance(rule.probability)) failed = true;
  }
  return failed;
}

}  // namespace cupel::storage
