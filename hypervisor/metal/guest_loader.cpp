#include "hypervisor/metal/guest_loader.h"

namespace cupel::metal {
namespace {

constexpr uint32_t kElfMagic = 0x464c457f, kLoad = 1, kNote = 4, kPhys32Entry = 18;
constexpr uint8_t kClass64 = 2;
constexpr uint32_t kXen = 0x006e6558;  // "Xen" and its zero
constexpr Gpa kStartInfo{0x6000}, kCommandLine{0x7000}, kLowestSegment{0x100000};
constexpr uint64_t kCommandLineRoom = 0x1000;

struct ElfHeader {
  uint32_t magic;
  uint8_t elf_class, rest[11];
  uint16_t type, machine;
  uint32_t version;
  uint64_t entry, program_headers, section_headers;
  uint32_t flags;
  uint16_t header_size, program_header_size, program_header_count;
};
struct ProgramHeader {
  uint32_t type, flags;
  uint64_t offset, virtual_address, physical_address, file_size, memory_size, align;
};
struct NoteHeader {
  uint32_t name_size, description_size, type;
};
struct StartInfo {
  uint32_t magic = 0x336ec578, version = 1, flags = 0, module_count = 0;
  uint64_t modules = 0, command_line = kCommandLine.value(), rsdp = 0, memory_map = 0;
  uint32_t memory_map_entries = 0, reserved = 0;
};

using Bytes = std::span<const std::byte>;

// The `size` bytes at `offset`; empty when they are not all there.
Bytes part(Bytes image, uint64_t offset, uint64_t size) {
  if (size > image.size() || offset > image.size() - size) return {};
  return image.subspan(offset, size);
}
template <class T>
bool read(Bytes image, uint64_t offset, T& out) {
  const Bytes from = part(image, offset, sizeof out);
  if (from.empty()) return false;
  std::memcpy(&out, from.data(), sizeof out);
  return true;
}

bool find_entry(Bytes notes, uint32_t& entry) {
  constexpr auto aligned = [](uint64_t n) { return (n + 3) & ~3ull; };
  NoteHeader note;
  for (uint64_t at = 0; read(notes, at, note);) {
    const uint64_t name = at + sizeof note, description = name + aligned(note.name_size);
    uint32_t owner = 0;
    if (note.type == kPhys32Entry && note.name_size == 4 && read(notes, name, owner) &&
        owner == kXen && note.description_size >= 4 && read(notes, description, entry)) {
      return true;
    }
    at = description + aligned(note.description_size);
  }
  return false;
}

bool load_segment(Bytes image, const ProgramHeader& header, GuestRam& ram) {
  const Gpa at(header.physical_address);
  if (at < kLowestSegment || header.file_size > header.memory_size) return false;
  const Bytes from = part(image, header.offset, header.file_size);
  if (from.size() != header.file_size) return false;
  const auto to = ram.writable(at, header.memory_size);
  if (to.size() != header.memory_size) return false;
  if (!from.empty()) std::memcpy(to.data(), from.data(), from.size());
  std::memset(to.data() + from.size(), 0, to.size() - from.size());
  return true;
}

x86::CpuState start_state(uint32_t entry) {
  using namespace x86;
  CpuState state;
  for (const Seg seg : {Seg::es, Seg::ss, Seg::ds, Seg::fs, Seg::gs}) {
    state[seg] = Segment{0x10, 0xc093, 0xffffffff, 0};
  }
  state[Seg::cs] = Segment{0x08, 0xc09b, 0xffffffff, 0};
  state[Seg::ldtr] = Segment{0, 0x82, 0xffff, 0};
  state[Seg::tr] = Segment{0, 0x8b, 0x67, 0};
  state.cr0 = cr0::PE | cr0::ET | cr0::NE;
  state.rip = entry;
  state.rflags = rflags::fixed1;
  state.gpr[Gpr::rbx] = kStartInfo.value();
  return state;
}

}  // namespace

const char* to_string(LoadError error) {
  switch (error) {
    case LoadError::not_elf64:
      return "not an ELF64 image";
    case LoadError::no_pvh_entry:
      return "no PVH entry point";
    case LoadError::does_not_fit:
      return "does not fit into guest RAM";
  }
  return "";
}

Result<x86::CpuState, LoadError> load_guest(Bytes image, const char* command_line, GuestRam& ram) {
  ElfHeader elf;
  if (!read(image, 0, elf) || elf.magic != kElfMagic || elf.elf_class != kClass64 ||
      elf.program_header_size != sizeof(ProgramHeader)) {
    return Failure(LoadError::not_elf64);
  }
  uint32_t entry = 0;
  bool has_entry = false;
  for (unsigned n = 0; n < elf.program_header_count; ++n) {
    ProgramHeader header;
    if (!read(image, elf.program_headers + n * sizeof header, header)) {
      return Failure(LoadError::not_elf64);
    }
    if (header.type == kLoad && header.memory_size != 0 && !load_segment(image, header, ram)) {
      return Failure(LoadError::does_not_fit);
    }
    if (header.type == kNote && !has_entry) {
      has_entry = find_entry(part(image, header.offset, header.file_size), entry);
    }
  }
  if (!has_entry) return Failure(LoadError::no_pvh_entry);
  uint64_t length = 0;
  while (command_line[length] != '\0' && length + 1 < kCommandLineRoom) ++length;
  const Bytes text{reinterpret_cast<const std::byte*>(command_line), length};
  const bool written = ram.write(kStartInfo, StartInfo{}) && ram.write(kCommandLine, text) &&
                       ram.write(kCommandLine + length, std::byte{0});
  if (!written) return Failure(LoadError::does_not_fit);
  return start_state(entry);
}

}  // namespace cupel::metal
