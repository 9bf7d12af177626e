// Where RAM starts, ends and has holes on this platform, and tables that loaders share.
#pragma once

#include <cstdint>
#include <vector>

#include "core/error.h"
#include "core/guest_memory.h"
#include "core/types.h"
#include "core/x86/cpu_state.h"

namespace cupel::boot {

// RAM starts at 0 and must end below the PCI window.
inline constexpr uint64_t kSmallestRam = 2_MiB;
inline constexpr uint64_t kLargestRam = 0xe0000000;
inline constexpr uint64_t kLowRamEnd = 0x9fc00;  // the extended BIOS data area would start here
inline constexpr uint64_t kHighRamStart = 1_MiB;

enum class MemoryType : uint32_t { ram = 1, reserved = 2 };  // E820 and PVH numbers
struct MemoryRange {
  Gpa start;
  uint64_t length = 0;
  MemoryType type = MemoryType::ram;
};
// ram: bytes from address 0 up; above_4g: bytes from 4 GiB up. Ascending, without overlaps; what is
// in none of the ranges is no RAM. 0xf0000-0xfffff is reserved for firmware tables.
std::vector<MemoryRange> memory_map(uint64_t ram, uint64_t above_4g = 0);
// bad_input outside kSmallestRam .. kLargestRam, or when not whole pages.
Result<void> check_ram_size(uint64_t ram);

// Identity-maps the first 4 GiB with 2 MiB pages in six pages from `at`; returns CR3.
uint64_t write_identity_map(GuestMemory& memory, Gpa at);
inline constexpr uint64_t kIdentityMapBytes = 6 * kPageSize;

// Writes a GDT and sets GDTR, IDTR (empty) and flat segments: code 0x10, data 0x18, TSS 0x20.
inline constexpr uint64_t kFlatGdtBytes = 5 * 8;
enum class CodeWidth : uint8_t { bits32, bits64 };
void load_flat_segments(GuestMemory& memory, Gpa gdt, CodeWidth width, x86::CpuState& state);

}  // namespace cupel::boot
