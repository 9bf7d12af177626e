#include "core/boot/boot_memory.h"

#include <array>
#include <string>

namespace cupel::boot {

std::vector<MemoryRange> memory_map(uint64_t ram, uint64_t above_4g) {
  std::vector<MemoryRange> map{
      {Gpa(0), kLowRamEnd, MemoryType::ram},
      {Gpa(kLowRamEnd), 0xa0000 - kLowRamEnd, MemoryType::reserved},
      {Gpa(0xf0000), 0x10000, MemoryType::reserved},
  };
  if (ram > kHighRamStart)
    map.push_back({Gpa(kHighRamStart), ram - kHighRamStart, MemoryType::ram});
  if (above_4g != 0) map.push_back({Gpa(4_GiB), above_4g, MemoryType::ram});
  return map;
}

Result<void> check_ram_size(uint64_t ram) {
  if (ram >= kSmallestRam && ram <= kLargestRam && ram % kPageSize == 0) return {};
  return fail(ErrorKind::bad_input,
              "a machine with " + std::to_string(ram) + " bytes of RAM is not possible",
              "give whole pages, from 2 MiB to 3584 MiB");
}

// SDM vol. 3A, "4-Level Paging": PML4, PDPT, four page directories.
uint64_t write_identity_map(GuestMemory& memory, Gpa at) {
  constexpr uint64_t kPresentWritable = 3, kLargePage = 1 << 7;
  const Gpa pdpt = at + kPageSize;
  memory.write(at, pdpt.value() | kPresentWritable);
  for (uint64_t gib = 0; gib < 4; ++gib) {
    const Gpa directory = pdpt + kPageSize * (1 + gib);
    memory.write(pdpt + 8 * gib, directory.value() | kPresentWritable);
    for (uint64_t i = 0; i < 512; ++i)
      memory.write(directory + 8 * i, (gib << 30 | i << 21) | kPresentWritable | kLargePage);
  }
  return at.value();
}

void load_flat_segments(GuestMemory& memory, Gpa gdt, CodeWidth width, x86::CpuState& state) {
  using x86::Seg;
  const bool wide = width == CodeWidth::bits64;
  const std::array<uint64_t, 5> table{
      0, 0, wide ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull, 0x00cf93000000ffffull,
      0x00008b000000ffffull | gdt.value() << 16};  // TSS, never used
  static_assert(sizeof table == kFlatGdtBytes);
  memory.write(gdt, table);
  state.gdtr = {gdt.value(), static_cast<uint16_t>(sizeof table - 1)};
  state.idtr = {0, 0};
  const x86::Segment data{0x18, 0xc093, 0xffffffff, 0};
  for (const Seg s : {Seg::es, Seg::ss, Seg::ds, Seg::fs, Seg::gs}) state[s] = data;
  state[Seg::cs] = {0x10, wide ? 0xa09bu : 0xc09bu, 0xffffffff, 0};
  state[Seg::tr] = {0x20, 0x8b, 0x67, 0};
  state[Seg::ldtr] = {};
}

}  // namespace cupel::boot
