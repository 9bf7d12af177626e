// A machine of one processor whose instructions a guest's vCPU executes: for tests of loaders and
// board before, and beside, a processor of its own.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "core/boot/boot_image.h"
#include "hw_models/platform/board.h"
#include "hypervisor/devices/guest_cpuid.h"
#include "core/x86/platform_msrs.h"
#include "scenarios/backend/model_seat.h"

namespace cupel {

// Processor 0 of a board, as a vCPU sees its platform.
class BoardPlatform final : public vm::GuestPlatform {
 public:
  // debug_exit false: port 0xf4 is not there, and the guest ends some other way.
  BoardPlatform(platform::Board& board, x86::CpuidTable cpuid, bool debug_exit)
      : board_(board), bus_(board.bus(0)), cpuid_(std::move(cpuid)), debug_exit_(debug_exit) {
    board.set_event_sink([this](unsigned, chips::DeliveryMode mode, uint8_t) {
      nmi_ |= mode == chips::DeliveryMode::nmi;
    });
  }
  uint32_t port_in(uint16_t port, unsigned size) override { return bus_.port_in(port, size); }
  void port_out(uint16_t port, unsigned size, uint32_t value) override {
    if (port != kDebugExit || debug_exit_) bus_.port_out(port, size, value);
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
  x86::PlatformMsrs msrs_{0};
  const bool debug_exit_;
  bool nmi_ = false;
};

struct BoardRun {
  std::string console;
  chips::ExitRequest exit;
  Nanoseconds end;
};

// image.rsdp is filled in. Runs until the machine ends itself, to 60 s of virtual time at most.
inline BoardRun run_on_board(boot::BootImage image, uint64_t ram, bool debug_exit) {
  VirtualClock clock;
  auto seat = scenarios::ModelSeat::create(ram, clock).value();
  const auto cpuid = devices::guest_cpuid(
      seat->host_cpuid(), {.local_apic = true, .tsc_deadline = true, .tsc_hz = scenarios::kTscHz});
  const platform::BoardConfig config{.ram = ram,
                                     .tsc_hz = scenarios::kTscHz,
                                     .apic_timer_hz = cpuid.get(0x15, 0).ecx,
                                     .x2apic = (cpuid.get(1, 0).ecx >> 21 & 1) != 0};
  auto board = platform::Board::create(clock, config).value();
  BoardPlatform platform(*board, cpuid, debug_exit);
  auto vcpu = seat->factory()(seat->memory(), platform).value();
  image.rsdp = board->write_firmware_tables(seat->memory());
  auto state = boot::load_image(image, seat->memory());
  EXPECT_TRUE(state.ok()) << describe(state.error());
  BoardRun run;
  if (!state.ok()) return run;
  EXPECT_TRUE(vcpu->set_state(*state).ok());
  while (!platform.stop_requested() && clock.now() < 60_s) {
    const vm::Stop stop = vcpu->run(clock.now() + 100_ms);
    run.console += board->take_serial_output();
    if (stop.reason == vm::StopReason::triple_fault || stop.reason == vm::StopReason::error) {
      ADD_FAILURE() << stop.error.message;
      break;
    }
    if (stop.reason != vm::StopReason::halted) continue;
    if (board->next_deadline() == Nanoseconds::max()) break;
    clock.advance_to(board->next_deadline());
    board->advance(clock.now());
  }
  run.exit = board->exit_request();
  run.end = clock.now();
  return run;
}

}  // namespace cupel
