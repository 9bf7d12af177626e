// Extended page tables of one VM. Freestanding.
// SDM vol. 3C, "The Extended Page Table Mechanism (EPT)".
#pragma once

#include <cstdint>

#include "core/result.h"
#include "core/types.h"
#include "hypervisor/vmx/capabilities.h"
#include "hypervisor/vmx/frame_allocator.h"

namespace cupel::vmx {

namespace ept {
inline constexpr uint64_t read = 1, write = 2, execute = 4, all = 7;
inline constexpr uint64_t memory_type_wb = 6ull << 3, large = 1ull << 7, accessed = 1ull << 8,
                          dirty = 1ull << 9;
inline constexpr uint64_t address_mask = 0x000ffffffffff000ull;
inline constexpr uint64_t pointer_accessed_dirty = 1ull << 6;
inline constexpr uint64_t page_4k = 1ull << 12, page_2m = 1ull << 21, page_1g = 1ull << 30;
}  // namespace ept

enum class EptError : uint8_t {
  misaligned,    // an address or size that is not a multiple of 4 KiB
  out_of_range,  // beyond 2^48
  full,          // no frame for a table
};

struct EptOptions {
  bool large_2m = true, large_1g = true, accessed_dirty = true;
  static EptOptions from(const VmxCapabilities& caps) {
    return {caps.ept_2m(), caps.ept_1g(), caps.ept_accessed_dirty()};
  }
};

// Four levels of tables in frames of `frames`. Whatever is not mapped is a hole: an access there
// is an EPT violation, and so MMIO. After unmap(), remapping or harvest_dirty() the caller
// executes INVEPT. A failed call may leave part of the range mapped.
class EptBuilder {
 public:
  // Errors: full.
  static Result<EptBuilder, EptError> create(FrameAllocator& frames, EptOptions options);

  // Maps [at, at+size) to [to, to+size), write-back, with the largest pages that alignment and the
  // processor allow; replaces what was there. access: ept::read | write | execute.
  Result<void, EptError> map(Gpa at, Hpa to, uint64_t size, uint64_t access = ept::all);
  Result<void, EptError> unmap(Gpa at, uint64_t size);

  // Gives all tables back; the builder is not used again.
  void release();

  // The value of the EPT-pointer field.
  uint64_t pointer() const;
  bool tracks_dirty() const { return options_.accessed_dirty; }

  // Calls visit(Gpa, bytes) for each page with its dirty flag set, ascending, and clears the flag.
  template <class Visit>
  void harvest_dirty(Visit visit) {
    harvest(
        root_, 4, 0, [](void* v, Gpa at, uint64_t size) { (*static_cast<Visit*>(v))(at, size); },
        &visit);
  }

 private:
  using VisitFn = void (*)(void*, Gpa, uint64_t);
  EptBuilder(FrameAllocator& frames, EptOptions options, Hpa root)
      : frames_(&frames), options_(options), root_(root) {}

  uint64_t* table(Hpa at) const;
  uint64_t piece(uint64_t gpa, uint64_t hpa, uint64_t left) const;
  Result<uint64_t*, EptError> entry_for(uint64_t gpa, unsigned level);
  Result<void, EptError> split(uint64_t& entry, unsigned level);
  void release_tables(uint64_t entry, unsigned level);
  void harvest(Hpa at, unsigned level, uint64_t gpa, VisitFn visit, void* context);

  FrameAllocator* frames_;
  EptOptions options_;
  Hpa root_;
};

}  // namespace cupel::vmx
