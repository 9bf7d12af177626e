// What the boot loader tells: command line and modules. Freestanding.
// Multiboot Specification 0.6.96, "Boot information format"; Xen "x86/HVM direct boot ABI".
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cupel::metal {

struct BootInfo {
  // magic, information: as the boot stub got them.
  BootInfo(uint32_t magic, uint64_t information);

  const char* command_line = "";
  // The first module and its own command line; empty when there is none.
  std::span<const std::byte> module;
  const char* module_command_line = "";
};

}  // namespace cupel::metal
