// Exits that need a line or two.
#include "core/x86/exit_qualification.h"
#include "hypervisor/vmx/exits/handlers.h"

namespace cupel::vmx {

using namespace x86;

Outcome handle_back_to_loop(VcpuContext&) { return Outcome::resume; }

Outcome handle_skip(VcpuContext& vcpu) { return vcpu.advance(); }

Outcome handle_hlt(VcpuContext& vcpu) {
  vcpu.halted = true;
  return vcpu.advance();
}

Outcome handle_invalid_opcode(VcpuContext& vcpu) { return vcpu.raise(kUD); }

Outcome handle_rdpmc(VcpuContext& vcpu) { return vcpu.raise(kGP, 0); }

Outcome handle_triple_fault(VcpuContext&) { return Outcome::triple_fault; }

// The exception bitmap is empty, so that only an NMI of the host arrives here.
Outcome handle_exception_or_nmi(VcpuContext& vcpu) {
  const auto info = InterruptionInfo::decode(vcpu.vmcs.get(Field32::exit_interruption_info));
  return info.type == EventType::nmi ? Outcome::resume : handle_unexpected(vcpu);
}

Outcome handle_unexpected(VcpuContext& vcpu) { return vcpu.stop(FaultKind::unhandled_exit); }

Outcome handle_entry_failure(VcpuContext& vcpu) { return vcpu.stop(FaultKind::entry_failure); }

// The platform offers XCR0 bits in CPUID leaf 0DH, subleaf 0. Entries switch nothing beyond the
// FXSAVE area, so that no more than x87 and SSE state can be turned on whatever it offers.
Outcome handle_xsetbv(VcpuContext& vcpu) {
  constexpr uint64_t x87 = 1, sse = 2;
  const auto index = static_cast<uint32_t>(vcpu.regs[Gpr::rcx]);
  const uint64_t value = (vcpu.regs[Gpr::rax] & 0xffffffff) | (vcpu.regs[Gpr::rdx] & 0xffffffff)
                                                                  << 32;
  const CpuidLeaf leaf = vcpu.platform.cpuid(0xd, 0);
  const uint64_t offered = (leaf.eax | static_cast<uint64_t>(leaf.edx) << 32) & (x87 | sse);
  if (vcpu.cpl() != 0 || index != 0 || (value & x87) == 0 || (value & ~offered) != 0) {
    return vcpu.raise(kGP, 0);
  }
  vcpu.xcr0 = value;
  vcpu.cpuid.clear();
  return vcpu.advance();
}

}  // namespace cupel::vmx
