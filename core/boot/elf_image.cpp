#include "core/boot/elf_image.h"

#include <cstring>
#include <string>
#include <string_view>

namespace cupel::boot {
namespace {

constexpr uint8_t kClass32 = 1, kClass64 = 2;
constexpr uint16_t kMachine386 = 3, kMachineX86_64 = 62;
constexpr uint32_t kLoad = 1, kNote = 4;
constexpr uint32_t kPhys32Entry = 18;
constexpr uint16_t kMostHeaders = 128;

// Where the two classes keep the same fields.
struct Offsets {
  size_t header_size, phoff, phoff_width, phentsize, phnum;
  size_t entry_size, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, width;
};
constexpr Offsets k32{52, 28, 4, 42, 44, 32, 4, 8, 12, 16, 20, 4};
constexpr Offsets k64{64, 32, 8, 54, 56, 56, 8, 16, 24, 32, 40, 8};
constexpr size_t kEntry = 24;

struct ProgramHeader {
  uint32_t type;
  uint64_t offset, linear, physical, file_size, memory_size;
};

uint64_t number(std::span<const std::byte> file, size_t at, size_t width) {
  uint64_t value = 0;
  std::memcpy(&value, file.data() + at, width);
  return value;
}

Failure<Error> bad_elf(std::string what) {
  return fail(ErrorKind::bad_input, "ELF image: " + std::move(what),
              "give an x86 ELF executable, linked for its physical addresses");
}

Result<const Offsets*> check_header(std::span<const std::byte> file) {
  if (file.empty()) return bad_elf("it is empty");
  if (file.size() < k32.header_size || !is_elf(file)) return bad_elf("no ELF header at 0");
  const auto elf_class = static_cast<uint8_t>(file[4]);
  if (elf_class != kClass32 && elf_class != kClass64) return bad_elf("unknown class at 4");
  const Offsets& o = elf_class == kClass32 ? k32 : k64;
  if (file.size() < o.header_size) return bad_elf("it ends inside the ELF header");
  if (file[5] != std::byte{1}) return bad_elf("not little-endian (byte 5)");
  const auto machine = number(file, 18, 2);
  if (machine != kMachine386 && machine != kMachineX86_64)
    return bad_elf("machine " + std::to_string(machine) + " at 18 is not x86");
  return &o;
}

Result<std::vector<ProgramHeader>> program_headers(std::span<const std::byte> file,
                                                   const Offsets& o) {
  const uint64_t start = number(file, o.phoff, o.phoff_width);
  const uint64_t count = number(file, o.phnum, 2);
  if (number(file, o.phentsize, 2) != o.entry_size)
    return bad_elf("wrong size of a program header");
  if (count == 0 || count > kMostHeaders)
    return bad_elf(std::to_string(count) + " program headers; 1 to 128 are possible");
  if (start > file.size() || count * o.entry_size > file.size() - start)
    return bad_elf("it ends inside the program headers");
  std::vector<ProgramHeader> headers;
  for (uint64_t i = 0; i < count; ++i) {
    const size_t at = start + i * o.entry_size;
    const ProgramHeader h{
        static_cast<uint32_t>(number(file, at, 4)), number(file, at + o.p_offset, o.width),
        number(file, at + o.p_vaddr, o.width),      number(file, at + o.p_paddr, o.width),
        number(file, at + o.p_filesz, o.width),     number(file, at + o.p_memsz, o.width)};
    if (h.type != kLoad && h.type != kNote) continue;
    // Without bytes in the file, its place there means nothing.
    if (h.file_size != 0 && (h.offset > file.size() || h.file_size > file.size() - h.offset))
      return bad_elf("segment " + std::to_string(i) + " lies behind the end of the file");
    if (h.type == kLoad && h.memory_size < h.file_size)
      return bad_elf("segment " + std::to_string(i) + " is larger in the file than in memory");
    headers.push_back(h);
  }
  return headers;
}

// A note: name size, description size, type, then both, each padded to 4 bytes.
std::optional<uint64_t> find_entry(std::span<const std::byte> notes) {
  const auto padded = [](uint64_t n) { return (n + 3) & ~uint64_t{3}; };
  while (notes.size() >= 12) {
    const uint64_t name_size = number(notes, 0, 4), size = number(notes, 4, 4);
    const uint64_t type = number(notes, 8, 4);
    const uint64_t description = 12 + padded(name_size);
    if (description + size > notes.size()) return std::nullopt;
    const bool xen = name_size == 4 && std::memcmp(notes.data() + 12, "Xen", 4) == 0;
    if (xen && type == kPhys32Entry && (size == 4 || size == 8))
      return number(notes, description, size);
    notes = notes.subspan(std::min<uint64_t>(notes.size(), description + padded(size)));
  }
  return std::nullopt;
}

}  // namespace

bool is_elf(std::span<const std::byte> file) {
  constexpr uint32_t kMagic = 0x464c457f;  // 7f 'E' 'L' 'F'
  return file.size() >= 4 && number(file, 0, 4) == kMagic;
}

std::optional<Gpa> ElfImage::physical_entry() const {
  for (const ElfSegment& s : segments)
    if (entry >= s.linear.value() && entry - s.linear.value() < s.memory_size)
      return s.physical + (entry - s.linear.value());
  for (const ElfSegment& s : segments)
    if (entry >= s.physical.value() && entry - s.physical.value() < s.memory_size)
      return Gpa(entry);
  return std::nullopt;
}

Result<ElfImage> parse_elf(std::span<const std::byte> file) {
  auto offsets = check_header(file);
  if (!offsets) return std::move(offsets).failure();
  auto headers = program_headers(file, **offsets);
  if (!headers) return std::move(headers).failure();
  ElfImage image;
  image.entry = number(file, kEntry, (*offsets)->width);
  for (const ProgramHeader& h : *headers) {
    const auto bytes = h.file_size != 0 ? file.subspan(h.offset, h.file_size) : file.first(0);
    if (h.type == kNote) {
      if (!image.pvh_entry) image.pvh_entry = find_entry(bytes);
    } else if (h.memory_size != 0) {
      image.segments.push_back({Gpa(h.physical), bytes, h.memory_size, Gva(h.linear)});
    }
  }
  if (image.segments.empty()) return bad_elf("no loadable segment");
  return image;
}

}  // namespace cupel::boot
