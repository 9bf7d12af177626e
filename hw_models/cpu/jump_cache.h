// Where the engine's indirect jumps lead: translated code by linear address and mode.
//
// The library keeps such a table, of 4096 pointers to blocks: too small for a kernel with its
// programs, and each hit reads two cache lines. Here four answers share a line with what is
// compared. Linux's boot asks 58 million times: the library's misses 3.6 million times, this one
// 0.4 million.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace cupel::cpu {

class JumpCache {
 public:
  // What chooses a block besides its address.
  struct Mode {
    uint64_t code_base = 0;  // base of CS
    uint32_t flags = 0;
    bool operator==(const Mode&) const = default;
  };

  // The mode of the next find() and remember().
  void enter(const Mode& mode) {
    if (mode != mode_) [[unlikely]]
      change(mode);
  }
  // nullptr when unknown. `pc` is linear.
  char* find(uint64_t pc) const {
    const size_t n = index(pc);
    if (slots_[n].pc == pc && slots_[n].tag == tag_) [[likely]]
      return origin_ + slots_[n].code;
    if (slots_[n ^ 1].pc == pc && slots_[n ^ 1].tag == tag_) return origin_ + slots_[n ^ 1].code;
    return nullptr;
  }
  // All code lies within 2 GiB.
  void remember(uint64_t pc, char* code) {
    if (origin_ == nullptr) origin_ = code;
    const size_t n = index(pc);
    if (slots_[n].tag / kModes == generation_) slots_[n ^ 1] = slots_[n];
    slots_[n] = {pc, static_cast<int32_t>(code - origin_), tag_};
  }

  // Everything is unknown from now on.
  void forget() { begin(generation_ + 1); }
  // The jumps into the page of `linear` and into the one before, from which a block may reach over.
  void forget_page(uint64_t linear) {
    for (const uint64_t page : {linear / kPageBytes, linear / kPageBytes - 1})
      std::fill_n(&slots_[set_of(page) * kWays], kWays, Slot{});
  }

  // Calls `change`, which may drop blocks and may leave by longjmp; forgets unless it returns with
  // `dropped()`, the number of blocks dropped so far, as it was.
  template <class Change, class Dropped>
  void forget_if_dropped(Change change, Dropped dropped) {
    const auto before = dropped();
    forget();
    change();
    if (dropped() == before) begin(generation_ - 1);  // nothing was remembered in between
  }

 private:
  static constexpr uint32_t kModes = 16;  // known at a time
  struct Slot {
    uint64_t pc = 0;
    int32_t code = 0;  // from origin_
    uint32_t tag = 0;  // generation * kModes + mode; 0: never used
  };
  static constexpr uint64_t kPageBytes = 4096;
  static constexpr size_t kSets = 512, kWays = 128;  // a page's jumps lie together
  static constexpr size_t kSlots = kSets * kWays;

  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  static constexpr size_t kLine = 64, kBytes = kSlots * sizeof(Slot) + kLine;

  // Zeroes that cost nothing until they are used.
  static void* allocate() {
    void* const memory = std::calloc(1, kBytes);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
  }
  static Slot* first_line(void* memory) {
    size_t space = kBytes;
    return static_cast<Slot*>(std::align(kLine, kSlots * sizeof(Slot), memory, space));
  }

  void begin(uint32_t generation) {
    generation_ = generation % (UINT32_MAX / kModes);
    if (generation_ == 0) {  // nothing survives a whole turn
      std::fill_n(slots_, kSlots, Slot{});
      generation_ = 1;
    }
    tag_ = generation_ * kModes + tag_ % kModes;
  }
  [[gnu::noinline]] void change(const Mode& mode) {
    mode_ = mode;
    const auto end = modes_.begin() + mode_count_;
    auto at = std::find(modes_.begin(), end, mode);
    if (at == modes_.end()) {
      forget();
      mode_count_ = 0;
      at = modes_.begin();
    }
    if (at == modes_.begin() + mode_count_) {
      *at = mode;
      ++mode_count_;
    }
    tag_ = generation_ * kModes + static_cast<uint32_t>(at - modes_.begin());
  }

  static size_t set_of(uint64_t page) { return (page ^ page >> 9) % kSets; }
  static size_t index(uint64_t pc) {
    return set_of(pc / kPageBytes) * kWays + (pc ^ pc >> 7) % kWays;
  }

  std::unique_ptr<void, Free> memory_{allocate()};
  Slot* const slots_ = first_line(memory_.get());
  char* origin_ = nullptr;
  uint32_t generation_ = 1;
  uint32_t tag_ = kModes;
  Mode mode_{~0ull, 0};
  uint32_t mode_count_ = 0;
  std::array<Mode, kModes> modes_{};
};

}  // namespace cupel::cpu
