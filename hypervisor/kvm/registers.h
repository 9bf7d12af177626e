// The architectural state of a KVM vCPU, to and from CpuState.
#pragma once

#include "core/error.h"
#include "core/types.h"
#include "core/x86/cpu_state.h"
#include "hypervisor/kvm/virtual_machine.h"

namespace cupel::kvm {

// Both expect that no port or memory access of the guest is half done (complete it first).
// `activity` is the caller's: KVM without in-kernel interrupt controllers does not know HLT.
// `now` is the virtual time that tsc_offset counts from. Errors: environment.
Result<x86::CpuState> read_state(VirtualMachine& vm, Nanoseconds now);
Result<void> write_state(VirtualMachine& vm, const x86::CpuState& state, Nanoseconds now);

// KVM's segment cache against the VMCS access-rights format of x86::Segment.
kvm_segment to_kvm(const x86::Segment& segment);
x86::Segment from_kvm(const kvm_segment& segment);

}  // namespace cupel::kvm
