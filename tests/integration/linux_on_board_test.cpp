// Linux on the machine's board: the chips, ACPI tables and I/O APIC as an operating system uses
// them. The guest's vCPU stands in for a processor of the machine.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "core/boot/boot_image.h"
#include "hw_models/platform/board.h"
#include "hypervisor/devices/guest_cpuid.h"
#include "hypervisor/devices/platform_msrs.h"
#include "scenarios/backend/model_seat.h"

namespace cupel {
namespace {

// Processor 0 of a board, as a vCPU sees its platform.
class BoardPlatform final : public vm::GuestPlatform {
 public:
  BoardPlatform(platform::Board& board, x86::CpuidTable cpuid)
      : board_(board), bus_(board.bus(0)), cpuid_(std::move(cpuid)) {
    board.set_event_sink([this](unsigned, chips::DeliveryMode mode, uint8_t) {
      nmi_ |= mode == chips::DeliveryMode::nmi;
    });
  }
  uint32_t port_in(uint16_t port, unsigned size) override { return bus_.port_in(port, size); }
  void port_out(uint16_t port, unsigned size, uint32_t value) override {
    if (port != kDebugExit) bus_.port_out(port, size, value);  // the guest turns to ACPI then
  }
  uint64_t mmio_read(Gpa at, unsigned size) override { return bus_.read(Hpa(at.value()), size); }
  void mmio_write(Gpa at, unsigned size, uint64_t value) override {
    bus_.write(Hpa(at.value()), size, value);
  }
  bool read_msr(uint32_t index, uint64_t& value) override {
    const auto outcome = bus_.read_msr(index, value);
    return outcome == Outcome::absent ? msrs_.read(index, value) : outcome == Outcome::done;
  }
  bool write_msr(uint32_t index, uint64_t value) override {
    const auto outcome = bus_.write_msr(index, value);
    return outcome == Outcome::absent ? msrs_.write(index, value) : outcome == Outcome::done;
  }
  x86::CpuidLeaf cpuid(uint32_t leaf, uint32_t subleaf) override {
    return cpuid_.get(leaf, subleaf);
  }
  bool interrupt_pending() override { return bus_.interrupt_pending(); }
  uint8_t acknowledge_interrupt() override { return bus_.acknowledge_interrupt(); }
  bool take_nmi() override { return std::exchange(nmi_, false); }
  void advance(Nanoseconds now) override { board_.advance(now); }
  Nanoseconds next_deadline() override { return board_.next_deadline(); }
  bool stop_requested() const override {
    return board_.exit_request().kind != chips::ExitRequest::Kind::none;
  }

 private:
  using Outcome = cpu::SystemBus::MsrOutcome;
  static constexpr uint16_t kDebugExit = 0xf4;

  platform::Board& board_;
  cpu::SystemBus& bus_;
  x86::CpuidTable cpuid_;
  devices::PlatformMsrs msrs_{0};
  bool nmi_ = false;
};

std::vector<std::byte> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

struct Boot {
  std::string console;
  chips::ExitRequest exit;
  Nanoseconds end;
};

Boot boot_linux(const std::vector<std::byte>& kernel, const std::vector<std::byte>& initrd) {
  constexpr uint64_t kRam = 256_MiB;
  VirtualClock clock;
  auto seat = scenarios::ModelSeat::create(kRam, clock).value();
  const auto cpuid = devices::guest_cpuid(
      seat->host_cpuid(), {.local_apic = true, .tsc_deadline = true, .tsc_hz = scenarios::kTscHz});
  auto board = platform::Board::create(clock, {.ram = kRam,
                                               .tsc_hz = scenarios::kTscHz,
                                               .apic_timer_hz = cpuid.get(0x15, 0).ecx,
                                               .x2apic = (cpuid.get(1, 0).ecx >> 21 & 1) != 0})
                   .value();
  BoardPlatform platform(*board, cpuid);
  auto vcpu = seat->factory()(seat->memory(), platform).value();
  const Gpa rsdp = board->write_firmware_tables(seat->memory());
  const boot::BootModule module{initrd, "initrd"};
  auto state = boot::load_image({.file = kernel,
                                 .command_line = "console=ttyS0 nokaslr panic=-1 mitigations=off "
                                                 "lpj=4000000 cupel.mode=bench",
                                 .modules = std::span(&module, 1),
                                 .rsdp = rsdp},
                                seat->memory());
  EXPECT_TRUE(state.ok()) << describe(state.error());
  EXPECT_TRUE(vcpu->set_state(*state).ok());
  Boot boot;
  while (!platform.stop_requested() && clock.now() < 60_s) {
    const vm::Stop stop = vcpu->run(clock.now() + 100_ms);
    boot.console += board->take_serial_output();
    if (stop.reason == vm::StopReason::triple_fault || stop.reason == vm::StopReason::error) {
      ADD_FAILURE() << stop.error.message;
      break;
    }
    if (stop.reason != vm::StopReason::halted) continue;
    if (board->next_deadline() == Nanoseconds::max()) break;
    clock.advance_to(board->next_deadline());
    board->advance(clock.now());
  }
  boot.exit = board->exit_request();
  boot.end = clock.now();
  return boot;
}

TEST(LinuxOnBoard, FindsAcpiUsesTheApicsAndTurnsThePowerOff) {
  const std::string cache = CUPEL_LINUX_CACHE;
  if (!std::filesystem::exists(cache + "/vmlinuz"))
    GTEST_SKIP() << "no Linux guest in build/cache/linux";
  const Boot boot =
      boot_linux(read_file(cache + "/vmlinuz"), read_file(cache + "/initramfs.cpio.gz"));
  EXPECT_NE(boot.console.find("CUPEL-LINUX init-done"), std::string::npos);
  for (const char* line : {"ACPI: RSDP 0x00000000000F0000", "ACPI: Interpreter enabled",
                           "IOAPIC[0]: apic_id 0, version 32, address 0xfec00000",
                           "ACPI: PM: (supports S0 S5)", "ACPI: PCI Root Bridge [PCI0]",
                           "pci 0000:00:01.0: [8086:7110]", "ttyS0 at I/O 0x3f8 (irq = 4"})
    EXPECT_NE(boot.console.find(line), std::string::npos) << line;
  for (const char* trouble :
       {"ACPI Error", "ACPI BIOS Error", "Firmware Bug", "Call Trace", "..MP-BIOS bug"})
    EXPECT_EQ(boot.console.find(trouble), std::string::npos) << trouble;
  EXPECT_EQ(boot.exit.kind, chips::ExitRequest::Kind::power_off);
  if (HasFailure()) std::fputs(boot.console.c_str(), stderr);
}

}  // namespace
}  // namespace cupel
