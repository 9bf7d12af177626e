// Translations of several address spaces, of which the engine sees one.
//
// The engine has one software TLB and no tags. Each address space (VMX root operation, a guest's
// VPID under its EPT) owns a whole set of its tables; changing the address space exchanges the
// sets, so that VM entries and exits of guests with a VPID drop nothing.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/types.h"
#include "hw_models/cpu/processor.h"

namespace cupel::cpu {

// What the processor remembers about the translations of one address space besides the tables.
struct TranslationContext {
  TranslationTag tag;
  bool stale = false;  // flush before use
  // What paging was when it was last used; translations hold for that.
  uint64_t cr0 = 0, cr3 = 0, cr4 = 0, efer = 0;
  std::array<uint64_t, 4> pdptes{};
  std::vector<uint64_t> watched;     // RAM pages that became code while it was not in the engine
  std::vector<uint64_t> non_global;  // pages filled since the last flush that are not global
  // The page of code that was looked at last, while its translation holds.
  uint64_t fetch_page = ~0ull;
  const std::byte* fetch_from = nullptr;
  // Linear pages filled as executable since the last flush of all, by a hash of their number.
  static constexpr size_t kPageSlots = 8192;
  std::bitset<kPageSlots> executable;
  // Large pages of which some part was filled since then: INVLPG is about all of it.
  static constexpr size_t kLargeSlots = 32768;
  std::bitset<kLargeSlots> large;
  static constexpr unsigned kLargeShifts[] = {21, 22, 30};
  static size_t large_slot(uint64_t linear, unsigned shift) {
    return ((linear >> shift) * 3 + shift) % kLargeSlots;
  }
  bool in_large_page(uint64_t linear) const {
    for (const unsigned shift : kLargeShifts)
      if (large[large_slot(linear, shift)]) return true;
    return false;
  }
};

class TranslationContexts {
 public:
  static constexpr size_t kMost = 8;          // address spaces remembered
  static constexpr size_t kMostWatched = 16;  // more pages than that: flush instead

  // `state`: the engine's state block, before which its TLB lies.
  explicit TranslationContexts(void* state);
  ~TranslationContexts();
  TranslationContexts(const TranslationContexts&) = delete;
  TranslationContexts& operator=(const TranslationContexts&) = delete;

  TranslationContext& current() { return *current_; }
  // The number of the current set, which tells blocks of one from those of another.
  unsigned current_number() const { return number_; }
  // Puts the set of `tag` into the engine; a new one, or one taken from the address space unused
  // for longest, is marked stale.
  void select(const TranslationTag& tag);
  // `visit` sees every context but the current one.
  template <class Visit>
  void for_others(Visit visit) {
    for (const auto& slot : slots_)
      if (slot && &slot->context != current_) visit(slot->context);
  }

  // Does the memory before the state block look like the TLB this file knows?
  static bool layout_known(const void* state);

 private:
  // The engine's tables as they lie before its state. QEMU 5, include/exec/cpu-defs.h: struct
  // CPUTLB; entries of libunicorn are 64 bytes wide.
  struct Header {
    uint64_t large_page_address, large_page_mask;
    int64_t window_begin;
    size_t window_max, used, victim_index;
  };
  struct Mode {
    Header header;
    std::byte victims[8 * 64];
    std::byte victim_io[8 * 16];
    void* io;
  };
  struct Fast {
    uintptr_t mask;
    void* table;
  };
  struct alignas(16) Tables {
    struct Common {
      uint64_t dirty;
      size_t full, part, elided;
    } common;
    std::array<Mode, 3> modes;
    uint64_t pad;
    std::array<Fast, 3> fast;
  };
  static constexpr size_t kBeforeState = 16;  // between the tables and the state block
  static_assert(sizeof(Tables) == 2176);

  struct Slot {
    TranslationContext context;
    Tables tables;  // valid while not in the engine
    uint64_t last_use = 0;
  };

  static Tables* tables_of(void* state) {
    return reinterpret_cast<Tables*>(static_cast<std::byte*>(state) - kBeforeState -
                                     sizeof(Tables));
  }
  static void exchange(Tables& engine, Tables& out, Tables& in);
  static void make_empty(Tables& tables);
  static void release(Tables& tables);

  Tables* engine_;
  std::array<std::unique_ptr<Slot>, kMost> slots_;
  TranslationContext* current_ = nullptr;
  unsigned number_ = 0;
  uint64_t uses_ = 0;
};

}  // namespace cupel::cpu
