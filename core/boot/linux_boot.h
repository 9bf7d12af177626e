// Loads a Linux bzImage for its 64-bit entry point. Source: Linux Documentation/arch/x86/boot.rst
// and zero-page.rst, boot protocol 2.12.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "core/error.h"
#include "core/guest_memory.h"
#include "core/x86/cpu_state.h"

namespace cupel::boot {

struct LinuxImage {
  std::span<const std::byte> kernel;
  std::span<const std::byte> initrd;  // may be empty
  std::string_view command_line;      // without a terminating zero
  Gpa rsdp = {};                      // ACPI's root pointer; 0: the kernel looks for itself
};

// Places kernel, initrd, command line, boot_params, page tables for the first 4 GiB and a GDT in
// guest RAM, and returns the state in which the kernel starts. Errors: bad_input for an image that
// is not a 64-bit bzImage or contradicts itself, and for RAM too small for what was given.
Result<x86::CpuState> load_linux(const LinuxImage& image, GuestMemory& memory);

}  // namespace cupel::boot
