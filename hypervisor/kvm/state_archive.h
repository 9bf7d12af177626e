// Everything KVM knows of a vCPU, as bytes: for snapshots on the same kind of host.
#pragma once

#include "core/archive.h"
#include "core/error.h"
#include "hypervisor/kvm/virtual_machine.h"

namespace cupel::kvm {

// A KVM request that fails while saving leaves zeros and is named in the result.
Result<void> save_vcpu(VirtualMachine& vm, ArchiveWriter& out);
// Errors: bad_input (not such an archive), environment (KVM refuses the state).
Result<void> restore_vcpu(VirtualMachine& vm, ArchiveReader& in);

}  // namespace cupel::kvm
