#include "hypervisor/vmx/capabilities.h"

#include "core/x86/msr.h"
#include "core/x86/vmx_controls.h"

namespace cupel::vmx {
namespace {

struct Row {
  uint32_t msr;
  uint32_t true_msr;  // 0: there is none
  uint64_t VmxCapabilities::*target;
};

constexpr Row kRows[] = {
    {x86::msr::VMX_MISC, 0, &VmxCapabilities::misc},
    {x86::msr::VMX_PINBASED, x86::msr::VMX_TRUE_PINBASED, &VmxCapabilities::pin},
    {x86::msr::VMX_PROCBASED, x86::msr::VMX_TRUE_PROCBASED, &VmxCapabilities::primary},
    {x86::msr::VMX_EXIT, x86::msr::VMX_TRUE_EXIT, &VmxCapabilities::exit},
    {x86::msr::VMX_ENTRY, x86::msr::VMX_TRUE_ENTRY, &VmxCapabilities::entry},
    {x86::msr::VMX_CR0_FIXED0, 0, &VmxCapabilities::cr0_fixed0},
    {x86::msr::VMX_CR0_FIXED1, 0, &VmxCapabilities::cr0_fixed1},
    {x86::msr::VMX_CR4_FIXED0, 0, &VmxCapabilities::cr4_fixed0},
    {x86::msr::VMX_CR4_FIXED1, 0, &VmxCapabilities::cr4_fixed1},
};

Failure<Fault> missing(uint32_t msr) {
  Fault fault;
  fault.kind = FaultKind::capability_missing;
  fault.number = msr;
  return Failure(fault);
}

}  // namespace

Result<VmxCapabilities, Fault> VmxCapabilities::read(x86::VmxCpu& cpu) {
  VmxCapabilities caps;
  if (!cpu.rdmsr(x86::msr::VMX_BASIC, caps.basic)) return missing(x86::msr::VMX_BASIC);
  const bool has_true = (caps.basic >> 55 & 1) != 0;
  for (const Row& row : kRows) {
    const uint32_t msr = has_true && row.true_msr != 0 ? row.true_msr : row.msr;
    if (!cpu.rdmsr(msr, caps.*row.target)) return missing(msr);
  }
  // The following MSRs exist only where the control that announces them may be set.
  if ((caps.primary >> 32 & x86::proc::secondary_controls) != 0) {
    if (!cpu.rdmsr(x86::msr::VMX_PROCBASED2, caps.secondary)) {
      return missing(x86::msr::VMX_PROCBASED2);
    }
    const uint32_t allowed = static_cast<uint32_t>(caps.secondary >> 32);
    if ((allowed & (x86::proc2::enable_ept | x86::proc2::enable_vpid)) != 0 &&
        !cpu.rdmsr(x86::msr::VMX_EPT_VPID_CAP, caps.ept_vpid)) {
      return missing(x86::msr::VMX_EPT_VPID_CAP);
    }
  }
  return caps;
}

}  // namespace cupel::vmx
