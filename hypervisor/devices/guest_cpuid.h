// Which of the processor's features a guest may see.
#pragma once

#include <cstdint>

#include "core/x86/cpuid.h"

namespace cupel::devices {

struct GuestCpuidOptions {
  bool local_apic = false;
  bool tsc_deadline = false;        // only with local_apic
  bool arch_capabilities = false;   // IA32_ARCH_CAPABILITIES exists
  uint64_t tsc_hz = 1'000'000'000;  // multiple of 1 Hz, below 2^32
};

// A whitelist: leaves and feature bits that are not known to be safe stay away. What a guest never
// sees: VMX and SVM, MONITOR, PCID, XSAVE and all that needs it (CpuState keeps the FXSAVE area
// only), performance monitoring, power management, the host's own hypervisor leaves, and without
// `local_apic` the APIC. What it sees beside the host's features: the hypervisor bit, leaf
// 0x40000000 with "CupelCupel", the TSC frequency in leaves 15H and 16H, an invariant TSC.
// Source: SDM vol. 2A, "CPUID—CPU Identification".
x86::CpuidTable guest_cpuid(const x86::CpuidTable& host, const GuestCpuidOptions& options);

}  // namespace cupel::devices
