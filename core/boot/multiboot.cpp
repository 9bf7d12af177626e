#include "core/boot/multiboot.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/boot/boot_memory.h"
#include "core/boot/multiboot_header.h"
#include "core/boot/segments.h"

namespace cupel::boot {
namespace {

constexpr uint32_t kLoaderMagic = 0x2badb002;
// Where the information may stand: above what images use to start processors, below the EBDA.
constexpr uint64_t kInformationStart = 0x10000, kInformationEnd = 0x80000;

// "Boot information format": flags say which of the others are there.
struct Information {
  uint32_t flags, mem_lower, mem_upper, boot_device, command_line;
  uint32_t module_count, modules, symbols[4];
  uint32_t map_length, map, drives_length, drives, config_table, loader_name, apm_table;
  uint32_t vbe[4], framebuffer[7];
};
static_assert(sizeof(Information) == 116);
constexpr uint32_t kHasMemory = 1, kHasCommandLine = 1 << 2, kHasModules = 1 << 3, kHasMap = 1 << 6,
                   kHasLoaderName = 1 << 9;

struct ModuleEntry {
  uint32_t start, end, command_line, reserved;
};
struct MapEntry {
  uint32_t size;  // of what follows
  uint64_t start, length;
  uint32_t type;
} __attribute__((packed));

Failure<Error> bad(std::string what, std::string hint) {
  return fail(ErrorKind::bad_input, "Multiboot image: " + std::move(what), std::move(hint));
}

Result<void> check_string(std::string_view what, std::string_view text) {
  if (text.find('\0') == std::string_view::npos) return {};
  return bad(std::string(what) + " contains a zero byte", "remove it");
}

Result<void> check_strings(const MultibootImage& image) {
  CUPEL_TRY(check_string("the command line", image.command_line));
  CUPEL_TRY(check_string("the loader's name", image.loader_name));
  for (size_t i = 0; i < image.modules.size(); ++i)
    CUPEL_TRY(
        check_string("the string of module " + std::to_string(i), image.modules[i].command_line));
  return {};
}

uint64_t page_up(uint64_t n) { return (n + kPageSize - 1) & ~(kPageSize - 1); }

// Page-aligned whether flag 0 asks for it or not.
Result<std::vector<Gpa>> place_modules(std::span<const BootModule> modules, uint64_t low,
                                       uint64_t ram) {
  std::vector<Gpa> places;
  for (const BootModule& m : modules) {
    low = page_up(low);
    if (low > ram || m.bytes.size() > ram - low)
      return bad("module " + std::to_string(places.size()) + " of " +
                     std::to_string(m.bytes.size() >> 10) + " KiB does not fit above " + hex(low) +
                     " into " + std::to_string(ram >> 20) + " MiB of RAM",
                 "give it more memory");
    places.push_back(Gpa(low));
    low += m.bytes.size();
  }
  return places;
}

// Bytes that will stand at a known address.
class Block {
 public:
  explicit Block(uint64_t start) : start_(start) {}
  // Returns the address.
  uint32_t add(const void* data, size_t size, size_t alignment) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
    const auto at = static_cast<uint32_t>(start_ + bytes_.size());
    const auto* from = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), from, from + size);
    return at;
  }
  uint32_t add_string(std::string_view text) {
    const uint32_t at = add(text.data(), text.size(), 1);
    bytes_.push_back(std::byte{0});
    return at;
  }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  uint64_t start_;
  std::vector<std::byte> bytes_;
};

uint32_t add_modules(std::span<const BootModule> modules, const std::vector<Gpa>& places,
                     Block& block) {
  std::vector<ModuleEntry> list;
  for (size_t i = 0; i < modules.size(); ++i) {
    const uint64_t start = places[i].value();
    list.push_back({static_cast<uint32_t>(start),
                    static_cast<uint32_t>(start + modules[i].bytes.size()),
                    block.add_string(modules[i].command_line), 0});
  }
  return block.add(list.data(), list.size() * sizeof(ModuleEntry), 4);
}

uint32_t add_map(uint64_t ram, Block& block, uint32_t& length) {
  std::vector<MapEntry> entries;
  for (const MemoryRange& r : memory_map(ram))
    entries.push_back(
        {sizeof(MapEntry) - 4, r.start.value(), r.length, static_cast<uint32_t>(r.type)});
  length = static_cast<uint32_t>(entries.size() * sizeof(MapEntry));
  return block.add(entries.data(), length, 4);
}

// GDT, information, and what it points to, for the address `start`.
std::vector<std::byte> information(const MultibootImage& image, const std::vector<Gpa>& modules,
                                   uint64_t ram, uint64_t start) {
  Block block(start);
  const std::vector<std::byte> gdt(kFlatGdtBytes);
  Information info{};
  block.add(gdt.data(), gdt.size(), 8);
  block.add(&info, sizeof info, 8);
  info.flags = kHasMemory | kHasCommandLine | kHasModules | kHasMap | kHasLoaderName;
  info.mem_lower = static_cast<uint32_t>(kLowRamEnd >> 10);
  info.mem_upper = static_cast<uint32_t>((ram - kHighRamStart) >> 10);
  info.command_line = block.add_string(image.command_line);
  info.loader_name = block.add_string(image.loader_name);
  info.module_count = static_cast<uint32_t>(image.modules.size());
  info.modules = add_modules(image.modules, modules, block);
  info.map = add_map(ram, block, info.map_length);
  auto bytes = block.take();
  std::memcpy(bytes.data() + kFlatGdtBytes, &info, sizeof info);
  return bytes;
}

Result<uint64_t> place_information(uint64_t size, std::vector<ElfSegment> segments) {
  std::sort(segments.begin(), segments.end(),
            [](const auto& a, const auto& b) { return a.physical < b.physical; });
  uint64_t at = kInformationStart;
  for (const ElfSegment& s : segments)
    if (s.physical.value() < at + size && at < s.physical.value() + s.memory_size)
      at = page_up(s.physical.value() + s.memory_size);
  if (at > kInformationEnd || size > kInformationEnd - at)
    return bad("its information (command line, module list, memory map) needs " +
                   std::to_string(size) + " bytes between 0x10000 and 0x80000, and there is no " +
                   "such room beside its segments",
               "shorten command line and module list, or link the image above 1 MiB");
  return at;
}

// "Machine state". What it leaves undefined is as after reset.
x86::CpuState entry_state(Gpa entry, uint64_t gdt, GuestMemory& memory) {
  x86::CpuState state;
  load_flat_segments(memory, Gpa(gdt), CodeWidth::bits32, state);
  state.cr0 = x86::cr0::PE | x86::cr0::ET;
  state.rip = entry.value();
  state.rflags = x86::rflags::fixed1;
  state.gpr[x86::Gpr::rax] = kLoaderMagic;
  state.gpr[x86::Gpr::rbx] = gdt + kFlatGdtBytes;
  return state;
}

}  // namespace

Result<x86::CpuState> load_multiboot(const MultibootImage& image, GuestMemory& memory) {
  const uint64_t ram = memory.size();
  CUPEL_TRY(check_ram_size(ram));
  CUPEL_TRY(check_strings(image));
  auto header = find_multiboot_header(image.file);
  if (!header) return std::move(header).failure();
  auto program = multiboot_program(image.file, *header);
  if (!program) return std::move(program).failure();
  CUPEL_TRY(check_segments("Multiboot image", program->segments, ram));
  auto modules = place_modules(image.modules, end_of(program->segments), ram);
  if (!modules) return std::move(modules).failure();
  const uint64_t size = information(image, *modules, ram, 0).size();
  auto place = place_information(size, program->segments);
  if (!place) return std::move(place).failure();

  load_segments(program->segments, memory);
  for (size_t i = 0; i < image.modules.size(); ++i)
    memory.write((*modules)[i], image.modules[i].bytes);
  memory.write(Gpa(*place), std::span<const std::byte>(information(image, *modules, ram, *place)));
  return entry_state(program->entry, *place, memory);
}

}  // namespace cupel::boot
