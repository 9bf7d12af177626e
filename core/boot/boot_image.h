// Any image that can be booted: recognized by its bytes, loaded by the loader of its kind.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/boot/multiboot.h"
#include "core/error.h"
#include "core/guest_memory.h"
#include "core/x86/cpu_state.h"

namespace cupel::boot {

enum class ImageKind : uint8_t { multiboot, pvh, linux_bzimage };
std::string_view to_string(ImageKind kind);

// By a Multiboot header, a PVH note of an ELF file, or a Linux setup header; the first of these in
// this order when it has several. Says nothing yet about whether the image is sound. Errors:
// bad_input, listing what was looked for and, for a few well-known file types, what it is instead.
Result<ImageKind> recognize_image(std::span<const std::byte> file);

struct BootImage {
  std::span<const std::byte> file = {};
  std::string_view command_line = {};
  std::span<const BootModule> modules = {};  // PVH and Linux: at most one, the initrd
  Gpa rsdp = {};                             // ACPI's root pointer, for PVH and Linux; 0: none
  std::optional<ImageKind> kind = {};        // empty: recognized
};

// Places everything in memory and returns the state of the first processor at the entry point.
// Errors: bad_input, by the loaders.
Result<x86::CpuState> load_image(const BootImage& image, GuestMemory& memory);

}  // namespace cupel::boot
