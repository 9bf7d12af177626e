// Guest-physical mappings that the processor remembers between walks.
// SDM vol. 3C, "Creating and Using Cached Translation Information".
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "hw_models/cpu/trap.h"
#include "hw_models/vtx/ept.h"

namespace cupel::vtx {

// Translations that a walk has found, 4 KiB each, of one EPT pointer. Only what may go on without
// setting a flag is answered; everything else walks again, so a cache never causes a violation.
class EptCache {
 public:
  std::optional<cpu::PhysicalTranslation> find(const cpu::PhysicalAccess& access,
                                               bool flags) const {
    const Entry& e = entries_[index(access.gpa)];
    if (e.page != access.gpa.value() >> 12) return std::nullopt;
    const bool executable = access.user ? e.user_executable : e.executable;
    const bool good = is_ept_write(access, flags)           ? e.writable
                      : access.access == cpu::Access::fetch ? executable
                                                            : e.readable;
    if (!good) return std::nullopt;
    return cpu::PhysicalTranslation{true, e.frame + access.gpa.offset_in(kPageSize), e.writable,
                                    executable, e.readable};
  }
  // `walk`: translated, and its flags are set.
  void remember(Gpa gpa, const EptWalk& walk) {
    entries_[index(gpa)] = {gpa.value() >> 12, walk.hpa.align_down(kPageSize),
                            walk.readable,     walk.writable && walk.dirty,
                            walk.executable,   walk.user_executable};
  }
  void forget(Gpa gpa) {
    Entry& e = entries_[index(gpa)];
    if (e.page == gpa.value() >> 12) e = {};
  }
  void clear() { entries_.fill({}); }

 private:
  struct Entry {
    uint64_t page = ~0ull;
    Hpa frame;
    bool readable = false, writable = false, executable = false, user_executable = false;
  };
  static constexpr size_t kEntries = 512;
  static size_t index(Gpa gpa) { return gpa.value() >> 12 & (kEntries - 1); }
  std::array<Entry, kEntries> entries_{};
};

// One cache for each EPT pointer that was in use lately. They live until INVEPT.
class EptCaches {
 public:
  EptCaches() { select({}); }

  EptCache& current() { return *current_; }
  // False: what is remembered under this tag was made under another mode, and is forgotten here.
  // Software must execute INVEPT then; to forget is what the architecture allows.
  bool select(const EptMode& mode);
  void clear_tag(uint64_t tag) {
    for (const auto& slot : slots_)
      if (slot && slot->mode.tag() == tag) slot->cache.clear();
  }
  void clear_all() {
    for (const auto& slot : slots_)
      if (slot) slot->cache.clear();
  }

 private:
  static constexpr size_t kMost = 16;
  struct Slot {
    EptMode mode;
    EptCache cache;
    uint64_t last_use = 0;
  };
  std::array<std::unique_ptr<Slot>, kMost> slots_;
  EptCache* current_ = nullptr;
  uint64_t uses_ = 0;
};

}  // namespace cupel::vtx
