// The parts of an ELF executable that a loader needs, validated.
// Source: System V ABI, "ELF Header", "Program Header", "Note Section".
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/error.h"
#include "core/types.h"

namespace cupel::boot {

struct ElfSegment {
  Gpa physical;
  std::span<const std::byte> bytes;  // in the file
  uint64_t memory_size = 0;          // rest is zero
  Gva linear;                        // where the image is linked to find it
};

struct ElfImage {
  std::vector<ElfSegment> segments;   // PT_LOAD, in file order, not empty
  std::optional<uint64_t> pvh_entry;  // XEN_ELFNOTE_PHYS32_ENTRY
  uint64_t entry = 0;                 // e_entry, as it stands in the file

  // e_entry as a physical address: images name it as they are linked, or physically. Empty: it
  // lies in no segment either way.
  std::optional<Gpa> physical_entry() const;
};

// Everything returned lies inside `file`, which must outlive it. Errors: bad_input.
Result<ElfImage> parse_elf(std::span<const std::byte> file);
bool is_elf(std::span<const std::byte> file);

}  // namespace cupel::boot
