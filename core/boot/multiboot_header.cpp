#include "core/boot/multiboot_header.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "core/boot/segments.h"

namespace cupel::boot {
namespace {

constexpr size_t kSearched = 8192;
constexpr uint32_t kRequirements = 0xffff;
constexpr uint32_t kKnown =
    MultibootHeader::kPageAlign | MultibootHeader::kMemoryInfo | MultibootHeader::kVideoMode;
constexpr size_t kShortHeader = 12, kLongHeader = 32;

uint32_t word(std::span<const std::byte> file, size_t at) {
  uint32_t value = 0;
  std::memcpy(&value, file.data() + at, sizeof value);
  return value;
}

Failure<Error> bad(std::string what, std::string hint) {
  return fail(ErrorKind::bad_input, "Multiboot image: " + std::move(what), std::move(hint));
}

Failure<Error> none(std::optional<size_t> wrong_checksum, size_t searched) {
  if (wrong_checksum)
    return bad("the header at " + hex(*wrong_checksum) +
                   " has a wrong checksum: magic + flags + checksum is not 0",
               "correct the header");
  return bad("no header: the magic number 0x1badb002, 4-byte aligned, is not in the first " +
                 std::to_string(searched) + " bytes",
             "put the header at the start of the image's first section");
}

Result<MultibootProgram> by_addresses(std::span<const std::byte> file, const MultibootHeader& h) {
  const std::string fix = "correct the header's addresses, or clear flag 16 and link an ELF image";
  if (h.load_addr > h.header_addr)
    return bad("load_addr " + hex(h.load_addr) + " lies behind header_addr " + hex(h.header_addr),
               fix);
  const uint64_t before = h.header_addr - h.load_addr;
  if (before > h.offset)
    return bad("load_addr " + hex(h.load_addr) + " lies before the start of the file", fix);
  const uint64_t start = h.offset - before, available = file.size() - start;
  if (h.load_end_addr != 0 && h.load_end_addr < h.load_addr)
    return bad("load_end_addr " + hex(h.load_end_addr) + " lies before load_addr", fix);
  // 0: text and data are the whole rest of the file.
  const uint64_t size = h.load_end_addr == 0 ? available : h.load_end_addr - h.load_addr;
  if (size > available)
    return bad("load_end_addr " + hex(h.load_end_addr) + " asks for " + std::to_string(size) +
                   " bytes, and the file has " + std::to_string(available),
               fix);
  const uint64_t end = h.load_addr + size;
  if (h.bss_end_addr != 0 && h.bss_end_addr < end)
    return bad("bss_end_addr " + hex(h.bss_end_addr) + " lies before the end of the data", fix);
  const uint64_t memory_size = std::max<uint64_t>(end, h.bss_end_addr) - h.load_addr;
  if (h.entry_addr < h.load_addr || h.entry_addr - h.load_addr >= memory_size)
    return bad("entry_addr " + hex(h.entry_addr) + " lies outside of what is loaded", fix);
  MultibootProgram program;
  program.segments.push_back(
      {Gpa(h.load_addr), file.subspan(start, size), memory_size, Gva(h.load_addr)});
  program.entry = Gpa(h.entry_addr);
  return program;
}

Result<MultibootProgram> by_elf(std::span<const std::byte> file) {
  if (!is_elf(file))
    return bad("it is no ELF file, and its header gives no addresses (flag 16)",
               "set flag 16 and the addresses, or link an ELF image");
  auto elf = parse_elf(file);
  if (!elf) return std::move(elf).failure();
  const auto entry = elf->physical_entry();
  if (!entry)
    return bad("its entry point " + hex(elf->entry) + " lies in no loadable segment",
               "link it anew");
  return MultibootProgram{std::move(elf->segments), *entry};
}

}  // namespace

Result<MultibootHeader> find_multiboot_header(std::span<const std::byte> file) {
  const auto searched = file.first(std::min(file.size(), kSearched));
  std::optional<size_t> wrong_checksum;
  for (size_t at = 0; at + kShortHeader <= searched.size(); at += 4) {
    if (word(searched, at) != MultibootHeader::kMagic) continue;
    const uint32_t flags = word(searched, at + 4);
    if (MultibootHeader::kMagic + flags + word(searched, at + 8) != 0) {
      if (!wrong_checksum) wrong_checksum = at;
      continue;
    }
    if (const uint32_t unknown = flags & kRequirements & ~kKnown; unknown != 0)
      return bad("it requires what this loader does not know: flags " + hex(unknown) + " at " +
                     hex(at + 4),
                 "only flags 0, 1, 2 and 16 exist in Multiboot 0.6.96");
    MultibootHeader header{.offset = at, .flags = flags};
    if ((flags & MultibootHeader::kAddresses) == 0) return header;
    if (searched.size() - at < kLongHeader)
      return bad("the header at " + hex(at) + " is cut off before its addresses",
                 "keep it whole within the first 8192 bytes");
    header.header_addr = word(searched, at + 12);
    header.load_addr = word(searched, at + 16);
    header.load_end_addr = word(searched, at + 20);
    header.bss_end_addr = word(searched, at + 24);
    header.entry_addr = word(searched, at + 28);
    return header;
  }
  return none(wrong_checksum, searched.size());
}

Result<MultibootProgram> multiboot_program(std::span<const std::byte> file,
                                           const MultibootHeader& header) {
  return (header.flags & MultibootHeader::kAddresses) != 0 ? by_addresses(file, header)
                                                           : by_elf(file);
}

}  // namespace cupel::boot
