// The processor's own MSRs. SDM vol. 4, "Architectural MSRs".

#include "core/x86/msr.h"
#include "hw_models/cpu/self_check.h"
#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {

namespace m = x86::msr;

namespace {

bool canonical(uint64_t address) {
  const int64_t top = static_cast<int64_t>(address) >> 47;
  return top == 0 || top == -1;
}

// MSRs of the local APIC.
constexpr bool on_board(uint32_t index) {
  return index == m::APIC_BASE || index == m::TSC_DEADLINE ||
         (index >= m::X2APIC_FIRST && index <= m::X2APIC_LAST);
}

// LBR, BTF, TR, BTS, BTINT, BTS_OFF_*, FREEZE_*, FREEZE_WHILE_SMM: kept, without effect.
constexpr uint64_t kDebugctlKnown = 0xdfc3;

// PAT entries are UC, WC, WT, WP, WB, UC-.
bool valid_pat(uint64_t value) {
  for (int i = 0; i < 8; ++i) {
    const uint8_t type = static_cast<uint8_t>(value >> (8 * i));
    if (type > 7 || type == 2 || type == 3) return false;
  }
  return true;
}

}  // namespace

bool UnicornProcessor::read_msr(uint32_t index, uint64_t& value) {
  const EngineLayout& at = engine_layout();
  if (config_.bus != nullptr && on_board(index)) {
    const auto outcome = config_.bus->read_msr(index, value);
    if (outcome != SystemBus::MsrOutcome::absent) return outcome == SystemBus::MsrOutcome::done;
  }
  switch (index) {
    case m::TSC:
      value = tsc();
      return true;
    case m::TSC_ADJUST:
      value = tsc_adjust_;
      return true;
    case m::EFER:
      value = paging_.efer;
      return true;
    case m::STAR:
      value = env64(at.star);
      return true;
    case m::LSTAR:
      value = env64(at.lstar);
      return true;
    case m::CSTAR:
      value = env64(at.cstar);
      return true;
    case m::FMASK:
      value = env64(at.fmask);
      return true;
    case m::KERNEL_GS_BASE:
      value = env64(at.kernel_gs_base);
      return true;
    case m::FS_BASE:
      value = engine_->seg[4].base;
      return true;
    case m::GS_BASE:
      value = engine_->seg[5].base;
      return true;
    case m::SYSENTER_CS:
      value = static_cast<uint32_t>(env64(at.sysenter_cs));
      return true;
    case m::SYSENTER_ESP:
      value = env64(at.sysenter_esp);
      return true;
    case m::SYSENTER_EIP:
      value = env64(at.sysenter_eip);
      return true;
    case m::TSC_AUX:
      value = tsc_aux_;
      return true;
    case m::PAT:
      value = pat_;
      return true;
    case m::DEBUGCTL:
      value = debugctl_;
      return true;
    case m::MISC_ENABLE:
      value = misc_enable_;
      return true;
    case m::FEATURE_CONTROL:
      value = feature_control_;
      return true;
    case m::APIC_BASE:
      value = apic_base_;
      return true;
    case m::BIOS_SIGN_ID:  // microcode late enough for every feature that CPUID offers
      value = config_.bus != nullptr ? 0x02007006ull << 32 : 0;
      return true;
    case m::MCG_CAP:
      value = 0;
      return true;
    default:
      return platform_msrs_ && platform_msrs_->read(index, value);
  }
}

bool UnicornProcessor::write_msr(uint32_t index, uint64_t value) {
  const EngineLayout& at = engine_layout();
  if (config_.bus != nullptr && on_board(index)) {
    const auto outcome = config_.bus->write_msr(index, value);
    if (outcome != SystemBus::MsrOutcome::absent) return outcome == SystemBus::MsrOutcome::done;
  }
  switch (index) {
    case m::TSC:
      tsc_adjust_ = value - host_tsc();
      return true;
    case m::TSC_ADJUST:
      tsc_adjust_ = value;
      return true;
    case m::EFER: {
      const uint64_t known = x86::efer::SCE | x86::efer::LME | x86::efer::LMA | x86::efer::NXE;
      if ((value & ~known) != 0) return false;
      const bool paging_on = (paging_.cr0 & x86::cr0::PG) != 0;
      if (paging_on && ((value ^ paging_.efer) & x86::efer::LME) != 0) return false;
      set_control_registers(paging_.cr0, paging_.cr3, paging_.cr4,
                            (value & ~x86::efer::LMA) | (paging_.efer & x86::efer::LMA));
      return true;
    }
    case m::STAR:
      env64(at.star) = value;
      return true;
    case m::LSTAR:
      if (!canonical(value)) return false;
      env64(at.lstar) = value;
      return true;
    case m::CSTAR:
      if (!canonical(value)) return false;
      env64(at.cstar) = value;
      return true;
    case m::FMASK:
      env64(at.fmask) = value & 0xffffffffu;
      return true;
    case m::KERNEL_GS_BASE:
      if (!canonical(value)) return false;
      env64(at.kernel_gs_base) = value;
      return true;
    case m::FS_BASE:
      if (!canonical(value)) return false;
      engine_->seg[4].base = value;
      return true;
    case m::GS_BASE:
      if (!canonical(value)) return false;
      engine_->seg[5].base = value;
      return true;
    case m::SYSENTER_CS: {
      uint64_t& slot = env64(at.sysenter_cs);  // the engine's is 32 bits wide
      slot = (slot & ~0xffffffffull) | (value & 0xffff);
      return true;
    }
    case m::SYSENTER_ESP:
      if (!canonical(value)) return false;
      env64(at.sysenter_esp) = value;
      return true;
    case m::SYSENTER_EIP:
      if (!canonical(value)) return false;
      env64(at.sysenter_eip) = value;
      return true;
    case m::TSC_AUX:
      if ((value >> 32) != 0) return false;
      tsc_aux_ = value;
      return true;
    case m::PAT:
      if (!valid_pat(value)) return false;
      pat_ = value;
      return true;
    case m::DEBUGCTL:
      if ((value & ~kDebugctlKnown) != 0) return false;
      debugctl_ = value;
      return true;
    case m::MISC_ENABLE:
      misc_enable_ = value;
      return true;
    case m::FEATURE_CONTROL:
      if ((feature_control_ & 1) != 0) return false;  // locked
      feature_control_ = value;
      return true;
    case m::APIC_BASE:
      apic_base_ = value;
      return true;
    case m::BIOS_SIGN_ID:
      return true;
    default:
      return platform_msrs_ && platform_msrs_->write(index, value);
  }
}

}  // namespace cupel::cpu
