// What CPUID answers for one leaf. Freestanding. SDM vol. 2A, "CPUID—CPU Identification".
#pragma once

#include <cstdint>

namespace cupel::x86 {

struct CpuidLeaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  bool operator==(const CpuidLeaf&) const = default;
};

}  // namespace cupel::x86
