// MSR numbers used by the project. Freestanding. SDM vol. 4, "Architectural MSRs".
#pragma once

#include <cstdint>

namespace cupel::x86::msr {

inline constexpr uint32_t TSC = 0x10, APIC_BASE = 0x1b, FEATURE_CONTROL = 0x3a, TSC_ADJUST = 0x3b,
                          SPEC_CTRL = 0x48, BIOS_SIGN_ID = 0x8b, MTRRCAP = 0xfe,
                          SYSENTER_CS = 0x174, SYSENTER_ESP = 0x175, SYSENTER_EIP = 0x176,
                          MCG_CAP = 0x179, MISC_ENABLE = 0x1a0, DEBUGCTL = 0x1d9,
                          MTRR_PHYSBASE0 = 0x200, MTRR_FIX64K = 0x250, PAT = 0x277,
                          MTRR_DEF_TYPE = 0x2ff, PERF_GLOBAL_CTRL = 0x38f, TSC_DEADLINE = 0x6e0,
                          X2APIC_FIRST = 0x800, X2APIC_LAST = 0x8ff, XSS = 0xda0;
inline constexpr uint32_t EFER = 0xc0000080, STAR = 0xc0000081, LSTAR = 0xc0000082,
                          CSTAR = 0xc0000083, FMASK = 0xc0000084, FS_BASE = 0xc0000100,
                          GS_BASE = 0xc0000101, KERNEL_GS_BASE = 0xc0000102, TSC_AUX = 0xc0000103;
// VMX capability MSRs. SDM vol. 3D, appendix "VMX Capability Reporting Facility".
inline constexpr uint32_t VMX_BASIC = 0x480, VMX_PINBASED = 0x481, VMX_PROCBASED = 0x482,
                          VMX_EXIT = 0x483, VMX_ENTRY = 0x484, VMX_MISC = 0x485,
                          VMX_CR0_FIXED0 = 0x486, VMX_CR0_FIXED1 = 0x487, VMX_CR4_FIXED0 = 0x488,
                          VMX_CR4_FIXED1 = 0x489, VMX_VMCS_ENUM = 0x48a, VMX_PROCBASED2 = 0x48b,
                          VMX_EPT_VPID_CAP = 0x48c, VMX_TRUE_PINBASED = 0x48d,
                          VMX_TRUE_PROCBASED = 0x48e, VMX_TRUE_EXIT = 0x48f, VMX_TRUE_ENTRY = 0x490,
                          VMX_VMFUNC = 0x491, VMX_PROCBASED3 = 0x492, VMX_EXIT2 = 0x493;

}  // namespace cupel::x86::msr
