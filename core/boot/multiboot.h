// Loads a Multiboot 1 image. Source: Multiboot Specification 0.6.96, "Machine state" and "Boot
// information format".
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/error.h"
#include "core/guest_memory.h"
#include "core/x86/cpu_state.h"

namespace cupel::boot {

struct BootModule {
  std::span<const std::byte> bytes = {};  // may be empty
  std::string_view command_line = {};     // by convention its name, then arguments
};

struct MultibootImage {
  std::span<const std::byte> file = {};
  std::span<const BootModule> modules = {};
  std::string_view command_line = {};  // by convention the image's name first
  std::string_view loader_name = "cupel";
};

// Places the image; modules on page boundaries behind it, in order; and, in the first free part of
// 64-512 KiB, the information with strings, module list and memory map. Information: flags 0
// (memory), 2 (command line), 3 (modules), 6 (memory map) and 9 (loader name); a wished video mode
// is not there, so flags 11 and 12 stay clear. Returns the state at the entry point: 32-bit
// protected mode, paging and interrupts off, flat segments, EAX = 0x2badb002, EBX = information.
// ESP is undefined, here 0.
//
// Errors: bad_input for an image that is none or contradicts itself, strings with zero bytes, and
// RAM too small for what was given. Memory is then as it was.
Result<x86::CpuState> load_multiboot(const MultibootImage& image, GuestMemory& memory);

}  // namespace cupel::boot
