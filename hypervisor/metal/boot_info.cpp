#include "hypervisor/metal/boot_info.h"

namespace cupel::metal {
namespace {

constexpr uint32_t kMultibootMagic = 0x2badb002, kPvhMagic = 0x336ec578;
constexpr uint32_t kHasCommandLine = 1 << 2, kHasModules = 1 << 3;

struct MultibootInfo {
  uint32_t flags, mem_lower, mem_upper, boot_device, command_line, module_count, modules;
};
struct MultibootModule {
  uint32_t begin, end, command_line, reserved;
};
struct PvhInfo {
  uint32_t magic, version, flags, module_count;
  uint64_t modules, command_line;
};
struct PvhModule {
  uint64_t begin, size, command_line, reserved;
};

template <class T>
const T* at(uint64_t address) {
  return reinterpret_cast<const T*>(address);
}
const char* text(uint64_t address) { return address == 0 ? "" : at<char>(address); }

}  // namespace

BootInfo::BootInfo(uint32_t magic, uint64_t information) {
  if (information == 0) return;
  if (magic == kMultibootMagic) {
    const auto& info = *at<MultibootInfo>(information);
    if ((info.flags & kHasCommandLine) != 0) command_line = text(info.command_line);
    if ((info.flags & kHasModules) == 0 || info.module_count == 0) return;
    const auto& first = *at<MultibootModule>(info.modules);
    if (first.end >= first.begin) module = {at<std::byte>(first.begin), first.end - first.begin};
    module_command_line = text(first.command_line);
  } else if (magic == kPvhMagic && at<PvhInfo>(information)->magic == kPvhMagic) {
    const auto& info = *at<PvhInfo>(information);
    command_line = text(info.command_line);
    if (info.module_count == 0) return;
    const auto& first = *at<PvhModule>(info.modules);
    module = {at<std::byte>(first.begin), first.size};
    module_command_line = text(first.command_line);
  }
}

}  // namespace cupel::metal
