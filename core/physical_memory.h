// The physical memory of one modelled machine: lazily backed, bounds-checked, snapshotable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>

#include "core/error.h"
#include "core/types.h"

namespace cupel {

// Addresses 0 .. size-1 of a machine, one reservation of address space; pages the machine never
// touches cost nothing. Owned by the machine; everyone else borrows.
//
// Snapshots use the kernel's copy-on-write: the memory is a private mapping of a memory file, so
// that the pages written since the last snapshot are exactly the private ones. take_snapshot()
// moves those into the file; restore_snapshot() drops the private pages again. Neither touches a
// page that was not written.
class PhysicalMemory {
 public:
  // size: multiple of 4 KiB, 64 KiB .. 1 TiB. Errors: bad_input, environment (no address space).
  static Result<std::unique_ptr<PhysicalMemory>> create(uint64_t size);
  ~PhysicalMemory();
  PhysicalMemory(const PhysicalMemory&) = delete;
  PhysicalMemory& operator=(const PhysicalMemory&) = delete;

  uint64_t size() const { return size_; }
  std::byte* data() { return base_; }
  const std::byte* data() const { return base_; }

  bool contains(Hpa at, uint64_t length) const {
    return length <= size_ && at.value() <= size_ - length;
  }
  // nullptr when the range is not inside the memory.
  std::byte* at(Hpa where, uint64_t length) {
    return contains(where, length) ? base_ + where.value() : nullptr;
  }
  const std::byte* at(Hpa where, uint64_t length) const {
    return contains(where, length) ? base_ + where.value() : nullptr;
  }

  // Reads of absent memory give all ones, as a bus with no target does; writes are dropped.
  template <class T>
  requires std::is_trivially_copyable_v<T> T read(Hpa where)
  const {
    T value;
    if (const auto* p = at(where, sizeof(T))) {
      std::memcpy(&value, p, sizeof value);
    } else {
      std::memset(&value, 0xff, sizeof value);
    }
    return value;
  }
  template <class T>
  requires std::is_trivially_copyable_v<T>
  bool write(Hpa where, const T& value) {
    auto* p = at(where, sizeof(T));
    if (p == nullptr) return false;
    std::memcpy(p, &value, sizeof value);
    return true;
  }

  // Bytes of host memory behind this machine now (resident pages of the mapping and its file).
  uint64_t resident_bytes() const;

  struct SnapshotStats {
    uint64_t pages_copied = 0;
  };
  // Replaces the previous snapshot (one is kept). Errors: environment.
  Result<SnapshotStats> take_snapshot();
  // Back to the last snapshot, or to all zeros when there is none.
  Result<void> restore_snapshot();
  bool has_snapshot() const { return has_snapshot_; }

 private:
  PhysicalMemory(std::byte* base, uint64_t size, int file)
      : base_(base), size_(size), file_(file) {}

  std::byte* base_;
  uint64_t size_;
  int file_;
  bool has_snapshot_ = false;
};

}  // namespace cupel
