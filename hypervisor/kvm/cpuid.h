// CPUID of a KVM guest: what the platform wants to show, as far as this host can execute it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/error.h"
#include "core/x86/cpuid.h"
#include "hypervisor/kvm/system.h"
#include "hypervisor/vm/guest_platform.h"

namespace cupel::kvm {

struct CpuidEntry {
  uint32_t leaf = 0, subleaf = 0;
  bool indexed = false;
  x86::CpuidLeaf value;
};

// Every leaf the platform answers, in order of (leaf, subleaf).
std::vector<CpuidEntry> platform_leaves(vm::GuestPlatform& platform);

// Features that `supported` lacks are taken out, but for those that the platform's own chips
// provide (local APIC, x2APIC, TSC deadline timer) or KVM keeps up to date itself (OSXSAVE,
// OSPKE). Address widths are cut to the host's. Leaf 15H tells the guest's real TSC frequency.
void restrict_leaves(std::vector<CpuidEntry>& leaves, const std::vector<CpuidEntry>& supported,
                     uint32_t tsc_khz);

// KVM_GET_SUPPORTED_CPUID. Errors: environment.
Result<std::vector<CpuidEntry>> supported_leaves(const System& system);

// What a guest's platform is made for: the processor as KVM offers it to guests.
struct HostProcessor {
  x86::CpuidTable cpuid;
  uint64_t tsc_hz = 0;  // of guests; 0: unknown
};
// Errors: environment, as available().
Result<HostProcessor> host_processor();

// KVM_SET_CPUID2 with the restricted leaves. Errors: environment.
Result<void> set_cpuid(const FileDescriptor& vcpu, const std::vector<CpuidEntry>& leaves);

}  // namespace cupel::kvm
