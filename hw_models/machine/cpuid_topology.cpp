#include "hw_models/machine/cpuid_topology.h"

#include <bit>

namespace cupel::machine {

cpu::CpuidProfile with_topology(cpu::CpuidProfile profile, unsigned number, unsigned count) {
  auto& t = profile.table;
  const unsigned ids = std::bit_ceil(count);
  const auto bits = static_cast<uint32_t>(std::bit_width(ids) - 1);
  auto& features = t.at(1);
  features.ebx = (features.ebx & 0xffff) | ids << 16 | number << 24;
  features.ecx |= 1u << 24;                 // TSC deadline
  if (count > 1) features.edx |= 1u << 28;  // EBX[23:16] is valid
  for (uint32_t cache = 0; t.get(4, cache).eax != 0; ++cache) {
    auto& leaf = t.at(4, cache);
    leaf.eax = (leaf.eax & 0x03ffffff) | (ids - 1) << 26;
  }
  if (t.indexed(0xb)) {
    t.set(0xb, 0, {0, 1, 0x100, number});         // threads of a core
    t.set(0xb, 1, {bits, count, 0x201, number});  // cores of the package
    t.set(0xb, 2, {0, 0, 2, number});
  }
  return profile;
}

}  // namespace cupel::machine
