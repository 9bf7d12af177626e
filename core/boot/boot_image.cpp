#include "core/boot/boot_image.h"

#include <cstring>
#include <string>

#include "core/boot/elf_image.h"
#include "core/boot/linux_boot.h"
#include "core/boot/multiboot_header.h"
#include "core/boot/pvh_boot.h"

namespace cupel::boot {
namespace {

using Bytes = std::span<const std::byte>;

bool has(Bytes file, size_t at, std::string_view text) {
  return file.size() >= at + text.size() &&
         std::memcmp(file.data() + at, text.data(), text.size()) == 0;
}

// Empty: it has one.
std::string why_not_pvh(Bytes file) {
  if (!is_elf(file)) return "no ELF header";
  auto elf = parse_elf(file);
  if (!elf) return elf.error().message;
  return elf->pvh_entry ? "" : "an ELF header, but no XEN_ELFNOTE_PHYS32_ENTRY note";
}

std::string_view hint_for(Bytes file) {
  using namespace std::string_view_literals;
  if (has(file, 0, "\x1f\x8b"sv)) return "it is compressed with gzip: decompress it";
  if (has(file, 0,
          "\xfd"
          "7zXZ"sv))
    return "it is compressed with xz: decompress it";
  if (has(file, 0, "\x28\xb5\x2f\xfd"sv)) return "it is compressed with zstd: decompress it";
  if (has(file, 0x8001, "CD001"sv)) return "it is a CD image: give the kernel file inside it";
  if (has(file, 510, "\x55\xaa"sv)) return "it is a boot sector: give the kernel file itself";
  return "give a Multiboot 1 image, an ELF image with a PVH note, or a Linux bzImage";
}

Result<Bytes> only_module(const BootImage& image) {
  if (image.modules.empty()) return Bytes{};
  if (image.modules.size() == 1) return image.modules[0].bytes;
  return fail(
      ErrorKind::bad_input,
      std::to_string(image.modules.size()) + " modules: only a Multiboot image takes more than one",
      "put them into one initrd");
}

}  // namespace

std::string_view to_string(ImageKind kind) {
  switch (kind) {
    case ImageKind::multiboot:
      return "Multiboot";
    case ImageKind::pvh:
      return "PVH";
    case ImageKind::linux_bzimage:
      return "Linux bzImage";
  }
  return "unknown";
}

Result<ImageKind> recognize_image(Bytes file) {
  if (file.empty()) return fail(ErrorKind::bad_input, "the image is empty", "build it again");
  if (has_multiboot_header(file)) return ImageKind::multiboot;
  const std::string not_pvh = why_not_pvh(file);
  if (not_pvh.empty()) return ImageKind::pvh;
  if (has(file, 0x1fe, "\x55\xaa") && has(file, 0x202, "HdrS")) return ImageKind::linux_bzimage;
  auto header = find_multiboot_header(file);
  return fail(ErrorKind::bad_input,
              "not an image that can be booted. Multiboot: " + header.error().message +
                  ". PVH: " + not_pvh + ". Linux: no boot flag at 0x1fe and 'HdrS' at 0x202",
              std::string(hint_for(file)));
}

Result<x86::CpuState> load_image(const BootImage& image, GuestMemory& memory) {
  auto kind = image.kind ? Result<ImageKind>(*image.kind) : recognize_image(image.file);
  if (!kind) return std::move(kind).failure();
  if (*kind == ImageKind::multiboot)
    return load_multiboot(
        {.file = image.file, .modules = image.modules, .command_line = image.command_line}, memory);
  auto initrd = only_module(image);
  if (!initrd) return std::move(initrd).failure();
  if (*kind == ImageKind::pvh)
    return load_pvh({image.file, *initrd, image.command_line, image.rsdp}, memory);
  return load_linux({image.file, *initrd, image.command_line, image.rsdp}, memory);
}

}  // namespace cupel::boot
