// The image: `cupel-metal.elf`, bootable by Multiboot 1 (GRUB) and PVH. It prints TAP on COM1 and
// ends through the debug-exit port.
#include <cstdint>

#include "hypervisor/metal/console.h"

extern "C" [[noreturn]] void metal_main(uint32_t magic, uint64_t information) {
  using namespace cupel::metal;
  (void)magic;
  (void)information;
  console_init();
  print_line("TAP version 13");
  print_line("ok 1 - boot");
  print_line("1..1");
  leave(Exit::ok);
}
