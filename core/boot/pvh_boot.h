// Loads an ELF image with a PVH entry point. Source: Xen public headers arch-x86/hvm/start_info.h
// and elfnote.h; the ABI is "x86/HVM direct boot".
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/error.h"
#include "core/guest_memory.h"
#include "core/x86/cpu_state.h"

namespace cupel::boot {

struct PvhImage {
  std::span<const std::byte> elf;     // ELF32 or ELF64, x86
  std::span<const std::byte> module;  // initrd; may be empty
  std::string_view command_line;
  Gpa rsdp = {};  // ACPI's root pointer; 0: there is no ACPI
};

// Places the loadable segments, module, command line and start_info in guest RAM, and returns the
// state at the entry point: 32-bit protected mode, paging off, EBX = start_info. Errors: bad_input
// for an image without the XEN_ELFNOTE_PHYS32_ENTRY note, one that contradicts itself, or one that
// does not fit.
Result<x86::CpuState> load_pvh(const PvhImage& image, GuestMemory& memory);

}  // namespace cupel::boot
