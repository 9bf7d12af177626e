#include "core/x86/platform_msrs.h"

#include <algorithm>

#include "core/x86/msr.h"

namespace cupel::x86 {
namespace {

constexpr uint32_t PLATFORM_ID = 0x17, EBL_CR_POWERON = 0x2a, PLATFORM_INFO = 0xce,
                   ARCH_CAPABILITIES = 0x10a, MCG_STATUS = 0x17a, MTRR_FIX16K = 0x258,
                   MTRR_FIX4K = 0x268;
constexpr unsigned kVariableRanges = 8;
constexpr uint64_t kAddressBits = 0x000ffffffffff000;

bool any(uint64_t) { return true; }
bool zero_only(uint64_t value) { return value == 0; }

// Memory types: UC 0, WC 1, WT 4, WP 5, WB 6; PAT also has UC- 7.
bool memory_type(uint64_t type) { return type <= 1 || (type >= 4 && type <= 6); }
bool fixed_types(uint64_t value) {
  for (unsigned i = 0; i < 8; ++i)
    if (!memory_type(value >> (8 * i) & 0xff)) return false;
  return true;
}
bool pat_types(uint64_t value) {
  for (unsigned i = 0; i < 8; ++i) {
    const uint64_t type = value >> (8 * i) & 0xff;
    if (!memory_type(type) && type != 7) return false;
  }
  return true;
}
// Variable ranges alternate: base with a type, mask with the valid bit 11.
bool variable_range(uint64_t value) { return (value & ~(kAddressBits | 0xfff)) == 0; }
bool default_type(uint64_t value) { return (value & ~0xcffull) == 0 && memory_type(value & 0xff); }

}  // namespace

// `writable`: bits a WRMSR changes; the others keep their value without a fault. `valid`: what the
// architecture accepts.
struct PlatformMsrs::Row {
  uint32_t first;
  uint32_t count;
  uint64_t reset;
  uint64_t writable;
  bool (*valid)(uint64_t);
};

const PlatformMsrs::Row PlatformMsrs::kRows[] = {
    {PLATFORM_ID, 1, 0, 0, any},
    {EBL_CR_POWERON, 1, 0, 0, any},
    {msr::FEATURE_CONTROL, 1, 1, 0, [](uint64_t) { return false; }},  // locked, no VMX
    {msr::BIOS_SIGN_ID, 1, 1ull << 32, 0, any},  // revision 1 whatever is written
    {PLATFORM_INFO, 1, 0, 0, any},
    {msr::MTRRCAP, 1, kVariableRanges | 1 << 8 | 1 << 10, 0, [](uint64_t) { return false; }},
    {msr::MCG_CAP, 1, 0, 0, any},  // no banks
    {MCG_STATUS, 1, 0, 7, any},
    // Fast strings; branch trace and precise sampling are unavailable (bits 11, 12).
    {msr::MISC_ENABLE, 1, 1 | 1 << 11 | 1 << 12, 1, any},
    {msr::DEBUGCTL, 1, 0, 0, zero_only},
    {msr::MTRR_PHYSBASE0, 2 * kVariableRanges, 0, ~0ull, variable_range},
    {msr::MTRR_FIX64K, 1, 0, ~0ull, fixed_types},
    {MTRR_FIX16K, 2, 0, ~0ull, fixed_types},
    {MTRR_FIX4K, 8, 0, ~0ull, fixed_types},
    {msr::PAT, 1, 0x0007040600070406ull, ~0ull, pat_types},
    // As firmware leaves it: enabled, fixed ranges off, write-back everywhere.
    {msr::MTRR_DEF_TYPE, 1, 1 << 11 | 6, ~0ull, default_type},
};

PlatformMsrs::PlatformMsrs(uint64_t arch_capabilities) : arch_capabilities_(arch_capabilities) {
  for (const Row& row : kRows)
    for (uint32_t i = 0; i < row.count; ++i) entries_.push_back({row.first + i, row.reset, &row});
  std::sort(entries_.begin(), entries_.end(),
            [](const Entry& a, const Entry& b) { return a.index < b.index; });
}

const PlatformMsrs::Entry* PlatformMsrs::find(uint32_t index) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), index,
                                   [](const Entry& e, uint32_t i) { return e.index < i; });
  return at != entries_.end() && at->index == index ? &*at : nullptr;
}

bool PlatformMsrs::read(uint32_t index, uint64_t& value) const {
  if (index == ARCH_CAPABILITIES && arch_capabilities_ != 0) {
    value = arch_capabilities_;
    return true;
  }
  const Entry* e = find(index);
  if (e == nullptr) return false;
  value = e->value;
  return true;
}

bool PlatformMsrs::write(uint32_t index, uint64_t value) {
  auto* e = const_cast<Entry*>(find(index));
  if (e == nullptr || !e->row->valid(value)) return false;
  e->value = (e->value & ~e->row->writable) | (value & e->row->writable);
  return true;
}

void PlatformMsrs::save(ArchiveWriter& out) const {
  out.section("platform-msrs", 1);
  for (const Entry& e : entries_) out.put(e.value);
}

void PlatformMsrs::restore(ArchiveReader& in) {
  in.section("platform-msrs", 1);
  for (Entry& e : entries_) {
    const auto value = in.get<uint64_t>();
    if (e.row->writable != 0 && e.row->valid(value))
      e.value = (e.row->reset & ~e.row->writable) | (value & e.row->writable);
  }
}

}  // namespace cupel::x86
