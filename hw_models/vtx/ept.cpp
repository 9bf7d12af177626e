#include "hw_models/vtx/ept.h"

#include "hw_models/vtx/capabilities.h"

namespace cupel::vtx {
namespace {

constexpr uint64_t kRead = 1, kWrite = 2, kExecute = 4, kLargePage = 1 << 7, kAccessed = 1 << 8,
                   kDirty = 1 << 9, kUserExecute = 1 << 10, kSuppressVe = 1ull << 63;
constexpr uint64_t kAddress = 0x000ffffffffff000ull;

bool memory_type_valid(uint64_t entry) {
  const uint64_t type = entry >> 3 & 7;
  return type != 2 && type != 3 && type != 7;
}

// SDM vol. 3C, "EPT Misconfigurations". `shift` is that of the address bits the entry translates:
// 48, 39, 30, 21 or 12; the entry is present.
bool misconfigured(uint64_t entry, unsigned shift, bool leaf, bool mode_based,
                   const EptFeatures& f) {
  if ((entry & kRead) == 0) {
    if ((entry & kWrite) != 0) return true;
    if (!f.execute_only && (entry & (kExecute | (mode_based ? kUserExecute : 0))) != 0) return true;
  }
  if (((entry & kAddress) >> f.physical_bits) != 0) return true;
  if (!leaf) return (entry & (shift >= 39 ? 0xf8 : 0x78)) != 0;
  const bool page_supported = shift == 12 || (shift == 21 ? f.page_2m : f.page_1g);
  if (!page_supported) return true;  // bit 7 is reserved then
  const uint64_t below_page = ((1ull << shift) - 1) & kAddress;
  return (entry & below_page) != 0 || !memory_type_valid(entry);
}

bool is_leaf(uint64_t entry, unsigned shift) {
  return shift == 12 || ((shift == 21 || shift == 30) && (entry & kLargePage) != 0);
}

bool allowed(const EptWalk& walk, const cpu::PhysicalAccess& access, bool flags) {
  switch (access.access) {
    case cpu::Access::read:
      return walk.readable && (!is_ept_write(access, flags) || walk.writable);
    case cpu::Access::write:
      return walk.writable;
    case cpu::Access::fetch:
      return access.user ? walk.user_executable : walk.executable;
  }
  return false;
}

void translate(EptWalk& walk, uint64_t gpa, unsigned shift, bool flags, bool write) {
  const EptWalk::Step& leaf = walk.steps[walk.used - 1];
  walk.outcome = EptWalk::Outcome::translated;
  walk.page_size = 1ull << shift;
  const uint64_t offset = walk.page_size - 1;
  walk.hpa = Hpa((leaf.entry & kAddress & ~offset) | (gpa & offset));
  walk.dirty = !flags || write || (leaf.entry & kDirty) != 0;
  if (!flags) return;
  walk.dirty_missing = write && (leaf.entry & kDirty) == 0;
  walk.flags_missing = walk.dirty_missing;
  for (unsigned n = 0; n < walk.used; ++n)
    walk.flags_missing |= (walk.steps[n].entry & kAccessed) == 0;
}

}  // namespace

bool eptp_valid(uint64_t eptp, const EptFeatures& f) {
  const uint64_t type = eptp & 7, length = (eptp >> 3 & 7) + 1, caps = f.capabilities;
  const bool type_good = (type == 0 && (caps & eptcap::memory_type_uc) != 0) ||
                         (type == 6 && (caps & eptcap::memory_type_wb) != 0);
  const bool length_good = (length == 4 && (caps & eptcap::walk_length_4) != 0) ||
                           (length == 5 && (caps & eptcap::walk_length_5) != 0);
  uint64_t reserved = 0xf00;
  if ((caps & eptcap::accessed_dirty) == 0) reserved |= kEptpFlags;
  if ((caps & eptcap::supervisor_shadow_stack) == 0) reserved |= 1 << 7;
  return type_good && length_good && (eptp & reserved) == 0 && eptp >> f.physical_bits == 0;
}

EptWalk walk_ept(const PhysicalMemory& memory, const EptMode& mode, const EptFeatures& features,
                 const cpu::PhysicalAccess& access) {
  const bool flags = mode.flags();
  const uint64_t gpa = access.gpa.value();
  const uint64_t present = kRead | kWrite | kExecute | (mode.mode_based ? kUserExecute : 0);
  EptWalk walk;
  unsigned shift = 12 + 9 * static_cast<unsigned>(mode.pointer >> 3 & 7);
  if (gpa >> (shift + 9) != 0) return walk;  // beyond what the levels translate
  uint64_t rights = ~0ull;
  uint64_t table = mode.tag();
  for (;; shift -= 9) {
    EptWalk::Step& step = walk.steps[walk.used++];
    step.at = Hpa(table + (gpa >> shift & 511) * 8);
    step.entry = memory.read<uint64_t>(step.at);
    if ((step.entry & present) == 0) {
      walk.convertible = (step.entry & kSuppressVe) == 0;
      return walk;
    }
    const bool leaf = is_leaf(step.entry, shift);
    if (misconfigured(step.entry, shift, leaf, mode.mode_based, features)) {
      walk.outcome = EptWalk::Outcome::misconfiguration;
      return walk;
    }
    rights &= step.entry;
    if (leaf) break;
    table = step.entry & kAddress;
  }
  walk.readable = (rights & kRead) != 0;
  walk.writable = (rights & kWrite) != 0;
  walk.executable = (rights & kExecute) != 0;
  walk.user_executable = (rights & (mode.mode_based ? kUserExecute : kExecute)) != 0;
  if (allowed(walk, access, flags)) {
    translate(walk, gpa, shift, flags, is_ept_write(access, flags));
  } else {
    walk.convertible = (walk.steps[walk.used - 1].entry & kSuppressVe) == 0;
  }
  return walk;
}

void set_flags(PhysicalMemory& memory, const EptWalk& walk) {
  for (unsigned n = 0; n < walk.used; ++n) {
    const EptWalk::Step& step = walk.steps[n];
    const uint64_t wanted = kAccessed | (walk.dirty_missing && n + 1 == walk.used ? kDirty : 0);
    if ((step.entry & wanted) != wanted) memory.write(step.at, step.entry | wanted);
  }
}

x86::EptViolation violation_of(const EptWalk& walk, const EptMode& mode,
                               const EptFeatures& features, const cpu::PhysicalAccess& access) {
  const bool structure_write = access.paging_structure && mode.flags();
  x86::EptViolation v;
  v.read = access.access == cpu::Access::read || structure_write;
  v.write = access.access == cpu::Access::write || structure_write;
  v.fetch = access.access == cpu::Access::fetch;
  v.readable = walk.readable;
  v.writable = walk.writable;
  v.executable = walk.executable;
  v.user_executable = mode.mode_based && walk.user_executable;
  v.linear_valid = access.linear_valid;
  v.translated = access.linear_valid && !access.paging_structure;
  if (features.violation_information && v.translated) {
    v.user_page = access.user;
    v.writable_page = access.writable_page;
    v.no_execute_page = access.no_execute_page;
  }
  return v;
}

}  // namespace cupel::vtx
