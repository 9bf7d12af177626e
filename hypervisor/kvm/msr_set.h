// Reading and writing MSRs of a vCPU from outside the guest.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/error.h"
#include "hypervisor/kvm/file_descriptor.h"
#include "hypervisor/kvm/system.h"

namespace cupel::kvm {

struct MsrValue {
  uint32_t index = 0;
  uint64_t value = 0;
};

// The MSRs that KVM says a saved guest needs. Errors: environment.
Result<std::vector<uint32_t>> saved_msrs(const System& system);

// Values in order of `indexes`. MSRs that KVM refuses to read are left out.
std::vector<MsrValue> read_msrs(const FileDescriptor& vcpu, std::span<const uint32_t> indexes);

// Writing zero to an MSR that this host does not have is no error: it is what the guest had.
// Errors: environment, naming the MSR.
Result<void> write_msrs(const FileDescriptor& vcpu, std::span<const MsrValue> values);

}  // namespace cupel::kvm
