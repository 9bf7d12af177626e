#include "hypervisor/vmx/frame_allocator.h"

#include <bit>
#include <cstring>

namespace cupel::vmx {

Result<FrameAllocator, FrameError> FrameAllocator::create(std::byte* memory, Hpa first,
                                                          uint64_t size) {
  const uint64_t frames = size / kPageSize;
  const uint64_t bitmap_frames = (frames / 8 + kPageSize) / kPageSize;
  if (memory == nullptr || first.offset_in(kPageSize) != 0 || frames <= bitmap_frames) {
    return Failure(FrameError::bad_range);
  }
  FrameAllocator allocator(memory, first, frames);
  std::memset(memory, 0, bitmap_frames * kPageSize);
  for (uint64_t n = 0; n < bitmap_frames; ++n) allocator.bitmap()[n / 64] |= 1ull << (n % 64);
  return allocator;
}

Result<Hpa, FrameError> FrameAllocator::allocate() {
  for (uint64_t i = 0; i < words(); ++i) {
    const uint64_t at = (hint_ + i) % words();
    const uint64_t word = bitmap()[at];
    if (word == ~0ull) continue;
    const uint64_t frame = at * 64 + static_cast<uint64_t>(std::countr_one(word));
    if (frame >= frames_) continue;
    bitmap()[at] = word | 1ull << (frame % 64);
    hint_ = at;
    std::memset(memory_ + frame * kPageSize, 0, kPageSize);
    return first_ + frame * kPageSize;
  }
  return Failure(FrameError::full);
}

void FrameAllocator::release(Hpa frame) {
  const uint64_t n = (frame - first_) / kPageSize;
  assert(frame >= first_ && n < frames_ && (bitmap()[n / 64] >> (n % 64) & 1) != 0);
  bitmap()[n / 64] &= ~(1ull << (n % 64));
}

std::byte* FrameAllocator::data(Hpa at) const {
  assert(at >= first_ && at - first_ < frames_ * kPageSize);
  return memory_ + (at - first_);
}

uint64_t FrameAllocator::used() const {
  uint64_t count = 0;
  for (uint64_t n = 0; n < words(); ++n) count += static_cast<uint64_t>(std::popcount(bitmap()[n]));
  return count;
}

}  // namespace cupel::vmx
