#include "core/bus.h"

#include <algorithm>
#include <cstdio>

namespace cupel {
namespace {

std::string hex_range(uint64_t start, uint64_t length) {
  char text[64];
  std::snprintf(text, sizeof text, "0x%llx-0x%llx", static_cast<unsigned long long>(start),
                static_cast<unsigned long long>(start + length - 1));
  return text;
}

uint64_t mask(unsigned size) { return size >= 8 ? ~0ull : (1ull << (size * 8)) - 1; }

}  // namespace

Result<void> Bus::attach(uint64_t start, uint64_t length, BusDevice& device,
                         std::string_view label) {
  if (length == 0 || start + length - 1 < start) {
    return fail(ErrorKind::bad_input,
                name_ + " bus: the range of '" + std::string(label) + "' is empty or wraps around");
  }
  for (const Range& r : ranges_) {
    if (start <= r.start + r.length - 1 && r.start <= start + length - 1) {
      return fail(ErrorKind::bad_input, name_ + " bus: '" + std::string(label) + "' at " +
                                            hex_range(start, length) + " overlaps '" + r.label +
                                            "' at " + hex_range(r.start, r.length));
    }
  }
  const auto at = std::lower_bound(ranges_.begin(), ranges_.end(), start,
                                   [](const Range& r, uint64_t s) { return r.start < s; });
  ranges_.insert(at, Range{start, length, &device, std::string(label)});
  last_ = 0;
  return {};
}

void Bus::detach(const BusDevice& device) {
  std::erase_if(ranges_, [&](const Range& r) { return r.device == &device; });
  last_ = 0;
}

const Bus::Range* Bus::find(uint64_t address, unsigned size) const {
  auto inside = [&](const Range& r) {
    return address >= r.start && size <= r.length && address - r.start <= r.length - size;
  };
  if (last_ < ranges_.size() && inside(ranges_[last_])) return &ranges_[last_];
  auto at = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                             [](uint64_t a, const Range& r) { return a < r.start; });
  if (at == ranges_.begin()) return nullptr;
  --at;
  if (!inside(*at)) return nullptr;
  last_ = static_cast<size_t>(at - ranges_.begin());
  return &*at;
}

uint64_t Bus::read(uint64_t address, unsigned size) {
  const Range* r = find(address, size);
  if (r == nullptr) return mask(size);
  return r->device->read(address - r->start, size) & mask(size);
}

bool Bus::write(uint64_t address, unsigned size, uint64_t value) {
  const Range* r = find(address, size);
  if (r == nullptr) return false;
  r->device->write(address - r->start, size, value & mask(size));
  return true;
}

}  // namespace cupel
