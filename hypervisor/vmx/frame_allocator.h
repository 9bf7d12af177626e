// 4 KiB frames of host-physical memory for the hypervisor's own structures. Freestanding.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/result.h"
#include "core/types.h"

namespace cupel::vmx {

enum class FrameError : uint8_t {
  bad_range,  // not page-aligned, or no room for one frame beside the bitmap
  full,
};

// Hands out zeroed frames of one range of host-physical memory. The bitmap of used frames stands
// in the first frames of the range itself, so that a memory snapshot carries it along: restoring
// the memory restores exactly the frames that were in use.
class FrameAllocator {
 public:
  // `memory` points at the byte with host-physical address `first`; `size` in bytes. The caller
  // keeps the memory alive and lets no guest map it. Errors: bad_range.
  static Result<FrameAllocator, FrameError> create(std::byte* memory, Hpa first, uint64_t size);

  // Errors: full.
  Result<Hpa, FrameError> allocate();
  // Gives back a frame that allocate() returned.
  void release(Hpa frame);

  // The frame's bytes; `at` must lie in the range.
  std::byte* data(Hpa at) const;
  uint64_t free_frames() const { return frames_ - used(); }

 private:
  FrameAllocator(std::byte* memory, Hpa first, uint64_t frames)
      : memory_(memory), first_(first), frames_(frames) {}
  uint64_t* bitmap() const { return reinterpret_cast<uint64_t*>(memory_); }
  uint64_t words() const { return (frames_ + 63) / 64; }
  uint64_t used() const;

  std::byte* memory_;
  Hpa first_;
  uint64_t frames_;
  uint64_t hint_ = 0;  // bitmap word to look at first
};

}  // namespace cupel::vmx
