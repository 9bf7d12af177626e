#include "hypervisor/kvm/registers.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "core/x86/msr.h"
#include "hypervisor/kvm/kvm_lists.h"
#include "hypervisor/kvm/msr_set.h"

namespace cupel::kvm {
namespace {

using x86::CpuState;
using x86::Gpr;
using x86::Seg;

// Register by register, so that neither side's order matters.
struct GprRow {
  Gpr ours;
  __u64 kvm_regs::*kvm;
};
constexpr GprRow kGprs[] = {
    {Gpr::rax, &kvm_regs::rax}, {Gpr::rcx, &kvm_regs::rcx}, {Gpr::rdx, &kvm_regs::rdx},
    {Gpr::rbx, &kvm_regs::rbx}, {Gpr::rsp, &kvm_regs::rsp}, {Gpr::rbp, &kvm_regs::rbp},
    {Gpr::rsi, &kvm_regs::rsi}, {Gpr::rdi, &kvm_regs::rdi}, {Gpr::r8, &kvm_regs::r8},
    {Gpr::r9, &kvm_regs::r9},   {Gpr::r10, &kvm_regs::r10}, {Gpr::r11, &kvm_regs::r11},
    {Gpr::r12, &kvm_regs::r12}, {Gpr::r13, &kvm_regs::r13}, {Gpr::r14, &kvm_regs::r14},
    {Gpr::r15, &kvm_regs::r15},
};
struct SegRow {
  Seg ours;
  kvm_segment kvm_sregs::*kvm;
};
constexpr SegRow kSegments[] = {
    {Seg::es, &kvm_sregs::es}, {Seg::cs, &kvm_sregs::cs},    {Seg::ss, &kvm_sregs::ss},
    {Seg::ds, &kvm_sregs::ds}, {Seg::fs, &kvm_sregs::fs},    {Seg::gs, &kvm_sregs::gs},
    {Seg::tr, &kvm_sregs::tr}, {Seg::ldtr, &kvm_sregs::ldt},
};
struct MsrRow {
  uint32_t index;
  uint64_t CpuState::*ours;
};
constexpr MsrRow kMsrs[] = {
    {x86::msr::STAR, &CpuState::star},
    {x86::msr::LSTAR, &CpuState::lstar},
    {x86::msr::CSTAR, &CpuState::cstar},
    {x86::msr::FMASK, &CpuState::fmask},
    {x86::msr::KERNEL_GS_BASE, &CpuState::kernel_gs_base},
    {x86::msr::TSC_AUX, &CpuState::tsc_aux},
    {x86::msr::SYSENTER_CS, &CpuState::sysenter_cs},
    {x86::msr::SYSENTER_ESP, &CpuState::sysenter_esp},
    {x86::msr::SYSENTER_EIP, &CpuState::sysenter_eip},
    {x86::msr::PAT, &CpuState::pat},
    {x86::msr::DEBUGCTL, &CpuState::debugctl},
};

uint64_t virtual_tsc(Nanoseconds now, uint32_t tsc_khz) {
  const auto ns = static_cast<uint64_t>(now.count());
  return ns / 1'000'000 * tsc_khz + ns % 1'000'000 * tsc_khz / 1'000'000;
}

// xstate_bv in the header behind the 512 legacy bytes; bits 0 and 1: x87 and SSE are not in their
// initial state. SDM vol. 1, "XSAVE Header".
constexpr size_t kXstateBvWord = 512 / sizeof(uint32_t);

Result<void> read_fpu(VirtualMachine& vm, CpuState& state) {
  XsaveArea area{};
  if (vm.system().has_xsave) {
    CUPEL_TRY(vm.vcpu().control(request::get_xsave, "KVM_GET_XSAVE", area.data()));
    std::memcpy(state.fxsave.data(), area.data(), state.fxsave.size());
    return {};
  }
  kvm_fpu fpu{};
  CUPEL_TRY(vm.vcpu().control(KVM_GET_FPU, "KVM_GET_FPU", &fpu));
  uint8_t* const to = state.fxsave.data();
  std::memcpy(to, &fpu.fcw, 2);
  std::memcpy(to + 2, &fpu.fsw, 2);
  to[4] = fpu.ftwx;
  std::memcpy(to + 6, &fpu.last_opcode, 2);
  std::memcpy(to + 8, &fpu.last_ip, 8);
  std::memcpy(to + 16, &fpu.last_dp, 8);
  std::memcpy(to + 24, &fpu.mxcsr, 4);
  std::memcpy(to + 32, fpu.fpr, sizeof fpu.fpr);
  std::memcpy(to + 160, fpu.xmm, sizeof fpu.xmm);
  return {};
}

Result<void> write_fpu(VirtualMachine& vm, const CpuState& state) {
  const uint8_t* const from = state.fxsave.data();
  if (vm.system().has_xsave) {
    XsaveArea area{};
    CUPEL_TRY(vm.vcpu().control(request::get_xsave, "KVM_GET_XSAVE", area.data()));
    std::memcpy(area.data(), from, state.fxsave.size());
    area[kXstateBvWord] |= 3;
    return vm.vcpu().control(request::set_xsave, "KVM_SET_XSAVE", area.data());
  }
  kvm_fpu fpu{};
  std::memcpy(&fpu.fcw, from, 2);
  std::memcpy(&fpu.fsw, from + 2, 2);
  fpu.ftwx = from[4];
  std::memcpy(&fpu.last_opcode, from + 6, 2);
  std::memcpy(&fpu.last_ip, from + 8, 8);
  std::memcpy(&fpu.last_dp, from + 16, 8);
  std::memcpy(&fpu.mxcsr, from + 24, 4);
  std::memcpy(fpu.fpr, from + 32, sizeof fpu.fpr);
  std::memcpy(fpu.xmm, from + 160, sizeof fpu.xmm);
  return vm.vcpu().control(KVM_SET_FPU, "KVM_SET_FPU", &fpu);
}

Result<void> read_msr_fields(VirtualMachine& vm, CpuState& state, Nanoseconds now) {
  for (const MsrRow& row : kMsrs) {
    for (const MsrValue& msr : read_msrs(vm.vcpu(), std::span(&row.index, 1))) {
      state.*row.ours = msr.value;
    }
  }
  constexpr uint32_t kTsc = x86::msr::TSC;
  for (const MsrValue& msr : read_msrs(vm.vcpu(), std::span(&kTsc, 1))) {
    state.tsc_offset = msr.value - virtual_tsc(now, vm.system().tsc_khz);
  }
  return {};
}

Result<void> write_msr_fields(VirtualMachine& vm, const CpuState& state, Nanoseconds now) {
  std::vector<MsrValue> values;
  for (const MsrRow& row : kMsrs) values.push_back({row.index, state.*row.ours});
  values.push_back({x86::msr::TSC, virtual_tsc(now, vm.system().tsc_khz) + state.tsc_offset});
  return write_msrs(vm.vcpu(), values);
}

Result<void> read_debug_registers(VirtualMachine& vm, CpuState& state) {
  kvm_debugregs debug{};
  CUPEL_TRY(vm.vcpu().control(KVM_GET_DEBUGREGS, "KVM_GET_DEBUGREGS", &debug));
  std::copy_n(debug.db, 4, state.dr.begin());
  state.dr[6] = debug.dr6;
  state.dr[7] = debug.dr7;
  return {};
}

Result<void> write_debug_registers(VirtualMachine& vm, const CpuState& state) {
  kvm_debugregs debug{};
  std::copy_n(state.dr.begin(), 4, debug.db);
  debug.dr6 = state.dr[6];
  debug.dr7 = state.dr[7];
  return vm.vcpu().control(KVM_SET_DEBUGREGS, "KVM_SET_DEBUGREGS", &debug);
}

Result<void> read_events(VirtualMachine& vm, CpuState& state) {
  kvm_vcpu_events events{};
  CUPEL_TRY(vm.vcpu().control(KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS", &events));
  state.blocking_sti = (events.interrupt.shadow & KVM_X86_SHADOW_INT_STI) != 0;
  state.blocking_mov_ss = (events.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS) != 0;
  // AMD processors do not tell the two apart: KVM then reports both.
  if (state.blocking_sti) state.blocking_mov_ss = false;
  state.blocking_nmi = events.nmi.masked != 0;
  return {};
}

// Events that were on their way into the guest are dropped: CpuState has no place for them.
Result<void> write_events(VirtualMachine& vm, const CpuState& state) {
  kvm_vcpu_events events{};
  events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
  if (state.blocking_sti) events.interrupt.shadow |= KVM_X86_SHADOW_INT_STI;
  if (state.blocking_mov_ss) events.interrupt.shadow |= KVM_X86_SHADOW_INT_MOV_SS;
  events.nmi.masked = state.blocking_nmi ? 1 : 0;
  return vm.vcpu().control(KVM_SET_VCPU_EVENTS, "KVM_SET_VCPU_EVENTS", &events);
}

Result<void> write_sregs(VirtualMachine& vm, const CpuState& state) {
  kvm_sregs sregs{};
  // The local APIC's base stays as it is: it belongs to the platform.
  CUPEL_TRY(vm.vcpu().control(KVM_GET_SREGS, "KVM_GET_SREGS", &sregs));
  for (const SegRow& row : kSegments) sregs.*row.kvm = to_kvm(state[row.ours]);
  sregs.gdt.base = state.gdtr.base;
  sregs.gdt.limit = state.gdtr.limit;
  sregs.idt.base = state.idtr.base;
  sregs.idt.limit = state.idtr.limit;
  sregs.cr0 = state.cr0;
  sregs.cr2 = state.cr2;
  sregs.cr3 = state.cr3;
  sregs.cr4 = state.cr4;
  sregs.cr8 = state.cr8;
  sregs.efer = state.efer;
  std::memset(sregs.interrupt_bitmap, 0, sizeof sregs.interrupt_bitmap);
  return vm.vcpu().control(KVM_SET_SREGS, "KVM_SET_SREGS", &sregs);
}

void read_sregs(const kvm_sregs& sregs, CpuState& state) {
  for (const SegRow& row : kSegments) state[row.ours] = from_kvm(sregs.*row.kvm);
  state.gdtr = {sregs.gdt.base, sregs.gdt.limit};
  state.idtr = {sregs.idt.base, sregs.idt.limit};
  state.cr0 = sregs.cr0;
  state.cr2 = sregs.cr2;
  state.cr3 = sregs.cr3;
  state.cr4 = sregs.cr4;
  state.cr8 = sregs.cr8;
  state.efer = sregs.efer;
}

}  // namespace

kvm_segment to_kvm(const x86::Segment& segment) {
  kvm_segment s{};
  const uint32_t a = segment.access;
  s.base = segment.base;
  s.limit = segment.limit;
  s.selector = segment.selector;
  s.type = a & 15;
  s.s = a >> 4 & 1;
  s.dpl = a >> 5 & 3;
  s.present = a >> 7 & 1;
  s.avl = a >> 12 & 1;
  s.l = a >> 13 & 1;
  s.db = a >> 14 & 1;
  s.g = a >> 15 & 1;
  s.unusable = a >> 16 & 1;
  return s;
}

x86::Segment from_kvm(const kvm_segment& s) {
  const auto bit = [](unsigned value, unsigned at) {
    return static_cast<uint32_t>(value & 1) << at;
  };
  x86::Segment segment;
  segment.base = s.base;
  segment.limit = s.limit;
  segment.selector = s.selector;
  segment.access = (s.type & 15u) | bit(s.s, 4) | (s.dpl & 3u) << 5 | bit(s.present, 7) |
                   bit(s.avl, 12) | bit(s.l, 13) | bit(s.db, 14) | bit(s.g, 15) |
                   bit(s.unusable, 16);
  return segment;
}

Result<CpuState> read_state(VirtualMachine& vm, Nanoseconds now) {
  CpuState state;
  kvm_regs regs{};
  kvm_sregs sregs{};
  CUPEL_TRY(vm.vcpu().control(KVM_GET_REGS, "KVM_GET_REGS", &regs));
  CUPEL_TRY(vm.vcpu().control(KVM_GET_SREGS, "KVM_GET_SREGS", &sregs));
  for (const GprRow& row : kGprs) state.gpr[row.ours] = regs.*row.kvm;
  state.rip = regs.rip;
  state.rflags = regs.rflags;
  read_sregs(sregs, state);
  if (vm.system().has_xcrs) {
    kvm_xcrs xcrs{};
    CUPEL_TRY(vm.vcpu().control(KVM_GET_XCRS, "KVM_GET_XCRS", &xcrs));
    if (xcrs.nr_xcrs > 0) state.xcr0 = xcrs.xcrs[0].value;
  }
  CUPEL_TRY(read_fpu(vm, state));
  CUPEL_TRY(read_msr_fields(vm, state, now));
  CUPEL_TRY(read_debug_registers(vm, state));
  CUPEL_TRY(read_events(vm, state));
  return state;
}

Result<void> write_state(VirtualMachine& vm, const CpuState& state, Nanoseconds now) {
  kvm_regs regs{};
  for (const GprRow& row : kGprs) regs.*row.kvm = state.gpr[row.ours];
  regs.rip = state.rip;
  regs.rflags = state.rflags;
  CUPEL_TRY(write_sregs(vm, state));
  CUPEL_TRY(vm.vcpu().control(KVM_SET_REGS, "KVM_SET_REGS", &regs));
  if (vm.system().has_xcrs) {
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].value = state.xcr0;
    CUPEL_TRY(vm.vcpu().control(KVM_SET_XCRS, "KVM_SET_XCRS", &xcrs));
  }
  CUPEL_TRY(write_fpu(vm, state));
  CUPEL_TRY(write_msr_fields(vm, state, now));
  CUPEL_TRY(write_debug_registers(vm, state));
  CUPEL_TRY(write_events(vm, state));
  // KVM_RUN loads CR8 from here when the interrupt controllers are outside the kernel.
  vm.run()->cr8 = state.cr8;
  return {};
}

}  // namespace cupel::kvm
