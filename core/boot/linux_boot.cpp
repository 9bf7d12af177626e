#include "core/boot/linux_boot.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "core/boot/boot_memory.h"

namespace cupel::boot {
namespace {

// Where the loader's own data goes, all below 640 KiB.
constexpr Gpa kGdt{0x500}, kBootParams{0x7000}, kStackTop{0x9000}, kPageTables{0x9000},
    kCommandLine{0x20000};
constexpr uint64_t kCommandLineRoom = 0x10000;
constexpr uint64_t kEntry64 = 0x200;

// Offsets in the image of struct setup_header, which are those in boot_params too.
constexpr size_t kHeaderStart = 0x1f1, kHeaderEnd = 0x290, kSetupSects = 0x1f1, kSyssize = 0x1f4,
                 kBootFlag = 0x1fe, kJump = 0x200, kMagic = 0x202, kVersion = 0x206,
                 kTypeOfLoader = 0x210, kLoadflags = 0x211, kCode32Start = 0x214,
                 kRamdiskImage = 0x218, kRamdiskSize = 0x21c, kHeapEndPtr = 0x224,
                 kCmdLinePtr = 0x228, kInitrdAddrMax = 0x22c, kKernelAlignment = 0x230,
                 kRelocatable = 0x234, kXloadflags = 0x236, kCmdlineSize = 0x238,
                 kPrefAddress = 0x258, kInitSize = 0x260;
// zero-page.rst: 64 bits, read by kernels from 5.0 on.
constexpr size_t kAcpiRsdp = 0x070;
constexpr size_t kE820Count = 0x1e8, kE820Table = 0x2d0;
constexpr uint8_t kLoadedHigh = 1, kCanUseHeap = 0x80;
constexpr uint16_t kKernel64 = 1;  // XLF_KERNEL_64

struct E820Entry {
  uint64_t start, length;
  uint32_t type;
} __attribute__((packed));

struct Layout {
  std::span<const std::byte> protected_mode;
  uint64_t load = 0;
  uint64_t init_size = 0;
  uint64_t initrd = 0;
  uint64_t initrd_limit = 0;
  uint64_t command_line_limit = 0;
};

template <class T>
T field(std::span<const std::byte> image, size_t at) {
  T value;
  std::memcpy(&value, image.data() + at, sizeof value);
  return value;
}

std::string mib(uint64_t bytes) { return std::to_string((bytes + 1_MiB - 1) >> 20) + " MiB"; }

Failure<Error> bad_kernel(std::string what, std::string hint = {}) {
  if (hint.empty()) hint = "give an x86-64 bzImage, such as /boot/vmlinuz of a Linux distribution";
  return fail(ErrorKind::bad_input, "kernel image: " + std::move(what), std::move(hint));
}

Result<void> check_header(std::span<const std::byte> image) {
  if (image.empty()) return bad_kernel("it is empty");
  if (image.size() < kHeaderEnd)
    return bad_kernel("it has " + std::to_string(image.size()) +
                      " bytes, too few for a setup header");
  if (field<uint16_t>(image, kBootFlag) != 0xaa55 || field<uint32_t>(image, kMagic) != 0x53726448)
    return bad_kernel("no boot flag 0xaa55 at 0x1fe and 'HdrS' at 0x202, so it is not a bzImage");
  const auto version = field<uint16_t>(image, kVersion);
  if (version < 0x020c)
    return bad_kernel("boot protocol " + std::to_string(version >> 8) + "." +
                          std::to_string(version & 0xff) + " at 0x206 is older than 2.12",
                      "use Linux 3.8 or later");
  const uint64_t header_end = kMagic + field<uint8_t>(image, kJump + 1);
  if (header_end < kInitSize + 4)
    return bad_kernel("the setup header ends at " + std::to_string(header_end) +
                      ", before fields that its version promises");
  if ((field<uint8_t>(image, kLoadflags) & kLoadedHigh) == 0)
    return bad_kernel("LOADED_HIGH is clear at 0x211, so it is a zImage");
  if ((field<uint16_t>(image, kXloadflags) & kKernel64) == 0)
    return bad_kernel("no 64-bit entry point (XLF_KERNEL_64 at 0x236)");
  return {};
}

Result<void> check_sizes(std::span<const std::byte> image, Layout& layout) {
  const auto sectors = field<uint8_t>(image, kSetupSects);
  const uint64_t setup = (1ull + (sectors == 0 ? 4 : sectors)) * kSectorSize;
  const uint64_t promised = 16ull * field<uint32_t>(image, kSyssize);
  if (promised <= kEntry64)
    return bad_kernel("syssize at 0x1f4 leaves no room for the 64-bit entry point");
  // Without the checksum or signature that tools append, the file ends where syssize says, give or
  // take the padding to 16 bytes.
  if (image.size() < setup || image.size() - setup + 15 < promised)
    return bad_kernel("it is truncated: " + std::to_string(image.size()) + " bytes of " +
                          std::to_string(setup + promised),
                      "copy or download it again");
  layout.protected_mode = image.subspan(setup);
  layout.init_size = field<uint32_t>(image, kInitSize);
  layout.initrd_limit = field<uint32_t>(image, kInitrdAddrMax);
  layout.command_line_limit = field<uint32_t>(image, kCmdlineSize);
  if (layout.init_size < promised)
    return bad_kernel("init_size at 0x260 is smaller than the image itself");
  return {};
}

Result<void> place_kernel(std::span<const std::byte> image, uint64_t ram, Layout& layout) {
  const auto alignment = field<uint32_t>(image, kKernelAlignment);
  if (alignment == 0 || (alignment & (alignment - 1)) != 0)
    return bad_kernel("kernel_alignment at 0x230 is not a power of two");
  layout.load = field<uint64_t>(image, kPrefAddress);
  const bool relocatable = field<uint8_t>(image, kRelocatable) != 0;
  const bool fits = layout.load >= kHighRamStart && layout.load % alignment == 0 &&
                    layout.load <= ram && layout.init_size <= ram - layout.load;
  if (!fits && relocatable) layout.load = (kHighRamStart + alignment - 1) & ~(alignment - 1ull);
  if (layout.load < kHighRamStart || layout.load > kLargestRam)
    return bad_kernel("pref_address at 0x258 is outside the memory of any machine");
  if (layout.load > ram || layout.init_size > ram - layout.load)
    return bad_kernel("it needs " + mib(layout.load + layout.init_size) + " of RAM and there are " +
                          std::to_string(ram >> 20) + " MiB",
                      "give it more memory");
  return {};
}

// As high as the kernel allows, so that it does not stand in the way of decompression.
Result<void> place_initrd(const LinuxImage& image, uint64_t ram, Layout& layout) {
  if (image.initrd.empty()) return {};
  const uint64_t top = std::min(ram, layout.initrd_limit + 1);
  const uint64_t low = layout.load + layout.init_size;
  if (image.initrd.size() > top || ((top - image.initrd.size()) & ~(kPageSize - 1)) < low)
    return fail(ErrorKind::bad_input,
                "initrd of " + mib(image.initrd.size()) +
                    " does not fit between the kernel, which needs " + mib(low) + ", and " +
                    mib(top),
                "give it more memory or use a smaller initrd");
  layout.initrd = (top - image.initrd.size()) & ~(kPageSize - 1);
  return {};
}

Result<void> check_command_line(std::string_view line, const Layout& layout) {
  const uint64_t limit = std::min(layout.command_line_limit, kCommandLineRoom - 1);
  if (line.size() > limit)
    return fail(ErrorKind::bad_input,
                "kernel command line of " + std::to_string(line.size()) +
                    " characters: this kernel takes " + std::to_string(limit),
                "shorten it");
  if (line.find('\0') != std::string_view::npos)
    return fail(ErrorKind::bad_input, "kernel command line contains a zero byte", "remove it");
  return {};
}

void write_boot_params(const LinuxImage& image, const Layout& layout, GuestMemory& memory) {
  std::array<std::byte, kPageSize> page{};
  const auto put = [&](size_t at, auto value) {
    std::memcpy(page.data() + at, &value, sizeof value);
  };
  const size_t header_end = kMagic + field<uint8_t>(image.kernel, kJump + 1);
  std::memcpy(page.data() + kHeaderStart, image.kernel.data() + kHeaderStart,
              std::min(header_end, kHeaderEnd) - kHeaderStart);
  put(kTypeOfLoader, uint8_t{0xff});  // no assigned number
  put(kLoadflags, static_cast<uint8_t>(field<uint8_t>(image.kernel, kLoadflags) | kCanUseHeap));
  put(kCode32Start, static_cast<uint32_t>(layout.load));
  put(kRamdiskImage, static_cast<uint32_t>(layout.initrd));
  put(kRamdiskSize, static_cast<uint32_t>(image.initrd.size()));
  put(kHeapEndPtr, uint16_t{0xfe00});
  put(kCmdLinePtr, static_cast<uint32_t>(kCommandLine.value()));
  put(kAcpiRsdp, image.rsdp.value());
  const auto map = memory_map(memory.size());
  put(kE820Count, static_cast<uint8_t>(map.size()));
  for (size_t i = 0; i < map.size(); ++i)
    put(kE820Table + i * sizeof(E820Entry),
        E820Entry{map[i].start.value(), map[i].length, static_cast<uint32_t>(map[i].type)});
  memory.write(kBootParams, std::as_bytes(std::span(page)));
}

// boot.rst, "64-bit Boot Protocol".
x86::CpuState entry_state(const Layout& layout, GuestMemory& memory) {
  namespace cr0 = x86::cr0;
  x86::CpuState state;
  load_flat_segments(memory, kGdt, CodeWidth::bits64, state);
  state.cr0 = cr0::PE | cr0::ET | cr0::NE | cr0::PG;
  state.cr3 = write_identity_map(memory, kPageTables);
  state.cr4 = x86::cr4::PAE;
  state.efer = x86::efer::LME | x86::efer::LMA;
  state.rip = layout.load + kEntry64;
  state.rflags = x86::rflags::fixed1;
  state.gpr[x86::Gpr::rsi] = kBootParams.value();
  state.gpr[x86::Gpr::rsp] = kStackTop.value();
  return state;
}

}  // namespace

Result<x86::CpuState> load_linux(const LinuxImage& image, GuestMemory& memory) {
  Layout layout;
  CUPEL_TRY(check_ram_size(memory.size()));
  CUPEL_TRY(check_header(image.kernel));
  CUPEL_TRY(check_sizes(image.kernel, layout));
  CUPEL_TRY(place_kernel(image.kernel, memory.size(), layout));
  CUPEL_TRY(place_initrd(image, memory.size(), layout));
  CUPEL_TRY(check_command_line(image.command_line, layout));

  const uint64_t room = layout.init_size;
  memory.write(Gpa(layout.load),
               layout.protected_mode.first(std::min<uint64_t>(layout.protected_mode.size(), room)));
  memory.write(Gpa(layout.initrd), image.initrd);
  memory.write(kCommandLine, std::as_bytes(std::span(image.command_line)));
  memory.write(kCommandLine + image.command_line.size(), std::byte{0});
  write_boot_params(image, layout, memory);
  return entry_state(layout, memory);
}

}  // namespace cupel::boot
