#include "hw_models/vtx/ept.h"

#include <array>

namespace cupel::vtx {
namespace {

constexpr uint64_t kRead = 1, kWrite = 2, kExecute = 4, kLargePage = 1 << 7, kAccessed = 1 << 8,
                   kDirty = 1 << 9;
constexpr uint64_t kAddress = 0x000ffffffffff000ull;

bool memory_type_valid(uint64_t entry) {
  const uint64_t type = entry >> 3 & 7;
  return type != 2 && type != 3 && type != 7;
}

// SDM vol. 3C, "EPT Misconfigurations". `shift` is that of the address bits the entry translates:
// 39, 30, 21 or 12; the entry is present.
bool misconfigured(uint64_t entry, unsigned shift, bool leaf, const EptFeatures& f) {
  const uint64_t rights = entry & 7;
  if (rights == kWrite || rights == (kWrite | kExecute)) return true;
  if (rights == kExecute && !f.execute_only) return true;
  if (((entry & kAddress) >> f.physical_bits) != 0) return true;
  if (!leaf) return (entry & (shift == 39 ? 0xf8 : 0x78)) != 0;
  const uint64_t below_page = ((1ull << shift) - 1) & kAddress;
  return (entry & below_page) != 0 || !memory_type_valid(entry);
}

bool is_leaf(uint64_t entry, unsigned shift) {
  return shift == 12 || ((shift == 21 || shift == 30) && (entry & kLargePage) != 0);
}

bool allowed(const EptWalk& walk, const cpu::PhysicalAccess& access, bool flags) {
  // With accessed and dirty flags, accesses to guest paging structures are treated as writes.
  if (access.paging_structure && flags && !walk.writable) return false;
  switch (access.access) {
    case cpu::Access::read:
      return walk.readable;
    case cpu::Access::write:
      return walk.writable;
    case cpu::Access::fetch:
      return walk.executable;
  }
  return false;
}

struct Step {
  Hpa at;
  uint64_t entry = 0;
};

void set_flags(PhysicalMemory& memory, const std::array<Step, 4>& steps, unsigned used,
               bool write) {
  for (unsigned n = 0; n < used; ++n) {
    const uint64_t wanted = kAccessed | (write && n + 1 == used ? kDirty : 0);
    if ((steps[n].entry & wanted) != wanted) memory.write(steps[n].at, steps[n].entry | wanted);
  }
}

}  // namespace

EptWalk walk_ept(PhysicalMemory& memory, uint64_t eptp, const EptFeatures& features,
                 const cpu::PhysicalAccess& access, bool update_flags) {
  const bool flags = (eptp & kEptpFlags) != 0;
  const uint64_t gpa = access.gpa.value();
  EptWalk walk;
  if (gpa >> 48 != 0) return walk;  // beyond what four levels translate
  uint64_t rights = kRead | kWrite | kExecute;
  uint64_t table = eptp & kAddress;
  std::array<Step, 4> steps;
  for (unsigned level = 0; level < 4; ++level) {
    const unsigned shift = 39 - 9 * level;
    Step& step = steps[level];
    step.at = Hpa(table + (gpa >> shift & 511) * 8);
    step.entry = memory.read<uint64_t>(step.at);
    if ((step.entry & 7) == 0) return walk;
    const bool large = shift == 21 ? features.page_2m : features.page_1g;
    const bool leaf = is_leaf(step.entry, shift);
    const bool unsupported = leaf && shift != 12 && !large;  // bit 7 is reserved then
    if (unsupported || misconfigured(step.entry, shift, leaf, features)) {
      walk.outcome = EptWalk::Outcome::misconfiguration;
      return walk;
    }
    rights &= step.entry;
    if (!leaf) {
      table = step.entry & kAddress;
      continue;
    }
    walk.readable = (rights & kRead) != 0;
    walk.writable = (rights & kWrite) != 0;
    walk.executable = (rights & kExecute) != 0;
    if (!allowed(walk, access, flags)) return walk;
    const bool write = access.access == cpu::Access::write || (access.paging_structure && flags);
    if (flags && update_flags) set_flags(memory, steps, level + 1, write);
    walk.outcome = EptWalk::Outcome::translated;
    walk.page_size = 1ull << shift;
    walk.hpa = Hpa((step.entry & kAddress & ~(walk.page_size - 1)) | (gpa & (walk.page_size - 1)));
    walk.dirty = !flags || write || (step.entry & kDirty) != 0;
    return walk;
  }
  return walk;
}

x86::EptViolation violation_of(const EptWalk& walk, uint64_t eptp,
                               const cpu::PhysicalAccess& access) {
  const bool structure_write = access.paging_structure && (eptp & kEptpFlags) != 0;
  x86::EptViolation v;
  v.read = access.access == cpu::Access::read || structure_write;
  v.write = access.access == cpu::Access::write || structure_write;
  v.fetch = access.access == cpu::Access::fetch;
  v.readable = walk.readable;
  v.writable = walk.writable;
  v.executable = walk.executable;
  v.linear_valid = access.linear_valid;
  v.translated = access.linear_valid && !access.paging_structure;
  return v;
}

}  // namespace cupel::vtx
