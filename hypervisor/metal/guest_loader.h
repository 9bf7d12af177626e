// Puts a PVH image into guest RAM. Freestanding.
// Xen "x86/HVM direct boot ABI"; ELF-64 Object File Format 1.5.
#pragma once

#include <cstddef>
#include <span>

#include "core/guest_ram.h"
#include "core/result.h"
#include "core/x86/cpu_state.h"

namespace cupel::metal {

enum class LoadError : uint8_t {
  not_elf64,     // no ELF64 header, or program headers outside the file
  no_pvh_entry,  // no XEN_ELFNOTE_PHYS32_ENTRY
  does_not_fit,  // a segment lies outside RAM, or below 1 MiB where the start info stands
};
const char* to_string(LoadError error);

// The state in which the image starts: 32-bit protected mode, flat, EBX at the start info.
Result<x86::CpuState, LoadError> load_guest(std::span<const std::byte> image,
                                            const char* command_line, GuestRam& ram);

}  // namespace cupel::metal
