#include "hypervisor/vmx/exits/handlers.h"

namespace cupel::vmx {

using namespace x86;

Outcome handle_cpuid(VcpuContext& vcpu) {
  const auto leaf = static_cast<uint32_t>(vcpu.regs[Gpr::rax]);
  CpuidLeaf value = vcpu.cpuid.get(vcpu.platform, leaf, static_cast<uint32_t>(vcpu.regs[Gpr::rcx]));
  // Two bits mirror CR4, which the platform does not see. SDM vol. 2A, "CPUID".
  constexpr uint32_t xsave = 1u << 26, osxsave = 1u << 27;
  if (leaf == 1 && (value.ecx & xsave) != 0) {
    const bool on = (vcpu.vmcs.get(FieldN::guest_cr4) & cr4::OSXSAVE) != 0;
    value.ecx = (value.ecx & ~osxsave) | (on ? osxsave : 0);
  } else if (leaf == 7 && value.ecx != 0) {
    constexpr uint32_t ospke = 1u << 4;
    const bool on = (vcpu.vmcs.get(FieldN::guest_cr4) & cr4::PKE) != 0;
    value.ecx = (value.ecx & ~ospke) | (on ? ospke : 0);
  }
  vcpu.regs[Gpr::rax] = value.eax;
  vcpu.regs[Gpr::rbx] = value.ebx;
  vcpu.regs[Gpr::rcx] = value.ecx;
  vcpu.regs[Gpr::rdx] = value.edx;
  return vcpu.advance();
}

}  // namespace cupel::vmx
