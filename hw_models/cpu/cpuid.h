// What a processor model says of itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/x86/cpuid.h"

namespace cupel::cpu {

// CPUID leaves of the model; features never promise what the engine cannot execute (no AVX, no
// XSAVE, no RDRAND/RDSEED, no PCID). The VMX bit (leaf 1 ECX[5]) is set when the model has VT-x.
struct CpuidProfile {
  std::string name;
  x86::CpuidTable table;
  uint8_t physical_bits = 40;
  uint8_t linear_bits = 48;
};

// The default: an Intel server processor with VT-x as far as the engine executes it.
// `tsc_hz` fills leaves 15H and 16H.
CpuidProfile server_profile(uint64_t tsc_hz = 1'000'000'000);

// The feature words of CPUID. SDM vol. 2A, "CPUID-CPU Identification".
struct FeatureWords {
  uint32_t ecx1 = 0, edx1 = 0;                        // leaf 1
  uint32_t ebx7 = 0, ecx7 = 0, edx7 = 0, eax7_1 = 0;  // leaf 7, subleaves 0 and 1
  uint32_t ecx_extended = 0, edx_extended = 0;        // leaf 80000001H
  FeatureWords operator&(const FeatureWords& o) const;
  bool operator==(const FeatureWords&) const = default;
};

// Features that the engine executes: what any profile may promise. The one place to extend.
const FeatureWords& executable_features();

// A processor of silicon by the name of its VT-x profile ("haswell"): what its CPUID says.
struct Silicon {
  const char* name;
  const char* brand;
  uint32_t signature;  // leaf 1 EAX: family, model, stepping
  uint32_t max_leaf;
  uint8_t physical_bits, linear_bits;
  FeatureWords features;
};
// nullptr: there is none of that name. "server" is no silicon.
const Silicon* silicon(std::string_view name);

// The silicon as far as the engine executes it: features both have, widths of the engine where the
// silicon's are larger. "server" gives server_profile(). nullopt: no such profile.
std::optional<CpuidProfile> cpuid_profile(std::string_view name, uint64_t tsc_hz = 1'000'000'000);

}  // namespace cupel::cpu
