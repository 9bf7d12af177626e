// What a Multiboot image says about itself. Source: Multiboot Specification 0.6.96, "OS image
// format".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/boot/elf_image.h"
#include "core/error.h"

namespace cupel::boot {

// Section "The layout of Multiboot header".
struct MultibootHeader {
  static constexpr uint32_t kMagic = 0x1badb002;
  static constexpr uint32_t kPageAlign = 1u << 0;   // modules on page boundaries
  static constexpr uint32_t kMemoryInfo = 1u << 1;  // wants mem_lower, mem_upper
  static constexpr uint32_t kVideoMode = 1u << 2;   // wishes a video mode
  static constexpr uint32_t kAddresses = 1u << 16;  // the addresses below are valid

  size_t offset = 0;  // in the file
  uint32_t flags = 0;
  uint32_t header_addr = 0, load_addr = 0, load_end_addr = 0, bss_end_addr = 0, entry_addr = 0;
};

// The first header whose checksum is right, 4-byte aligned and complete within the first 8192
// bytes. Errors: bad_input when there is none (a magic number with a wrong checksum is named), when
// its addresses are cut off, and for requirements (flags 0-15) other than the three above.
Result<MultibootHeader> find_multiboot_header(std::span<const std::byte> file);

// Is there a header with a right checksum? It may still ask for the impossible.
bool has_multiboot_header(std::span<const std::byte> file);

// Where the image goes and starts. Entry and segments are not yet checked against RAM.
struct MultibootProgram {
  std::vector<ElfSegment> segments;  // not empty
  Gpa entry;                         // in one of them
};
// By the header's addresses if it has them, else by the ELF program headers (32 or 64 bits, by
// physical address). Errors: bad_input for addresses that contradict each other or the file.
Result<MultibootProgram> multiboot_program(std::span<const std::byte> file,
                                           const MultibootHeader& header);

}  // namespace cupel::boot
