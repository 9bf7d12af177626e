// A loop of guest_code.h in a VM: the whole hypervisor core, on the model or on KVM.
#pragma once

#include <memory>

#include "bench/guest_code.h"
#include "core/clock.h"
#include "core/x86/exit_reason.h"
#include "hypervisor/vm/virtual_machine.h"
#include "scenarios/backend/seat.h"

namespace cupel::bench {

class VmLoop {
 public:
  // Errors: as make_seat() and Vm::create().
  static Result<std::unique_ptr<VmLoop>> on_model(LoopKind kind);
  static Result<std::unique_ptr<VmLoop>> on_kvm(LoopKind kind);

  // Lets the guest run for `slice` of virtual time. Errors: guest (it ended).
  Result<void> run(Nanoseconds slice);
  // The same; processor nanoseconds for each exit of `reason`. Errors: internal too (one exit in
  // fifty had another reason, so that the figure would be about something else).
  Result<double> exit_cost(x86::ExitReason reason, Nanoseconds slice);

  scenarios::Seat& seat() { return *seat_; }

 private:
  VmLoop() = default;
  static Result<std::unique_ptr<VmLoop>> create(scenarios::BackendKind backend, LoopKind kind);
  void enable_memory_decoding();
  void raise_interrupt();

  VirtualClock clock_;
  std::unique_ptr<scenarios::Seat> seat_;
  std::unique_ptr<vm::Vm> vm_;
};

}  // namespace cupel::bench
