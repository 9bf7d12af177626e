// Guest-physical memory of a modelled host: what one VM sees as its RAM, a contiguous part of the
// host's memory.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "core/guest_ram.h"
#include "core/physical_memory.h"
#include "core/types.h"

namespace cupel {

// Owns the dirty bitmap of its RAM.
class GuestMemory : public GuestRam {
 public:
  GuestMemory(PhysicalMemory& host, Hpa base, uint64_t size)
      : GuestRam(host.data() + base.value(), base, size, {}), host_(host), bits_(words_for(size)) {
    use_bitmap(bits_);
  }

  PhysicalMemory& host() { return host_; }

  // See GuestRam::Observer; an empty one ends the calls.
  using WriteObserver = std::function<void(Gpa at, uint64_t length)>;
  void set_write_observer(WriteObserver observer) {
    observer_ = std::move(observer);
    const Observer call = [](void* self, Gpa at, uint64_t length) {
      static_cast<GuestMemory*>(self)->observer_(at, length);
    };
    observe(observer_ ? call : nullptr, this);
  }

  // The bitmap since the last take, one bit a page, bit 0 of word 0 = page 0; clears it.
  std::vector<uint64_t> take_dirty() {
    auto taken = bits_;
    std::fill(bits_.begin(), bits_.end(), 0);
    return taken;
  }

 private:
  PhysicalMemory& host_;
  std::vector<uint64_t> bits_;
  WriteObserver observer_;
};

}  // namespace cupel
