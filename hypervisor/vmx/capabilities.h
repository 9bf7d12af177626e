// What one processor's VT-x can do, read once. Freestanding.
// SDM vol. 3D, appendix "VMX Capability Reporting Facility".
#pragma once

#include <cstdint>

#include "core/result.h"
#include "core/x86/vmx_cpu.h"
#include "hypervisor/vmx/fault.h"

namespace cupel::vmx {

struct VmxCapabilities {
  uint64_t basic = 0, misc = 0;
  // Control capability MSRs: the TRUE variant where the processor has it. Bits 31:0 must be one,
  // bits 63:32 may be one.
  uint64_t pin = 0, primary = 0, secondary = 0, exit = 0, entry = 0;
  uint64_t cr0_fixed0 = 0, cr0_fixed1 = 0, cr4_fixed0 = 0, cr4_fixed1 = 0;
  uint64_t ept_vpid = 0;

  uint32_t revision() const { return static_cast<uint32_t>(basic & 0x7fffffff); }
  // The preemption timer counts down once every 2^rate TSC cycles.
  unsigned timer_rate() const { return static_cast<unsigned>(misc & 31); }
  bool ept_walk4() const { return (ept_vpid >> 6 & 1) != 0; }
  bool ept_write_back() const { return (ept_vpid >> 14 & 1) != 0; }
  bool ept_2m() const { return (ept_vpid >> 16 & 1) != 0; }
  bool ept_1g() const { return (ept_vpid >> 17 & 1) != 0; }
  bool ept_accessed_dirty() const { return (ept_vpid >> 21 & 1) != 0; }
  bool invept_single() const { return (ept_vpid >> 20 & ept_vpid >> 25 & 1) != 0; }
  bool invept_all() const { return (ept_vpid >> 20 & ept_vpid >> 26 & 1) != 0; }
  bool invvpid_single() const { return (ept_vpid >> 32 & ept_vpid >> 41 & 1) != 0; }
  bool invvpid_all() const { return (ept_vpid >> 32 & ept_vpid >> 42 & 1) != 0; }

  // Errors: capability_missing (number = MSR).
  static Result<VmxCapabilities, Fault> read(x86::VmxCpu& cpu);
};

}  // namespace cupel::vmx
