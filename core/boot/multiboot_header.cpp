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

struct Search {
  size_t bytes = 0;  // searched
  std::optional<size_t> at;
  std::optional<size_t> wrong_checksum;  // the first magic number without a right one
};

Search search(std::span<const std::byte> file) {
  Search s{.bytes = std::min(file.size(), kSearched), .at = {}, .wrong_checksum = {}};
  for (size_t at = 0; at + kShortHeader <= s.bytes; at += 4) {
    if (word(file, at) != MultibootHeader::kMagic) continue;
    if (MultibootHeader::kMagic + word(file, at + 4) + word(file, at + 8) == 0) {
      s.at = at;
      return s;
    }
    if (!s.wrong_checksum) s.wrong_checksum = at;
  }
  return s;
}

Failure<Error> none(const Search& s) {
  if (s.wrong_checksum)
    return bad("the header at " + hex(*s.wrong_checksum) +
                   " has a wrong checksum: magic + flags + checksum is not 0",
               "correct the header");
  return bad("no header: the magic number 0x1badb002, 4-byte aligned, is not in the first " +
                 std::to_string(s.bytes) + " bytes",
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

bool has_multiboot_header(std::span<const std::byte> file) { return search(file).at.has_value(); }

Result<MultibootHeader> find_multiboot_header(std::span<const std::byte> file) {
  const Search found = search(file);
  if (!found.at) return none(found);
  const auto searched = file.first(found.bytes);
  const size_t at = *found.at;
  MultibootHeader header{.offset = at, .flags = word(searched, at + 4)};
  if (const uint32_t unknown = header.flags & kRequirements & ~kKnown; unknown != 0)
    return bad(
        "it requires what this loader does not know: flags " + hex(unknown) + " at " + hex(at + 4),
        "only flags 0, 1, 2 and 16 exist in Multiboot 0.6.96");
  if ((header.flags & MultibootHeader::kAddresses) == 0) return header;
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

Result<MultibootProgram> multiboot_program(std::span<const std::byte> file,
                                           const MultibootHeader& header) {
  return (header.flags & MultibootHeader::kAddresses) != 0 ? by_addresses(file, header)
                                                           : by_elf(file);
}

}  // namespace cupel::boot
