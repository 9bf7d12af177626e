// Guest-physical mappings that the processor remembers between walks.
// SDM vol. 3C, "Creating and Using Cached Translation Information".
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "hw_models/cpu/trap.h"
#include "hw_models/vtx/ept.h"

namespace cupel::vtx {

// Translations that a walk has found, 4 KiB each, of one EPT pointer. Only what may go on without
// setting a flag is answered; everything else walks again, so a cache never causes a violation.
// Cleared by INVEPT and when the EPT pointer changes.
class EptCache {
 public:
  std::optional<cpu::PhysicalTranslation> find(const cpu::PhysicalAccess& access,
                                               bool flags) const {
    const Entry& e = entries_[index(access.gpa)];
    if (e.page != access.gpa.value() >> 12) return std::nullopt;
    const bool write = access.access == cpu::Access::write || (access.paging_structure && flags);
    const bool good = write                                 ? e.writable
                      : access.access == cpu::Access::fetch ? e.executable
                                                            : e.readable;
    if (!good) return std::nullopt;
    return cpu::PhysicalTranslation{true, e.frame + access.gpa.offset_in(kPageSize), e.writable,
                                    e.executable};
  }
  void remember(Gpa gpa, const EptWalk& walk) {
    entries_[index(gpa)] = {gpa.value() >> 12, walk.hpa.align_down(kPageSize), walk.readable,
                            walk.writable && walk.dirty, walk.executable};
  }
  void clear() { entries_.fill({}); }

 private:
  struct Entry {
    uint64_t page = ~0ull;
    Hpa frame;
    bool readable = false, writable = false, executable = false;
  };
  static constexpr size_t kEntries = 512;
  static size_t index(Gpa gpa) { return gpa.value() >> 12 & (kEntries - 1); }
  std::array<Entry, kEntries> entries_{};
};

}  // namespace cupel::vtx
