// Guest-physical RAM as the hypervisor core sees it. Freestanding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

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
// mark_dirty(). Bytes and bitmap belong to the caller; the hosted owner is GuestMemory.
class GuestRam {
 public:
  // Called before every write from the host side, so that a processor can drop stale translations
  // of code on those pages.
  using Observer = void (*)(void* context, Gpa at, uint64_t length);

  // bytes: at guest-physical 0. dirty: one bit a page, at least words_for(size) words.
  GuestRam(std::byte* bytes, Hpa base, uint64_t size, std::span<uint64_t> dirty)
      : bytes_(bytes), base_(base), size_(size), dirty_(dirty) {}
  GuestRam(const GuestRam&) = delete;
  GuestRam& operator=(const GuestRam&) = delete;

  static constexpr uint64_t words_for(uint64_t size) { return (size / kPageSize + 63) / 64; }

  uint64_t size() const { return size_; }
  Hpa base() const { return base_; }

  bool contains(Gpa at, uint64_t length) const {
    return length <= size_ && at.value() <= size_ - length;
  }
  Hpa to_host(Gpa at) const { return base_ + at.value(); }

  // Read-only view; empty when the range is not RAM.
  std::span<const std::byte> view(Gpa at, uint64_t length) const {
    if (!contains(at, length)) return {};
    return {bytes_ + at.value(), length};
  }
  // Writable view; marks the pages dirty now. Empty when the range is not RAM.
  std::span<std::byte> writable(Gpa at, uint64_t length) {
    if (!contains(at, length)) return {};
    mark_dirty(at, length);
    if (observer_ != nullptr) observer_(observer_context_, at, length);
    return {bytes_ + at.value(), length};
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

 protected:
  void observe(Observer observer, void* context) {
    observer_ = observer;
    observer_context_ = context;
  }
  void use_bitmap(std::span<uint64_t> dirty) { dirty_ = dirty; }

 private:
  std::byte* bytes_;
  Hpa base_;
  uint64_t size_;
  std::span<uint64_t> dirty_;
  Observer observer_ = nullptr;
  void* observer_context_ = nullptr;
};

}  // namespace cupel
