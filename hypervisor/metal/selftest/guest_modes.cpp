#include "hypervisor/metal/selftest/guest_modes.h"

#include <array>

#include "hypervisor/metal/trap.h"
#include "hypervisor/vmx/segment_fields.h"

namespace cupel::metal {

using namespace x86;

namespace {

constexpr uint32_t kCode32 = 0xc09b, kData = 0xc093, kVirtual8086 = 0xf3;
constexpr Seg kOrdinary[] = {Seg::es, Seg::cs, Seg::ss, Seg::ds, Seg::fs, Seg::gs};

alignas(4096) std::array<uint32_t, 1024> page_directory;  // 4 MiB pages, one to one
alignas(32) std::array<uint64_t, 4> pdptes;

void set_segment(TestVm& vm, Seg seg, uint16_t selector, uint32_t limit, uint32_t access) {
  const vmx::SegmentFields& f = vmx::fields_of(seg);
  vm.set(f.selector, selector);
  vm.set(f.limit, limit);
  vm.set(f.access, access);
  vm.set(f.base, uint64_t{0});
}

void leave_ia32e(TestVm& vm) {
  vm.set(Field32::entry_controls, vm.get(Field32::entry_controls) & ~entryctl::ia32e_mode_guest);
  set_segment(vm, Seg::cs, selector::code32, 0xffffffff, kCode32);
}

}  // namespace

void guest_cpl3(TestVm& vm) {
  set_segment(vm, Seg::cs, selector::user_code, 0xffffffff, 0xa0fb);
  set_segment(vm, Seg::ss, selector::user_data, 0xffffffff, 0xc0f3);
}

void guest_32bit(TestVm& vm) {
  for (uint32_t n = 0; n < page_directory.size(); ++n) page_directory[n] = n << 22 | 0x87;
  leave_ia32e(vm);
  vm.set(FieldN::guest_cr3, reinterpret_cast<uint64_t>(page_directory.data()));
  vm.set(FieldN::guest_cr4, (vm.get(FieldN::guest_cr4) & ~cr4::PAE) | cr4::PSE);
}

void guest_pae(TestVm& vm) {
  // The image's own page directories stand behind the first PDPTEs of its long-mode tables.
  const auto* pml4 = reinterpret_cast<const uint64_t*>(vm.get(FieldN::guest_cr3));
  const auto* long_pdptes = reinterpret_cast<const uint64_t*>(pml4[0] & ~0xfffull);
  for (unsigned n = 0; n < 4; ++n) pdptes[n] = (long_pdptes[n] & ~0xfffull) | 1;
  leave_ia32e(vm);
  vm.set(FieldN::guest_cr3, reinterpret_cast<uint64_t>(pdptes.data()));
  if ((vm.controls().secondary & proc2::enable_ept) == 0) return;
  vm.set(Field64::guest_pdpte0, pdptes[0]);
  vm.set(Field64::guest_pdpte1, pdptes[1]);
  vm.set(Field64::guest_pdpte2, pdptes[2]);
  vm.set(Field64::guest_pdpte3, pdptes[3]);
}

uint64_t* pae_pdptes() { return pdptes.data(); }

void guest_virtual_8086(TestVm& vm) {
  guest_32bit(vm);
  vm.set(FieldN::guest_rflags, rflags::fixed1 | rflags::VM);
  for (const Seg seg : kOrdinary) {
    set_segment(vm, seg, 0x100, 0xffff, kVirtual8086);
    vm.set(vmx::fields_of(seg).base, uint64_t{0x1000});
  }
}

void guest_real_mode(TestVm& vm) {
  leave_ia32e(vm);
  vm.set(FieldN::guest_cr0, vm.get(FieldN::guest_cr0) & ~(cr0::PE | cr0::PG));
  for (const Seg seg : kOrdinary) set_segment(vm, seg, 0, 0xffff, seg == Seg::cs ? 0x9b : 0x93);
}

}  // namespace cupel::metal
