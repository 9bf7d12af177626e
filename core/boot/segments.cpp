#include "core/boot/segments.h"

#include <algorithm>
#include <cstdio>

#include "core/boot/boot_memory.h"

namespace cupel::boot {
namespace {

bool inside(const MemoryRange& range, uint64_t start, uint64_t length) {
  return start >= range.start.value() && start - range.start.value() <= range.length &&
         length <= range.length - (start - range.start.value());
}

Result<void> check_place(const std::string& name, const ElfSegment& segment, uint64_t ram) {
  const uint64_t start = segment.physical.value();
  const auto map = memory_map(ram);
  const auto usable = [&](uint64_t length) {
    return std::any_of(map.begin(), map.end(), [&](const MemoryRange& r) {
      return r.type == MemoryType::ram && inside(r, start, length);
    });
  };
  if (usable(segment.memory_size)) return {};
  // Behind the RAM there is, but not behind what there could be: a matter of size.
  if (start >= kHighRamStart && start < kLargestRam)
    return fail(ErrorKind::bad_input,
                name + " at " + hex(start) + ", " + hex(segment.memory_size) +
                    " bytes, does not fit into " + std::to_string(ram >> 20) + " MiB of RAM",
                "give it more memory");
  return fail(ErrorKind::bad_input,
              name + " is placed at " + hex(start) + ", where " + hex(segment.memory_size) +
                  " bytes are not RAM",
              "link the image for physical addresses from 1 MiB upward");
}

}  // namespace

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

Result<void> check_segments(std::string_view what, const std::vector<ElfSegment>& segments,
                            uint64_t ram) {
  for (size_t i = 0; i < segments.size(); ++i) {
    const ElfSegment& s = segments[i];
    const std::string name = std::string(what) + ": loadable segment " + std::to_string(i);
    CUPEL_TRY(check_place(name, s, ram));
    for (size_t j = 0; j < i; ++j) {
      const ElfSegment& other = segments[j];
      if (s.physical < other.physical + other.memory_size &&
          other.physical < s.physical + s.memory_size)
        return fail(
            ErrorKind::bad_input,
            name + " at " + hex(s.physical.value()) + " overlaps segment " + std::to_string(j),
            "link it anew");
    }
  }
  return {};
}

void load_segments(const std::vector<ElfSegment>& segments, GuestMemory& memory) {
  for (const ElfSegment& s : segments) {
    memory.write(s.physical, s.bytes);
    const auto rest = memory.writable(s.physical + s.bytes.size(), s.memory_size - s.bytes.size());
    std::fill(rest.begin(), rest.end(), std::byte{0});
  }
}

uint64_t end_of(const std::vector<ElfSegment>& segments) {
  uint64_t end = kHighRamStart;
  for (const ElfSegment& s : segments) end = std::max(end, s.physical.value() + s.memory_size);
  return end;
}

}  // namespace cupel::boot
