// The exit handlers, one a group of reasons. Freestanding.
#pragma once

#include "hypervisor/vmx/vcpu_context.h"

namespace cupel::vmx {

Outcome handle_cpuid(VcpuContext& vcpu);
Outcome handle_io(VcpuContext& vcpu);
Outcome handle_rdmsr(VcpuContext& vcpu);
Outcome handle_wrmsr(VcpuContext& vcpu);
Outcome handle_cr_access(VcpuContext& vcpu);
Outcome handle_ept_violation(VcpuContext& vcpu);

// simple.cpp
Outcome handle_back_to_loop(VcpuContext& vcpu);  // the loop itself does what is due
Outcome handle_skip(VcpuContext& vcpu);          // the instruction does nothing here
Outcome handle_hlt(VcpuContext& vcpu);
Outcome handle_invalid_opcode(VcpuContext& vcpu);  // the guest is not told of the instruction
Outcome handle_rdpmc(VcpuContext& vcpu);
Outcome handle_triple_fault(VcpuContext& vcpu);
Outcome handle_exception_or_nmi(VcpuContext& vcpu);
Outcome handle_xsetbv(VcpuContext& vcpu);
Outcome handle_unexpected(VcpuContext& vcpu);  // stops loudly
Outcome handle_entry_failure(VcpuContext& vcpu);

// MOVS, STOS and LODS with an operand outside RAM; `in` is at the guest's RIP.
Outcome emulate_string(VcpuContext& vcpu, GuestAccess& access, const MmioInstruction& in);

// Iterations of one REP instruction in one exit: bounded, so that interrupts get in.
inline constexpr uint64_t kRepBurst = 1024;

}  // namespace cupel::vmx
