#include "hypervisor/vmx/guest_state.h"

#include "core/x86/exit_qualification.h"
#include "core/x86/msr.h"
#include "hypervisor/vmx/segment_fields.h"

namespace cupel::vmx {

using namespace x86;

namespace {

// State in MSRs that entries and exits leave alone and the bitmaps let through.
struct MsrRow {
  uint32_t index;
  uint64_t CpuState::*value;
};
constexpr MsrRow kLiveMsrs[] = {{msr::STAR, &CpuState::star},
                                {msr::LSTAR, &CpuState::lstar},
                                {msr::CSTAR, &CpuState::cstar},
                                {msr::FMASK, &CpuState::fmask},
                                {msr::KERNEL_GS_BASE, &CpuState::kernel_gs_base},
                                {msr::TSC_AUX, &CpuState::tsc_aux}};

bool present(const VcpuContext& vcpu, const MsrRow& row) {
  return row.index != msr::TSC_AUX || (vcpu.controls.secondary & proc2::enable_rdtscp) != 0;
}

struct NaturalRow {
  FieldN field;
  uint64_t CpuState::*value;
};
constexpr NaturalRow kNaturalRows[] = {{FieldN::guest_rip, &CpuState::rip},
                                       {FieldN::guest_cr3, &CpuState::cr3},
                                       {FieldN::guest_rflags, &CpuState::rflags},
                                       {FieldN::guest_sysenter_esp, &CpuState::sysenter_esp},
                                       {FieldN::guest_sysenter_eip, &CpuState::sysenter_eip}};
struct WideRow {
  Field64 field;
  uint64_t CpuState::*value;
};
constexpr WideRow kWideRows[] = {{Field64::guest_pat, &CpuState::pat},
                                 {Field64::guest_debugctl, &CpuState::debugctl},
                                 {Field64::tsc_offset, &CpuState::tsc_offset}};

uint32_t interruptibility_of(const CpuState& s) {
  return (s.blocking_sti ? interruptibility::sti : 0) |
         (s.blocking_mov_ss ? interruptibility::mov_ss : 0) |
         (s.blocking_nmi ? interruptibility::nmi : 0);
}

void write_segments(Vmcs& vmcs, const CpuState& s) {
  for (unsigned n = 0; n < kSegmentCount; ++n) {
    const SegmentFields& f = kSegmentFields[n];
    vmcs.set(f.selector, s.seg[n].selector);
    vmcs.set(f.limit, s.seg[n].limit);
    vmcs.set(f.access, s.seg[n].access);
    vmcs.set(f.base, s.seg[n].base);
  }
  vmcs.set(FieldN::guest_gdtr_base, s.gdtr.base);
  vmcs.set(Field32::guest_gdtr_limit, s.gdtr.limit);
  vmcs.set(FieldN::guest_idtr_base, s.idtr.base);
  vmcs.set(Field32::guest_idtr_limit, s.idtr.limit);
}

void read_segments(Vmcs& vmcs, CpuState& s) {
  for (unsigned n = 0; n < kSegmentCount; ++n) {
    const SegmentFields& f = kSegmentFields[n];
    s.seg[n] = {vmcs.get(f.selector), vmcs.get(f.access), vmcs.get(f.limit), vmcs.get(f.base)};
  }
  s.gdtr = {vmcs.get(FieldN::guest_gdtr_base),
            static_cast<uint16_t>(vmcs.get(Field32::guest_gdtr_limit))};
  s.idtr = {vmcs.get(FieldN::guest_idtr_base),
            static_cast<uint16_t>(vmcs.get(Field32::guest_idtr_limit))};
}

// Entries under PAE paging take the PDPTEs from the VMCS, not from memory. Bad ones fail the
// entry, which says so.
void load_pdptes_from_memory(VcpuContext& vcpu, const CpuState& s) {
  std::array<uint64_t, 4> pdpte{};
  const bool pae = (s.cr0 & cr0::PG) != 0 && (s.cr4 & cr4::PAE) != 0 && (s.efer & efer::LMA) == 0;
  if (pae && !vcpu.memory.read(Gpa(s.cr3 & 0xffffffe0), pdpte)) pdpte = {};
  write_pdptes(vcpu, pdpte);
}

constexpr uint64_t kApicEnabled = 1 << 11, kX2Apic = 1 << 10;
constexpr uint32_t kX2ApicTpr = msr::X2APIC_FIRST + 8;
constexpr uint64_t kTprOffset = 0x80;

Fault fault_of(FaultKind kind, uint32_t number) {
  Fault fault;
  fault.kind = kind;
  fault.number = number;
  return fault;
}

}  // namespace

uint64_t guest_cr0(VcpuContext& vcpu) {
  return vcpu.policy.cr0.guest(vcpu.vmcs.get(FieldN::guest_cr0),
                               vcpu.vmcs.get(FieldN::cr0_read_shadow));
}
uint64_t guest_cr4(VcpuContext& vcpu) {
  return vcpu.policy.cr4.guest(vcpu.vmcs.get(FieldN::guest_cr4),
                               vcpu.vmcs.get(FieldN::cr4_read_shadow));
}
void set_guest_cr0(VcpuContext& vcpu, uint64_t value) {
  vcpu.vmcs.set(FieldN::guest_cr0, vcpu.policy.cr0.real(value));
  vcpu.vmcs.set(FieldN::cr0_read_shadow, value);
}
void set_guest_cr4(VcpuContext& vcpu, uint64_t value) {
  vcpu.vmcs.set(FieldN::guest_cr4, vcpu.policy.cr4.real(value));
  vcpu.vmcs.set(FieldN::cr4_read_shadow, value);
}

void write_efer(VcpuContext& vcpu, uint64_t value) {
  vcpu.vmcs.set(Field64::guest_efer, value);
  const uint32_t controls = vcpu.vmcs.get(Field32::entry_controls);
  const bool long_mode = (value & efer::LMA) != 0;
  vcpu.vmcs.set(Field32::entry_controls, (controls & ~entryctl::ia32e_mode_guest) |
                                             (long_mode ? entryctl::ia32e_mode_guest : 0));
}

std::array<uint64_t, 4> read_pdptes(VcpuContext& vcpu) {
  Vmcs& v = vcpu.vmcs;
  return {v.get(Field64::guest_pdpte0), v.get(Field64::guest_pdpte1), v.get(Field64::guest_pdpte2),
          v.get(Field64::guest_pdpte3)};
}
void write_pdptes(VcpuContext& vcpu, const std::array<uint64_t, 4>& pdpte) {
  vcpu.vmcs.set(Field64::guest_pdpte0, pdpte[0]);
  vcpu.vmcs.set(Field64::guest_pdpte1, pdpte[1]);
  vcpu.vmcs.set(Field64::guest_pdpte2, pdpte[2]);
  vcpu.vmcs.set(Field64::guest_pdpte3, pdpte[3]);
}

uint64_t read_task_priority(VcpuContext& vcpu) {
  uint64_t base = 0, tpr = 0;
  if (!vcpu.platform.read_msr(msr::APIC_BASE, base) || (base & kApicEnabled) == 0) return 0;
  if ((base & kX2Apic) == 0) {
    tpr = vcpu.platform.mmio_read(Gpa(base & ~0xfffull) + kTprOffset, 4);
  } else if (!vcpu.platform.read_msr(kX2ApicTpr, tpr)) {
    return 0;
  }
  return tpr >> 4 & 15;
}

void write_task_priority(VcpuContext& vcpu, uint64_t cr8) {
  uint64_t base = 0;
  if (!vcpu.platform.read_msr(msr::APIC_BASE, base) || (base & kApicEnabled) == 0) return;
  if ((base & kX2Apic) == 0) {
    vcpu.platform.mmio_write(Gpa(base & ~0xfffull) + kTprOffset, 4, cr8 << 4);
  } else {
    // A priority of 0 .. 15 is always accepted.
    (void)vcpu.platform.write_msr(kX2ApicTpr, cr8 << 4);
  }
}

CpuState read_state(VcpuContext& vcpu) {
  Vmcs& vmcs = vcpu.vmcs;
  CpuState s;
  s.gpr = vcpu.regs;
  s.gpr[Gpr::rsp] = vmcs.get(FieldN::guest_rsp);
  read_segments(vmcs, s);
  for (const NaturalRow& row : kNaturalRows) s.*row.value = vmcs.get(row.field);
  for (const WideRow& row : kWideRows) s.*row.value = vmcs.get(row.field);
  s.cr0 = guest_cr0(vcpu);
  s.cr2 = vcpu.cpu.read_cr2();
  s.cr4 = guest_cr4(vcpu);
  s.cr8 = read_task_priority(vcpu);
  s.efer = vmcs.get(Field64::guest_efer);
  for (const unsigned n : {0u, 1u, 2u, 3u, 6u}) s.dr[n] = vcpu.cpu.read_dr(n);
  s.dr[7] = vmcs.get(FieldN::guest_dr7);
  s.xcr0 = vcpu.xcr0;
  for (const MsrRow& row : kLiveMsrs) {
    // write_state() had the same MSRs accepted; zero stands for one that is gone.
    if (present(vcpu, row) && !vcpu.cpu.rdmsr(row.index, s.*row.value)) s.*row.value = 0;
  }
  s.sysenter_cs = vmcs.get(Field32::guest_sysenter_cs);
  const uint32_t blocking = vmcs.get(Field32::guest_interruptibility_state);
  s.blocking_sti = (blocking & interruptibility::sti) != 0;
  s.blocking_mov_ss = (blocking & interruptibility::mov_ss) != 0;
  s.blocking_nmi = (blocking & interruptibility::nmi) != 0;
  s.activity = vcpu.halted ? Activity::hlt : Activity::active;
  vcpu.cpu.fxsave(s.fxsave.data());
  return s;
}

Result<void, Fault> write_state(VcpuContext& vcpu, const CpuState& s) {
  if (s.activity != Activity::active && s.activity != Activity::hlt) {
    return Failure(fault_of(FaultKind::bad_state, static_cast<uint32_t>(s.activity)));
  }
  Vmcs& vmcs = vcpu.vmcs;
  vcpu.regs = s.gpr;
  vmcs.set(FieldN::guest_rsp, s.gpr[Gpr::rsp]);
  write_segments(vmcs, s);
  for (const NaturalRow& row : kNaturalRows) vmcs.set(row.field, s.*row.value);
  for (const WideRow& row : kWideRows) vmcs.set(row.field, s.*row.value);
  vmcs.set(FieldN::guest_rflags, s.rflags | rflags::fixed1);
  set_guest_cr0(vcpu, s.cr0 | cr0::ET);
  set_guest_cr4(vcpu, s.cr4);
  write_efer(vcpu, s.efer);
  load_pdptes_from_memory(vcpu, s);
  vcpu.cpu.write_cr2(s.cr2);
  write_task_priority(vcpu, s.cr8);
  for (const unsigned n : {0u, 1u, 2u, 3u, 6u}) vcpu.cpu.write_dr(n, s.dr[n]);
  vmcs.set(FieldN::guest_dr7, s.dr[7]);
  vmcs.set(Field32::guest_sysenter_cs, static_cast<uint32_t>(s.sysenter_cs));
  vmcs.set(Field32::guest_interruptibility_state, interruptibility_of(s));
  vmcs.set(Field32::guest_activity_state, 0);
  vmcs.set(FieldN::guest_pending_debug_exceptions, 0);
  for (const MsrRow& row : kLiveMsrs) {
    if (present(vcpu, row) && !vcpu.cpu.wrmsr(row.index, s.*row.value)) {
      return Failure(fault_of(FaultKind::capability_missing, row.index));
    }
  }
  vcpu.xcr0 = s.xcr0;
  vcpu.cpu.fxrstor(s.fxsave.data());
  vcpu.halted = s.activity == Activity::hlt;
  vcpu.events.clear();
  vcpu.cpuid.clear();
  if (!vcpu.flush_linear()) return Failure(vcpu.fault);
  return {};
}

}  // namespace cupel::vmx
