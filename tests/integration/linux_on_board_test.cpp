// Linux on the machine's board: chips, ACPI tables and APICs as an operating system uses them.
#include <filesystem>
#include <fstream>

#include "tests/integration/board_run.h"

namespace cupel {
namespace {

std::vector<std::byte> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

TEST(LinuxOnBoard, FindsAcpiUsesTheApicsAndTurnsThePowerOff) {
  const std::string cache = CUPEL_LINUX_CACHE;
  if (!std::filesystem::exists(cache + "/vmlinuz"))
    GTEST_SKIP() << "no Linux guest in build/cache/linux";
  const auto kernel = read_file(cache + "/vmlinuz");
  const auto initrd = read_file(cache + "/initramfs.cpio.gz");
  const boot::BootModule module{initrd, "initrd"};
  const BoardRun run = run_on_board({.file = kernel,
                                     .command_line = "console=ttyS0 nokaslr panic=-1 lpj=4000000 "
                                                     "mitigations=off cupel.mode=bench",
                                     .modules = std::span(&module, 1)},
                                    256_MiB, /*debug_exit=*/false);
  for (const char* line :
       {"ACPI: RSDP 0x00000000000F0000", "ACPI: Interpreter enabled",
        "IOAPIC[0]: apic_id 0, version 32, address 0xfec00000", "ACPI: PM: (supports S0 S5)",
        "ACPI: Using IOAPIC for interrupt routing", "ACPI: PCI Root Bridge [PCI0]",
        "pci 0000:00:01.0: [8086:7110]", "00:00: ttyS0 at I/O 0x3f8 (irq = 4",
        "setting system clock to 2026-01-01T00:00:00 UTC", "CUPEL-LINUX init-done"})
    EXPECT_NE(run.console.find(line), std::string::npos) << line;
  for (const char* trouble :
       {"ACPI Error", "ACPI BIOS Error", "Firmware Bug", "Call Trace", "..MP-BIOS bug"})
    EXPECT_EQ(run.console.find(trouble), std::string::npos) << trouble;
  EXPECT_EQ(run.exit.kind, chips::ExitRequest::Kind::power_off);
  if (HasFailure()) std::fputs(run.console.c_str(), stderr);
}

}  // namespace
}  // namespace cupel
