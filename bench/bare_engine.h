// A loop of guest_code.h on the processor model alone: what everything above it is compared with.
#pragma once

#include <memory>

#include "bench/guest_code.h"
#include "core/clock.h"
#include "core/physical_memory.h"
#include "hw_models/cpu/processor.h"

namespace cupel::bench {

// Physical memory is the guest's, address for address; CPUID stops the guest, nothing else does.
class BareEngine final : private cpu::Monitor {
 public:
  // Errors: environment.
  static Result<std::unique_ptr<BareEngine>> create(LoopKind kind);

  // LoopKind::cpuid: `count` times "run to the trap, RIP += 2"; processor nanoseconds each.
  Result<double> trap_cost(unsigned count);
  // Any other loop: runs for `slice` of virtual time.
  void run(Nanoseconds slice);

  cpu::Processor& processor() { return *processor_; }

 private:
  BareEngine() = default;
  bool on_trap(cpu::Trap& trap) override { return trap.kind == cpu::TrapKind::cpuid; }
  cpu::PhysicalTranslation translate(const cpu::PhysicalAccess& access) override;
  bool on_boundary() override { return true; }

  VirtualClock clock_;
  std::unique_ptr<PhysicalMemory> memory_;
  std::unique_ptr<cpu::Processor> processor_;
};

}  // namespace cupel::bench
