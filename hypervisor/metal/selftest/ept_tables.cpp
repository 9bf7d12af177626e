#include "hypervisor/metal/selftest/ept_tables.h"

#include "hypervisor/metal/console.h"

namespace cupel::metal {
namespace {

constexpr uint64_t kLarge = 1 << 7, kFlags = 3 << 8, kDirty = 1 << 9;
constexpr uint64_t kAddress = 0x000ffffffffff000;

vmx::EptBuilder make(Lab& lab) {
  auto made = vmx::EptBuilder::create(lab.frames, vmx::EptOptions::from(lab.caps));
  if (!made.ok()) bail_out("no frames for EPT");
  return made.value();
}

uint64_t* table_at(uint64_t entry) { return reinterpret_cast<uint64_t*>(entry & kAddress); }

}  // namespace

EptTables::EptTables(Lab& lab)
    : lab_(lab),
      builder_(make(lab)),
      pointer_(builder_.pointer()),
      page_(lab.frame()),
      other_page_(lab.frame()) {
  const Gpa at(page_.value());
  // A smaller mapping in the middle splits the large pages.
  if (!builder_.map(Gpa(0), Hpa(0), 4_GiB).ok() || !builder_.unmap(at, kPageSize).ok() ||
      !builder_.map(at, page_, kPageSize).ok())
    bail_out("no frames for EPT");
}

EptTables::~EptTables() {
  builder_.release();
  lab_.frames.release(page_);
  lab_.frames.release(other_page_);
}

uint64_t& EptTables::entry(Hpa at, unsigned above_leaf) {
  uint64_t* table = table_at(pointer_);
  uint64_t* path[4] = {};
  unsigned depth = 0;
  for (unsigned shift = 39;; shift -= 9) {
    path[depth] = &table[at.value() >> shift & 511];
    if (shift == 12 || (*path[depth] & kLarge) != 0) return *path[depth - above_leaf];
    table = table_at(*path[depth++]);
  }
}

uint64_t& EptTables::leaf(Hpa at) { return entry(at, 0); }
uint64_t& EptTables::table_entry(Hpa at) { return entry(at, 1); }

void EptTables::map_page_to(Hpa at) {
  uint64_t& mapping = leaf(page_);
  mapping = (mapping & ~kAddress) | at.value();
}

void EptTables::set_below(uint64_t table, unsigned level, uint64_t bits) {
  for (unsigned n = 0; n < 512; ++n) {
    uint64_t& e = table_at(table)[n];
    if ((e & 7) == 0) continue;
    e |= bits;
    if (level > 1 && (e & kLarge) == 0) set_below(e, level - 1, bits);
  }
}

void EptTables::set_in_all(uint64_t bits) { set_below(pointer_, 4, bits); }

void EptTables::set_all_flags_but(Hpa at) {
  set_in_all(kFlags);
  leaf(at) &= ~kDirty;
}

void EptTables::use(TestVm& vm) {
  vm.set(x86::Field64::ept_pointer, pointer_);
  invalidate();
}

void EptTables::invalidate() {
  if (!lab_.outcome(lab_.cpu.invept(1, {pointer_, 0})).ok()) bail_out("INVEPT fails");
}

}  // namespace cupel::metal
