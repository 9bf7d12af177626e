// Which guest-physical addresses are RAM: the memory without its holes. Freestanding.
#pragma once

#include <algorithm>
#include <array>
#include <span>

#include "core/guest_ram.h"
#include "hypervisor/vmx/vcpu_config.h"

namespace cupel::vmx {

class RamMap {
 public:
  static constexpr size_t kMaxHoles = 8;

  // holes: at most kMaxHoles, checked by the caller.
  RamMap(GuestRam& memory, std::span<const GpaRange> holes) : memory_(memory) {
    for (const GpaRange& hole : holes.first(std::min(holes.size(), kMaxHoles))) {
      holes_[count_++] = hole;
    }
  }
  GuestRam& memory() const { return memory_; }
  bool contains(Gpa at, uint64_t size) const {
    if (!memory_.contains(at, size)) return false;
    for (size_t n = 0; n < count_; ++n) {
      const uint64_t begin = holes_[n].at.value();
      if (at.value() < begin + holes_[n].size && begin < at.value() + size) return false;
    }
    return true;
  }

 private:
  GuestRam& memory_;
  std::array<GpaRange, kMaxHoles> holes_{};
  size_t count_ = 0;
};

}  // namespace cupel::vmx
