#include "hw_models/cpu/translation_contexts.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace cupel::cpu {
namespace {

constexpr size_t kEntryBytes = 64, kIoEntryBytes = 16, kFirstEntries = 256;

void* filled(size_t bytes, int value) {
  void* const memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return std::memset(memory, value, bytes);
}

bool is_mask(uintptr_t mask) {
  const uintptr_t entries = mask / kEntryBytes + 1;
  return mask % kEntryBytes == 0 && entries >= 32 && (entries & (entries - 1)) == 0 &&
         entries <= 1u << 22;
}

}  // namespace

bool TranslationContexts::layout_known(const void* state) {
  const Tables& tables = *tables_of(const_cast<void*>(state));
  for (const Fast& fast : tables.fast)
    if (!is_mask(fast.mask) || fast.table == nullptr) return false;
  for (const Mode& mode : tables.modes)
    if (mode.header.large_page_address != ~0ull || mode.header.large_page_mask != ~0ull ||
        mode.io == nullptr || mode.header.used > 64)
      return false;
  return tables.common.dirty <= 7 && tables.pad == 0;
}

TranslationContexts::TranslationContexts(void* state) : engine_(tables_of(state)) {
  slots_[0] = std::make_unique<Slot>();
  current_ = &slots_[0]->context;
}

// The engine frees what is in it; the rest is ours.
TranslationContexts::~TranslationContexts() {
  for (const auto& slot : slots_)
    if (slot && &slot->context != current_) release(slot->tables);
}

void TranslationContexts::make_empty(Tables& tables) {
  std::memset(&tables, 0, sizeof tables);
  for (Mode& mode : tables.modes) {
    mode.header.large_page_address = mode.header.large_page_mask = ~0ull;
    std::memset(mode.victims, 0xff, sizeof mode.victims);
    mode.io = filled(kFirstEntries * kIoEntryBytes, 0);
  }
  for (Fast& fast : tables.fast)
    fast = {(kFirstEntries - 1) * kEntryBytes, filled(kFirstEntries * kEntryBytes, 0xff)};
}

void TranslationContexts::release(Tables& tables) {
  for (const Mode& mode : tables.modes) std::free(mode.io);
  for (const Fast& fast : tables.fast) std::free(fast.table);
}

// The victim table, three quarters of all, is empty while its index is 0.
void TranslationContexts::exchange(Tables& engine, Tables& out, Tables& in) {
  out.common.dirty = engine.common.dirty;
  engine.common.dirty = in.common.dirty;
  constexpr size_t victims = sizeof(Mode::victims) + sizeof(Mode::victim_io);
  for (size_t n = 0; n < engine.modes.size(); ++n) {
    Mode &here = engine.modes[n], &to = out.modes[n];
    const Mode& from = in.modes[n];
    const bool here_empty = here.header.victim_index == 0;
    if (!here_empty) std::memcpy(to.victims, here.victims, victims);
    if (from.header.victim_index != 0) {
      std::memcpy(here.victims, from.victims, victims);
    } else if (!here_empty) {
      std::memset(here.victims, 0xff, sizeof here.victims);
    }
    to.header = here.header;
    here.header = from.header;
    to.io = here.io;
    here.io = from.io;
  }
  out.fast = engine.fast;
  engine.fast = in.fast;
}

void TranslationContexts::select(const TranslationTag& tag) {
  if (current_->tag == tag) return;
  size_t chosen = kMost;
  for (size_t n = 0; n < kMost; ++n)
    if (slots_[n] && slots_[n]->context.tag == tag) chosen = n;
  const bool known = chosen != kMost;
  if (!known) {
    chosen = 0;
    for (size_t n = 0; n < kMost; ++n) {
      if (!slots_[n]) {
        chosen = n;
        break;
      }
      const bool current_chosen = chosen == number_;
      if (n != number_ && (current_chosen || slots_[n]->last_use < slots_[chosen]->last_use))
        chosen = n;
    }
    if (!slots_[chosen]) {
      slots_[chosen] = std::make_unique<Slot>();
      make_empty(slots_[chosen]->tables);
    }
    slots_[chosen]->context.tag = tag;
    slots_[chosen]->context.stale = true;
  }
  Slot& next = *slots_[chosen];
  exchange(*engine_, slots_[number_]->tables, next.tables);
  next.last_use = ++uses_;
  number_ = static_cast<unsigned>(chosen);
  current_ = &next.context;
}

}  // namespace cupel::cpu
