// One VM on one seat with its serial console: what `cupel boot` and the benchmarks run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/event_queue.h"
#include "core/trace.h"
#include "hypervisor/vm/virtual_machine.h"
#include "scenarios/backend/seat.h"

namespace cupel::scenarios {

// A file's bytes. Errors: bad_input naming `what` and the path.
Result<std::vector<std::byte>> read_image(const std::string& path, std::string_view what);

struct BootConfig {
  BackendKind backend = BackendKind::model;
  uint64_t memory = 256_MiB;
  std::string kernel;  // path of a bzImage or a PVH ELF
  std::string initrd;  // path; may be empty
  std::string command_line;
};

// The kind of image is told from its first bytes: ELF = PVH, otherwise a bzImage.
Result<void> boot_image(vm::Vm& vm, const std::vector<std::byte>& kernel,
                        const std::vector<std::byte>& initrd, std::string_view command_line);

class ConsoleSession {
 public:
  // Boots; nothing has executed yet. Errors: bad_input (files, memory), environment.
  static Result<std::unique_ptr<ConsoleSession>> create(const BootConfig& config);

  // Lets the guest run for `slice` of virtual time, or until it ends.
  vm::VmStatus step(Nanoseconds slice);
  // What the guest has printed since the last call.
  std::string take_output() { return std::exchange(output_, {}); }
  void input(std::string_view text) { vm_->platform().serial_input(text); }

  bool ended() const { return vm_->state() != vm::VmState::running; }
  vm::Vm& vm() { return *vm_; }
  Seat& seat() { return *seat_; }
  VirtualClock& clock() { return clock_; }
  Trace& trace() { return trace_; }

 private:
  ConsoleSession() = default;

  VirtualClock clock_;
  EventQueue events_{clock_};
  Trace trace_{clock_};
  std::unique_ptr<Seat> seat_;
  std::unique_ptr<vm::Vm> vm_;
  std::string output_;
};

}  // namespace cupel::scenarios
