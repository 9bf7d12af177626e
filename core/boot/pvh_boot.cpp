#include "core/boot/pvh_boot.h"

#include <algorithm>
#include <string>

#include "core/boot/boot_memory.h"
#include "core/boot/elf_image.h"
#include "core/boot/segments.h"

namespace cupel::boot {
namespace {

// Where the loader's own data goes, below the 640 KiB that images usually leave alone.
constexpr Gpa kGdt{0x500}, kStartInfo{0x6000}, kModuleList{0x6080}, kMemoryMap{0x6100},
    kCommandLine{0x20000};
constexpr uint64_t kCommandLineRoom = 0x10000;
constexpr Gpa kLoaderEnd = kCommandLine + kCommandLineRoom;
constexpr uint32_t kMagic = 0x336ec578;

struct StartInfo {
  uint32_t magic, version, flags, module_count;
  uint64_t module_list, command_line, rsdp, memory_map;
  uint32_t memory_map_entries, reserved;
};
struct Module {
  uint64_t address, size, command_line, reserved;
};
struct MapEntry {
  uint64_t start, length;
  uint32_t type, reserved;
};

Failure<Error> does_not_fit(std::string what, std::string hint) {
  return fail(ErrorKind::bad_input, "PVH image: " + std::move(what), std::move(hint));
}

// The loader's own data stands below.
Result<void> check_low_segments(const ElfImage& image) {
  for (size_t i = 0; i < image.segments.size(); ++i)
    if (image.segments[i].physical < kLoaderEnd)
      return does_not_fit("loadable segment " + std::to_string(i) + " is placed at " +
                              hex(image.segments[i].physical.value()),
                          "link the image for physical addresses from 0x30000 upward");
  return {};
}

Result<uint64_t> place_module(uint64_t size, uint64_t low, uint64_t ram) {
  const uint64_t at = size <= ram ? (ram - size) & ~(kPageSize - 1) : 0;
  if (size != 0 && at < low)
    return does_not_fit("module of " + std::to_string(size >> 10) + " KiB does not fit above it",
                        "give it more memory");
  return at;
}

void write_start_info(const PvhImage& image, uint64_t module, GuestMemory& memory) {
  const auto map = memory_map(memory.size());
  for (size_t i = 0; i < map.size(); ++i)
    memory.write(
        kMemoryMap + i * sizeof(MapEntry),
        MapEntry{map[i].start.value(), map[i].length, static_cast<uint32_t>(map[i].type), 0});
  const bool has_module = !image.module.empty();
  if (has_module) {
    memory.write(Gpa(module), image.module);
    memory.write(kModuleList, Module{module, image.module.size(), 0, 0});
  }
  memory.write(kCommandLine, std::as_bytes(std::span(image.command_line)));
  memory.write(kCommandLine + image.command_line.size(), std::byte{0});
  memory.write(kStartInfo,
               StartInfo{kMagic, 1, 0, has_module ? 1u : 0u, has_module ? kModuleList.value() : 0,
                         kCommandLine.value(), image.rsdp.value(), kMemoryMap.value(),
                         static_cast<uint32_t>(map.size()), 0});
}

x86::CpuState entry_state(uint64_t entry, GuestMemory& memory) {
  x86::CpuState state;
  load_flat_segments(memory, kGdt, CodeWidth::bits32, state);
  state.cr0 = x86::cr0::PE | x86::cr0::ET | x86::cr0::NE;
  state.rip = entry;
  state.rflags = x86::rflags::fixed1;
  state.gpr[x86::Gpr::rbx] = kStartInfo.value();
  return state;
}

}  // namespace

Result<x86::CpuState> load_pvh(const PvhImage& image, GuestMemory& memory) {
  const uint64_t ram = memory.size();
  CUPEL_TRY(check_ram_size(ram));
  auto elf = parse_elf(image.elf);
  if (!elf) return std::move(elf).failure();
  if (!elf->pvh_entry)
    return fail(ErrorKind::bad_input,
                "ELF image: no XEN_ELFNOTE_PHYS32_ENTRY note, so no PVH entry point",
                "build Linux with CONFIG_PVH, or give a bzImage");
  CUPEL_TRY(check_low_segments(*elf));
  CUPEL_TRY(check_segments("PVH image", elf->segments, ram));
  const uint64_t entry = *elf->pvh_entry;
  const bool inside = std::any_of(elf->segments.begin(), elf->segments.end(), [&](const auto& s) {
    return entry >= s.physical.value() && entry - s.physical.value() < s.memory_size;
  });
  if (!inside) return does_not_fit("its entry point lies in no segment", "link it anew");
  if (image.command_line.size() >= kCommandLineRoom ||
      image.command_line.find('\0') != std::string_view::npos)
    return does_not_fit("the command line is too long or contains a zero byte", "shorten it");
  auto module = place_module(image.module.size(), end_of(elf->segments), ram);
  if (!module) return std::move(module).failure();

  load_segments(elf->segments, memory);
  write_start_info(image, *module, memory);
  return entry_state(entry, memory);
}

}  // namespace cupel::boot
