// What a processor model says of itself.
#pragma once

#include <map>
#include <string>

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

}  // namespace cupel::cpu
