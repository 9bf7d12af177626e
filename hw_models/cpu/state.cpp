// Architectural state in and out of the engine: segments, flags, control registers, FPU.

#include <cstring>

#include "core/x86/msr.h"
#include "hw_models/cpu/self_check.h"
#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {
namespace {

using x86::Seg;
constexpr uint32_t kDescriptorPresent = 1u << 15;
constexpr uint64_t kArithmeticFlags = 0x8d5;  // OF SF ZF AF PF CF

// VMCS access rights <-> second descriptor word.
uint32_t to_flags(const x86::Segment& s) {
  const uint32_t flags = (s.access & 0xff) << 8 | (s.access & 0xf000) << 8;
  return s.unusable() ? flags & ~kDescriptorPresent : flags;
}
uint32_t to_access(uint32_t flags) {
  const uint32_t access = flags >> 8 & 0xf0ff;
  return (flags & kDescriptorPresent) != 0 ? access : access | x86::Segment::kUnusable;
}

EngineSegment& slot(EngineState& e, Seg s) {
  switch (s) {
    case Seg::ldtr:
      return e.ldt;
    case Seg::tr:
      return e.tr;
    default:
      return e.seg[static_cast<unsigned>(s)];
  }
}

}  // namespace

uint32_t UnicornProcessor::engine_error_code() const {
  uint32_t code = 0;
  std::memcpy(&code, reinterpret_cast<const char*>(engine_) + engine_layout().error_code, 4);
  return code;
}

void UnicornProcessor::set_engine_error_code(uint32_t value) {
  std::memcpy(reinterpret_cast<char*>(engine_) + engine_layout().error_code, &value, 4);
}

uint64_t UnicornProcessor::rflags() {
  const auto& e = *engine_;
  const uint64_t arithmetic =
      e.cc_op == kCcOpEflags
          ? e.cc_src & kArithmeticFlags
          : helper_cc_compute_all_x86_64(e.cc_dst, e.cc_src, e.cc_src2, static_cast<int>(e.cc_op)) &
                kArithmeticFlags;
  return (e.eflags & ~(kArithmeticFlags | x86::rflags::DF)) | arithmetic |
         (e.df < 0 ? x86::rflags::DF : 0) | x86::rflags::fixed1;
}

void UnicornProcessor::set_rflags(uint64_t value) {
  auto& e = *engine_;
  e.cc_src = value & kArithmeticFlags;
  e.cc_op = kCcOpEflags;
  e.df = (value & x86::rflags::DF) != 0 ? -1 : 1;
  const bool vm_changed = ((e.eflags ^ value) & x86::rflags::VM) != 0;
  e.eflags = (value & ~(kArithmeticFlags | x86::rflags::DF)) | x86::rflags::fixed1;
  if (vm_changed) recompute_hflags();
}

x86::Segment UnicornProcessor::segment(Seg s) const {
  const EngineSegment& from = slot(*engine_, s);
  uint32_t access = to_access(from.flags);
  // The engine's LTR copies the descriptor before it marks it busy. SDM vol. 2A, "LTR": it is busy
  // once it is loaded, and VM entries accept nothing else.
  if (s == Seg::tr && (access & 0x1d) == 0x09) access |= 2;
  return {static_cast<uint16_t>(from.selector), access, from.limit, from.base};
}

void UnicornProcessor::set_segment(Seg s, const x86::Segment& value) {
  EngineSegment& to = slot(*engine_, s);
  to.selector = value.selector;
  to.base = value.base;
  to.limit = value.limit;
  to.flags = to_flags(value);
  if (s < Seg::fs) recompute_hflags();
}

// The engine's own summary of the mode. CPL is SS.DPL (SDM vol. 3C, "Guest Register State").
void UnicornProcessor::recompute_hflags() {
  auto& e = *engine_;
  uint32_t h =
      e.hflags & ~(hf::cpl | hf::cs32 | hf::ss32 | hf::addseg | hf::pe | hf::lma | hf::cs64);
  const bool protected_mode = (paging_.cr0 & x86::cr0::PE) != 0;
  const bool v86 = (e.eflags & x86::rflags::VM) != 0;
  const uint32_t cs = e.seg[1].flags, ss = e.seg[2].flags;
  if (protected_mode) h |= hf::pe | (v86 ? 3 : ss >> 13 & 3);
  const bool lma = paging_.long_mode();
  if (lma) h |= hf::lma;
  if (lma && (cs >> 21 & 1) != 0 && !v86) {
    h |= hf::cs32 | hf::ss32 | hf::cs64;
  } else {
    if ((cs >> 22 & 1) != 0) h |= hf::cs32;
    if ((ss >> 22 & 1) != 0) h |= hf::ss32;
    const bool bases = (e.seg[0].base | e.seg[2].base | e.seg[3].base) != 0;
    if (!protected_mode || v86 || (h & hf::cs32) == 0 || bases) h |= hf::addseg;
  }
  e.hflags = h;
}

x86::DescriptorTable UnicornProcessor::gdtr() const {
  return {engine_->gdt.base, static_cast<uint16_t>(engine_->gdt.limit)};
}
x86::DescriptorTable UnicornProcessor::idtr() const {
  return {engine_->idt.base, static_cast<uint16_t>(engine_->idt.limit)};
}
void UnicornProcessor::set_gdtr(const x86::DescriptorTable& t) {
  engine_->gdt.base = t.base;
  engine_->gdt.limit = t.limit;
}
void UnicornProcessor::set_idtr(const x86::DescriptorTable& t) {
  engine_->idt.base = t.base;
  engine_->idt.limit = t.limit;
}

uint64_t UnicornProcessor::cr(unsigned n) const {
  switch (n) {
    case 0:
      return paging_.cr0;
    case 2:
      return cr2_;
    case 3:
      return paging_.cr3;
    case 4:
      return paging_.cr4;
    case 8:
      return config_.bus != nullptr ? config_.bus->cr8() : cr8_;
    default:
      return 0;
  }
}

void UnicornProcessor::set_control_registers(uint64_t cr0, uint64_t cr3, uint64_t cr4,
                                             uint64_t efer) {
  paging_.cr0 = cr0;
  paging_.cr3 = cr3;
  paging_.cr4 = cr4;
  paging_.efer = efer;
  // The engine's copies steer its helpers and translation flags only. CR0 is planted first, so
  // that the library's own long-mode transitions do not run a second time.
  engine_->cr[0] = cr0 | x86::cr0::ET;
  cpu_x86_update_cr4_x86_64(engine_, static_cast<uint32_t>(cr4 & ~x86::cr4::VMXE));
  cpu_x86_update_cr0_x86_64(engine_, static_cast<uint32_t>(cr0));
  env64(engine_layout().efer) = efer | 0x1000;  // SVME stays on for the trap facility
  engine_->hflags |= hf::svme | hf::guest;
  recompute_hflags();
  flush_what_paging_changes();
}

// Translations in force hold for the paging they were made under.
void UnicornProcessor::flush_what_paging_changes() {
  auto& own = context();
  const PagingState& now = paging_;
  constexpr uint64_t cr0_mode = x86::cr0::PG | x86::cr0::WP | x86::cr0::PE;
  constexpr uint64_t cr4_mode = x86::cr4::PAE | x86::cr4::PSE | x86::cr4::PGE | x86::cr4::SMEP |
                                x86::cr4::SMAP | x86::cr4::PCIDE;
  constexpr uint64_t efer_mode = x86::efer::LMA | x86::efer::NXE;
  const uint64_t mode_changed = ((now.cr0 ^ own.cr0) & cr0_mode) |
                                ((now.cr4 ^ own.cr4) & cr4_mode) |
                                ((now.efer ^ own.efer) & efer_mode);
  const bool cr3_changed = now.cr3 != own.cr3;
  own.cr0 = now.cr0;
  own.cr3 = now.cr3;
  own.cr4 = now.cr4;
  own.efer = now.efer;
  if (mode_changed != 0) {
    flush_tlb();
  } else if (cr3_changed) {
    flush_non_global();
  }
}

void UnicornProcessor::hold_context_to_paging() {
  if (context().pdptes != paging_.pdptes) {
    context().pdptes = paging_.pdptes;
    flush_tlb();
  }
  flush_what_paging_changes();
}

void UnicornProcessor::set_dr(unsigned n, uint64_t value) {
  if (dr_[n] == value) return;
  dr_[n] = value;
  if (n == 6) return;
  const bool were = breakpoints_.any();
  breakpoints_ = Breakpoints(dr_);
  if (were || breakpoints_.any()) drop_all_translations();
}

void UnicornProcessor::set_pdptes(const std::array<uint64_t, 4>& values) {
  paging_.pdptes = values;
  if (values == context().pdptes) return;
  context().pdptes = values;
  flush_tlb();
}

void UnicornProcessor::set_cr8(uint64_t value) {
  cr8_ = value & 15;
  if (config_.bus != nullptr) config_.bus->set_cr8(static_cast<uint8_t>(cr8_));
}

// The engine has one shadow bit; which instruction set it is kept beside it.
uint32_t UnicornProcessor::interruptibility() const {
  uint32_t bits = 0;
  if ((engine_->hflags & hf::inhibit_irq) != 0)
    bits |= shadow_is_mov_ss_ ? x86::interruptibility::mov_ss : x86::interruptibility::sti;
  if (nmi_blocked_) bits |= x86::interruptibility::nmi;
  return bits;
}
void UnicornProcessor::set_interruptibility(uint32_t bits) {
  shadow_is_mov_ss_ = (bits & x86::interruptibility::mov_ss) != 0;
  if ((bits & (x86::interruptibility::sti | x86::interruptibility::mov_ss)) != 0) {
    engine_->hflags |= hf::inhibit_irq;
  } else {
    engine_->hflags &= ~hf::inhibit_irq;
  }
  nmi_blocked_ = (bits & x86::interruptibility::nmi) != 0;
}

// --- FPU and SSE, through the library's API; layout: SDM vol. 1, "FXSAVE Area" -----------------

void UnicornProcessor::fxsave(uint8_t* area) {
  auto* outer = std::exchange(current_, this);
  std::memset(area, 0, 512);
  uint16_t word = 0;
  uc_reg_read(uc_, UC_X86_REG_FPCW, &word);
  std::memcpy(area, &word, 2);
  uc_reg_read(uc_, UC_X86_REG_FPSW, &word);
  std::memcpy(area + 2, &word, 2);
  const unsigned top = word >> 11 & 7;
  uint16_t tags = 0xffff;
  uc_reg_read(uc_, UC_X86_REG_FPTAG, &tags);
  for (unsigned i = 0; i < 8; ++i)
    if ((tags >> (2 * i) & 3) != 3) area[4] = static_cast<uint8_t>(area[4] | 1u << i);
  uint32_t mxcsr = 0;
  uc_reg_read(uc_, UC_X86_REG_MXCSR, &mxcsr);
  std::memcpy(area + 24, &mxcsr, 4);
  const uint32_t mask = 0xffff;
  std::memcpy(area + 28, &mask, 4);
  // The API names physical registers FP0-7, the area holds ST0-7.
  for (unsigned i = 0; i < 8; ++i)
    uc_reg_read(uc_, UC_X86_REG_FP0 + static_cast<int>((top + i) & 7), area + 32 + 16 * i);
  for (int i = 0; i < 16; ++i) uc_reg_read(uc_, UC_X86_REG_XMM0 + i, area + 160 + 16 * i);
  current_ = outer;
}

void UnicornProcessor::fxrstor(const uint8_t* area) {
  auto* outer = std::exchange(current_, this);
  uint16_t control = 0, status = 0;
  std::memcpy(&control, area, 2);
  std::memcpy(&status, area + 2, 2);
  uc_reg_write(uc_, UC_X86_REG_FPCW, &control);
  uc_reg_write(uc_, UC_X86_REG_FPSW, &status);
  const unsigned top = status >> 11 & 7;
  for (unsigned i = 0; i < 8; ++i) {
    uint8_t value[16] = {};
    std::memcpy(value, area + 32 + 16 * i, 10);
    uc_reg_write(uc_, UC_X86_REG_FP0 + static_cast<int>((top + i) & 7), value);
  }
  uint16_t tags = 0;
  for (unsigned i = 0; i < 8; ++i)
    if ((area[4] >> i & 1) == 0) tags = static_cast<uint16_t>(tags | 3u << (2 * i));
  uc_reg_write(uc_, UC_X86_REG_FPTAG, &tags);
  uint32_t mxcsr = 0;
  std::memcpy(&mxcsr, area + 24, 4);
  mxcsr &= 0xffff;
  uc_reg_write(uc_, UC_X86_REG_MXCSR, &mxcsr);
  for (int i = 0; i < 16; ++i) {
    uint8_t value[16];
    std::memcpy(value, area + 160 + 16 * i, 16);
    uc_reg_write(uc_, UC_X86_REG_XMM0 + i, value);
  }
  current_ = outer;
}

// --- whole state ------------------------------------------------------------------------------

x86::CpuState UnicornProcessor::state() {
  x86::CpuState s;
  s.gpr = gpr();
  s.rip = rip();
  s.rflags = rflags();
  for (unsigned i = 0; i < x86::kSegmentCount; ++i) s.seg[i] = segment(static_cast<Seg>(i));
  s.gdtr = gdtr();
  s.idtr = idtr();
  s.cr0 = paging_.cr0;
  s.cr2 = cr2_;
  s.cr3 = paging_.cr3;
  s.cr4 = paging_.cr4;
  s.cr8 = cr(8);
  s.efer = paging_.efer;
  s.dr = dr_;
  auto msr = [this](uint32_t index) {
    uint64_t value = 0;
    read_msr(index, value);
    return value;
  };
  s.star = msr(x86::msr::STAR);
  s.lstar = msr(x86::msr::LSTAR);
  s.cstar = msr(x86::msr::CSTAR);
  s.fmask = msr(x86::msr::FMASK);
  s.kernel_gs_base = msr(x86::msr::KERNEL_GS_BASE);
  s.tsc_aux = tsc_aux_;
  s.sysenter_cs = msr(x86::msr::SYSENTER_CS);
  s.sysenter_esp = msr(x86::msr::SYSENTER_ESP);
  s.sysenter_eip = msr(x86::msr::SYSENTER_EIP);
  s.pat = pat_;
  s.debugctl = debugctl_;
  s.tsc_offset = tsc_adjust_;
  const uint32_t blocked = interruptibility();
  s.blocking_sti = (blocked & x86::interruptibility::sti) != 0;
  s.blocking_mov_ss = (blocked & x86::interruptibility::mov_ss) != 0;
  s.blocking_nmi = (blocked & x86::interruptibility::nmi) != 0;
  s.activity = activity_;
  fxsave(s.fxsave.data());
  return s;
}

void UnicornProcessor::set_state(const x86::CpuState& s) {
  gpr() = s.gpr;
  set_rip(s.rip);
  engine_->eflags = s.rflags & x86::rflags::VM;  // segments below need the mode
  set_control_registers(s.cr0, s.cr3, s.cr4, s.efer);
  for (unsigned i = 0; i < x86::kSegmentCount; ++i) set_segment(static_cast<Seg>(i), s.seg[i]);
  set_rflags(s.rflags);
  recompute_hflags();
  set_gdtr(s.gdtr);
  set_idtr(s.idtr);
  cr2_ = s.cr2;
  cr8_ = s.cr8;
  dr_ = s.dr;
  breakpoints_ = Breakpoints(dr_);
  stepping_ = false;
  write_msr(x86::msr::STAR, s.star);
  write_msr(x86::msr::LSTAR, s.lstar);
  write_msr(x86::msr::CSTAR, s.cstar);
  write_msr(x86::msr::FMASK, s.fmask);
  write_msr(x86::msr::KERNEL_GS_BASE, s.kernel_gs_base);
  write_msr(x86::msr::SYSENTER_CS, s.sysenter_cs);
  write_msr(x86::msr::SYSENTER_ESP, s.sysenter_esp);
  write_msr(x86::msr::SYSENTER_EIP, s.sysenter_eip);
  tsc_aux_ = s.tsc_aux;
  pat_ = s.pat;
  debugctl_ = s.debugctl;
  tsc_adjust_ = s.tsc_offset;
  set_interruptibility((s.blocking_sti ? x86::interruptibility::sti : 0) |
                       (s.blocking_mov_ss ? x86::interruptibility::mov_ss : 0) |
                       (s.blocking_nmi ? x86::interruptibility::nmi : 0));
  activity_ = s.activity;
  fxrstor(s.fxsave.data());
  injected_.reset();
  vectoring_.reset();
  if (translations_ != nullptr) translations_->forget_everything();
  drop_all_translations();
}

}  // namespace cupel::cpu
