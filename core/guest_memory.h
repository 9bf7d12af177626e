// Guest-physical memory: what one VM sees as its RAM, a contiguous part of the host's memory.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <vector>

#include "core/physical_memory.h"
#include "core/types.h"

namespace cupel {

// A value that is stored as its own bytes; never a view of other bytes.
template <class T>
concept PlainValue = std::is_trivially_copyable_v<T> && !requires(T view) {
  view.size_bytes();
};

// RAM at guest-physical 0 .. size-1, backed by host-physical base .. base+size-1. Accesses from
// the host side (devices' DMA, loaders) go through here and set the dirty bitmap; the processor's
// own stores show in EPT dirty flags (or KVM's dirty log), which the VM folds in with
// mark_dirty().
class GuestMemory {
 public:
  GuestMemory(PhysicalMemory& host, Hpa base, uint64_t size)
      : host_(host), base_(base), size_(size), dirty_((size / kPageSize + 63) / 64) {}

  uint64_t size() const { return size_; }
  Hpa base() const { return base_; }
  PhysicalMemory& host() { return host_; }

  bool contains(Gpa at, uint64_t length) const {
    return length <= size_ && at.value() <= size_ - length;
  }
  Hpa to_host(Gpa at) const { return base_ + at.value(); }

  // Read-only view; empty when the range is not RAM.
  std::span<const std::byte> view(Gpa at, uint64_t length) const {
    if (!contains(at, length)) return {};
    return {host_.data() + base_.value() + at.value(), length};
  }
  // Called before every write from the host side, so that a processor can drop stale translations
  // of code on those pages.
  using WriteObserver = std::function<void(Gpa at, uint64_t length)>;
  void set_write_observer(WriteObserver observer) { observer_ = std::move(observer); }

  // Writable view; marks the pages dirty now. Empty when the range is not RAM.
  std::span<std::byte> writable(Gpa at, uint64_t length) {
    if (!contains(at, length)) return {};
    mark_dirty(at, length);
    if (observer_) observer_(at, length);
    return {host_.data() + base_.value() + at.value(), length};
  }
  bool read(Gpa at, std::span<std::byte> out) const {
    const auto from = view(at, out.size());
    if (from.size() != out.size()) return false;
    if (!out.empty()) std::memcpy(out.data(), from.data(), out.size());
    return true;
  }
  bool write(Gpa at, std::span<const std::byte> in) {
    const auto to = writable(at, in.size());
    if (to.size() != in.size()) return false;
    if (!in.empty()) std::memcpy(to.data(), in.data(), in.size());
    return true;
  }
  template <PlainValue T>
  bool read(Gpa at, T& out) const {
    return read(at, std::as_writable_bytes(std::span(&out, 1)));
  }
  template <PlainValue T>
  bool write(Gpa at, const T& value) {
    return write(at, std::as_bytes(std::span(&value, 1)));
  }

  void mark_dirty(Gpa at, uint64_t length) {
    if (length == 0) return;
    const uint64_t last = (at.value() + length - 1) / kPageSize;
    for (uint64_t page = at.value() / kPageSize; page <= last; ++page)
      dirty_[page / 64] |= 1ull << (page % 64);
  }
  bool is_dirty(Gpa at) const {
    const uint64_t page = at.value() / kPageSize;
    return (dirty_[page / 64] >> (page % 64) & 1) != 0;
  }
  // The bitmap since the last take, one bit a page, bit 0 of word 0 = page 0; clears it.
  std::vector<uint64_t> take_dirty() {
    auto taken = dirty_;
    std::fill(dirty_.begin(), dirty_.end(), 0);
    return taken;
  }

 private:
  PhysicalMemory& host_;
  Hpa base_;
  uint64_t size_;
  std::vector<uint64_t> dirty_;
  WriteObserver observer_;
};

}  // namespace cupel
