// What one processor model offers of VT-x: the contents of its VMX capability MSRs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/x86/cpuid.h"
#include "core/x86/vmcs.h"

namespace cupel::vtx {

// The settings one control word may have. SDM vol. 3D, appendix "VMX Capability Reporting
// Facility".
struct ControlRange {
  uint32_t default1 = 0;  // must be 1 for software that does not read the TRUE MSR
  uint32_t required = 0;  // must be 1 (the TRUE MSR's low half); a subset of default1
  uint32_t allowed = 0;   // may be 1

  bool accepts(uint64_t value) const {
    return (value & required) == required && (value & ~uint64_t{allowed}) == 0;
  }
  bool offers(uint32_t bit) const { return (allowed & bit) == bit; }
  uint64_t msr() const { return default1 | uint64_t{allowed} << 32; }
  uint64_t true_msr() const { return required | uint64_t{allowed} << 32; }
};

// Bits of IA32_VMX_EPT_VPID_CAP.
namespace eptcap {
inline constexpr uint64_t execute_only = 1, walk_length_4 = 1 << 6, walk_length_5 = 1 << 7,
                          memory_type_uc = 1 << 8, memory_type_wb = 1 << 14, page_2m = 1 << 16,
                          page_1g = 1 << 17, invept = 1 << 20, accessed_dirty = 1 << 21,
                          violation_information = 1 << 22, supervisor_shadow_stack = 1 << 23,
                          invept_single = 1 << 25, invept_all = 1 << 26, invvpid = 1ull << 32,
                          invvpid_address = 1ull << 40, invvpid_single = 1ull << 41,
                          invvpid_all = 1ull << 42, invvpid_single_retain_global = 1ull << 43;
}

// What the entry checks need to know of the processor besides VT-x: features, and the bits that
// the MSRs loaded from the VMCS do not reserve. SDM vol. 4, "Architectural MSRs".
struct ProcessorFeatures {
  bool sgx = false;                                     // enclave interruption may be reported
  bool rtm = false;                                     // pending debug exceptions: bit 16
  bool bus_lock_debug = false;                          // pending debug exceptions: bit 11
  bool shadow_stacks = false, branch_tracking = false;  // CET
  bool address_masking = false;                         // LAM: CR3[62:61]
  // "A processor may require bit 0 (blocking by STI) to be 0" when an NMI is injected.
  bool nmi_needs_no_sti_blocking = false;
  uint64_t debugctl = 0xdfc3;  // IA32_DEBUGCTL
  uint64_t perf_global_ctrl = 0, rtit_ctl = 0, lbr_ctl = 0;

  bool cet() const { return shadow_stacks || branch_tracking; }
  bool operator==(const ProcessorFeatures&) const = default;
};

// A profile is plain data: clear bits of `allowed` to take a control away, and the VMCS fields that
// depend on it disappear with it. What a LogicalProcessor gets offers no more than the model
// executes (implemented.h); what a processor of silicon has, says profiles.h.
struct CapabilityProfile {
  std::string name;
  uint32_t revision = 0;                       // VMCS revision identifier, bit 31 clear
  bool exception_error_code_optional = false;  // IA32_VMX_BASIC[56]
  ControlRange pin, proc, proc2, exit, entry;  // proc2 has no default1 bits
  uint64_t proc3 = 0;   // IA32_VMX_PROCBASED_CTLS3: tertiary controls that may be 1
  uint64_t exit2 = 0;   // IA32_VMX_EXIT_CTLS2: secondary VM-exit controls that may be 1
  uint64_t vmfunc = 0;  // IA32_VMX_VMFUNC: VM-function controls that may be 1
  uint8_t preemption_timer_shift = 0;  // the timer counts at TSC >> shift, 0-31
  bool activity_hlt = true, activity_shutdown = true, activity_wait_for_sipi = true;
  uint8_t cr3_targets = 4;         // 0-4
  bool vmwrite_any_field = true;   // IA32_VMX_MISC[29]
  bool inject_zero_length = true;  // IA32_VMX_MISC[30]
  bool dual_monitor = false;       // IA32_VMX_BASIC[49]
  // Bits of IA32_VMX_MISC that no model code looks at: 14 Intel PT in VMX operation, 15 RDMSR of
  // IA32_SMBASE in SMM, 27:25 size of MSR lists, 28 IA32_SMM_MONITOR_CTL[2], 63:32 MSEG revision.
  uint64_t misc_other = 0;
  uint64_t cr0_fixed0 = 0x80000021, cr0_fixed1 = 0xffffffff;
  uint64_t cr4_fixed0 = 0x2000, cr4_fixed1 = 0x2000;
  uint64_t ept_vpid = 0;  // IA32_VMX_EPT_VPID_CAP, eptcap bits
  ProcessorFeatures features;

  // Value of a capability MSR (480H-493H); nullopt where RDMSR raises #GP(0).
  std::optional<uint64_t> msr(uint32_t index) const;
  // Does the field exist on this processor? SDM vol. 3D, "Field Encoding in VMCS": the footnotes
  // "this field exists only on processors that support ...".
  bool has_field(uint32_t encoding) const;
  bool activity_supported(uint64_t activity) const;
};

// The default: a Xeon of the Skylake-SP kind, as far as the model executes it.
CapabilityProfile server_capabilities();

// The CR4 bits a processor with these CPUID leaves implements.
// SDM vol. 3A, "Control Registers".
uint64_t cr4_supported(const x86::CpuidTable& cpuid);

}  // namespace cupel::vtx
