// What loaders do with the loadable parts of an image: check them against RAM, copy them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/boot/elf_image.h"
#include "core/error.h"
#include "core/guest_memory.h"

namespace cupel::boot {

// Each segment must lie inside one range of RAM of memory_map(ram), and in no other segment.
// what: the image in messages, "PVH image". Errors: bad_input, naming segment and address.
Result<void> check_segments(std::string_view what, const std::vector<ElfSegment>& segments,
                            uint64_t ram);
// Copies them and clears the rest of their memory. They must have been checked.
void load_segments(const std::vector<ElfSegment>& segments, GuestMemory& memory);
// The first physical address behind all of them, at least 1 MiB.
uint64_t end_of(const std::vector<ElfSegment>& segments);

// "0x100000", for messages.
std::string hex(uint64_t value);

}  // namespace cupel::boot
