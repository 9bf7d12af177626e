// The guest's architectural state, to and from the current VMCS and the processor. Freestanding.
// SDM vol. 3C, "Guest-State Area".
#pragma once

#include <array>
#include <cstdint>

#include "core/result.h"
#include "core/x86/cpu_state.h"
#include "hypervisor/vmx/vcpu_context.h"

namespace cupel::vmx {

// CR0 and CR4 as the guest sees them; writing sets the real register and the read shadow.
uint64_t guest_cr0(VcpuContext& vcpu);
uint64_t guest_cr4(VcpuContext& vcpu);
void set_guest_cr0(VcpuContext& vcpu, uint64_t value);
void set_guest_cr4(VcpuContext& vcpu, uint64_t value);
// EFER together with the "IA-32e mode guest" entry control, which must agree with LMA.
void write_efer(VcpuContext& vcpu, uint64_t value);
std::array<uint64_t, 4> read_pdptes(VcpuContext& vcpu);
void write_pdptes(VcpuContext& vcpu, const std::array<uint64_t, 4>& pdpte);

// CR8 is bits 7:4 of the local APIC's task priority, which belongs to the platform.
uint64_t read_task_priority(VcpuContext& vcpu);
void write_task_priority(VcpuContext& vcpu, uint64_t cr8);

// The whole state. Loading drops waiting events. Errors: bad_state (an activity that cannot run
// here), capability_missing (an MSR the processor refuses), vmx_instruction.
x86::CpuState read_state(VcpuContext& vcpu);
Result<void, Fault> write_state(VcpuContext& vcpu, const x86::CpuState& state);

}  // namespace cupel::vmx
