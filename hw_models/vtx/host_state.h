// The host's own registers in VMX root operation, as far as VM entries and exits look at them.
#pragma once

#include <cstdint>

#include "core/x86/registers.h"

namespace cupel::vtx {

// In hosted use the hypervisor is code of this process: these are the registers it would have. The
// defaults are those of a 64-bit kernel.
struct HostState {
  uint64_t cr0 = 0x80050033;
  uint64_t cr3 = 0x1000;
  uint64_t cr4 = x86::cr4::PAE | x86::cr4::PGE | x86::cr4::OSFXSR | x86::cr4::OSXMMEXCPT;
  uint64_t efer = x86::efer::SCE | x86::efer::LME | x86::efer::LMA | x86::efer::NXE;
  uint64_t pat = 0x0007040600070406ull;
  uint64_t dr7 = 0x400;
  uint64_t debugctl = 0;
  uint64_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  uint64_t fs_base = 0, gs_base = 0;
  uint64_t feature_control = 5;  // IA32_FEATURE_CONTROL: locked, VMX outside SMX enabled
  uint64_t rtit_ctl = 0;         // IA32_RTIT_CTL: bit 0, TraceEn, is looked at
  bool blocking_by_mov_ss = false;
  bool in_smm = false;

  bool ia32e() const { return (efer & x86::efer::LMA) != 0; }
};

}  // namespace cupel::vtx
