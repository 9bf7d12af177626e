#include "hypervisor/vmx/ept_builder.h"

namespace cupel::vmx {
namespace {

constexpr uint64_t kLimit = 1ull << 48;

// Level 1 is the table of 4 KiB pages, level 4 the root.
constexpr uint64_t span_of(unsigned level) { return 1ull << (12 + 9 * (level - 1)); }
constexpr unsigned index_of(uint64_t gpa, unsigned level) {
  return static_cast<unsigned>(gpa >> (12 + 9 * (level - 1)) & 511);
}
constexpr bool is_table(uint64_t entry, unsigned level) {
  return (entry & ept::all) != 0 && level > 1 && (entry & ept::large) == 0;
}
constexpr unsigned level_of(uint64_t page) {
  return page == ept::page_1g ? 3 : page == ept::page_2m ? 2 : 1;
}

Result<void, EptError> check(uint64_t at, uint64_t size) {
  if ((at | size) % kPageSize != 0) return Failure(EptError::misaligned);
  if (at > kLimit || size > kLimit - at) return Failure(EptError::out_of_range);
  return {};
}

}  // namespace

Result<EptBuilder, EptError> EptBuilder::create(FrameAllocator& frames, EptOptions options) {
  auto root = frames.allocate();
  if (!root.ok()) return Failure(EptError::full);
  return EptBuilder(frames, options, *root);
}

uint64_t EptBuilder::pointer() const {
  constexpr uint64_t write_back = 6, walk_length_4 = 3 << 3;
  return root_.value() | write_back | walk_length_4 |
         (options_.accessed_dirty ? ept::pointer_accessed_dirty : 0);
}

uint64_t* EptBuilder::table(Hpa at) const { return reinterpret_cast<uint64_t*>(frames_->data(at)); }

uint64_t EptBuilder::piece(uint64_t gpa, uint64_t hpa, uint64_t left) const {
  const uint64_t both = gpa | hpa;
  if (options_.large_1g && both % ept::page_1g == 0 && left >= ept::page_1g) return ept::page_1g;
  if (options_.large_2m && both % ept::page_2m == 0 && left >= ept::page_2m) return ept::page_2m;
  return ept::page_4k;
}

// The entry of `gpa` at `level`, with the tables above it made and larger pages split.
Result<uint64_t*, EptError> EptBuilder::entry_for(uint64_t gpa, unsigned level) {
  Hpa at = root_;
  for (unsigned l = 4;; --l) {
    uint64_t& entry = table(at)[index_of(gpa, l)];
    if (l == level) return &entry;
    if ((entry & ept::all) == 0) {
      auto frame = frames_->allocate();
      if (!frame.ok()) return Failure(EptError::full);
      entry = frame->value() | ept::all;
    } else if ((entry & ept::large) != 0) {
      CUPEL_TRY(split(entry, l));
    }
    at = Hpa(entry & ept::address_mask);
  }
}

// One large page becomes a table of 512 pages of the next size, flags kept.
Result<void, EptError> EptBuilder::split(uint64_t& entry, unsigned level) {
  auto frame = frames_->allocate();
  if (!frame.ok()) return Failure(EptError::full);
  const uint64_t flags = (entry & ~ept::address_mask) & ~(level == 2 ? ept::large : 0);
  const uint64_t base = entry & ept::address_mask;
  uint64_t* const entries = table(*frame);
  for (unsigned n = 0; n < 512; ++n) entries[n] = (base + n * span_of(level - 1)) | flags;
  entry = frame->value() | ept::all;
  return {};
}

void EptBuilder::release_tables(uint64_t entry, unsigned level) {
  if (!is_table(entry, level)) return;
  const Hpa at(entry & ept::address_mask);
  for (unsigned n = 0; n < 512; ++n) release_tables(table(at)[n], level - 1);
  frames_->release(at);
}

void EptBuilder::release() { release_tables(root_.value() | ept::all, 5); }

Result<void, EptError> EptBuilder::map(Gpa at, Hpa to, uint64_t size, uint64_t access) {
  CUPEL_TRY(check(at.value(), size));
  CUPEL_TRY(check(to.value(), size));
  for (uint64_t done = 0; done < size;) {
    const uint64_t page = piece(at.value() + done, to.value() + done, size - done);
    const unsigned level = level_of(page);
    auto entry = entry_for(at.value() + done, level);
    if (!entry.ok()) return std::move(entry).failure();
    release_tables(**entry, level);
    **entry = (to.value() + done) | (access & ept::all) | ept::memory_type_wb |
              (level > 1 ? ept::large : 0);
    done += page;
  }
  return {};
}

Result<void, EptError> EptBuilder::unmap(Gpa at, uint64_t size) {
  CUPEL_TRY(check(at.value(), size));
  for (uint64_t done = 0; done < size;) {
    const uint64_t gpa = at.value() + done;
    const uint64_t page = piece(gpa, gpa, size - done);
    auto entry = entry_for(gpa, level_of(page));
    if (!entry.ok()) return std::move(entry).failure();
    release_tables(**entry, level_of(page));
    **entry = 0;
    done += page;
  }
  return {};
}

void EptBuilder::harvest(Hpa at, unsigned level, uint64_t gpa, VisitFn visit, void* context) {
  uint64_t* const entries = table(at);
  for (unsigned n = 0; n < 512; ++n) {
    const uint64_t entry = entries[n];
    if ((entry & ept::all) == 0) continue;
    const uint64_t here = gpa + n * span_of(level);
    if (is_table(entry, level)) {
      harvest(Hpa(entry & ept::address_mask), level - 1, here, visit, context);
    } else if ((entry & ept::dirty) != 0) {
      entries[n] = entry & ~ept::dirty;
      visit(context, Gpa(here), span_of(level));
    }
  }
}

}  // namespace cupel::vmx
