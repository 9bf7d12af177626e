// A loop of guest_code.h under the shortest KVM_RUN loop that keeps it going.
#pragma once

#include <memory>

#include "bench/guest_code.h"
#include "core/guest_memory.h"
#include "core/physical_memory.h"
#include "hypervisor/kvm/virtual_machine.h"

namespace cupel::bench {

class BareKvm {
 public:
  // Errors: environment.
  static Result<std::unique_ptr<BareKvm>> create(LoopKind kind);

  // Processor nanoseconds for each of `count` exits: reads are answered with 0, HLT with the loop's
  // interrupt. Errors: environment (KVM_RUN failed, or left for another reason).
  Result<double> exit_cost(unsigned count);

 private:
  BareKvm() = default;
  Result<void> step();

  uint32_t expected_ = 0;  // KVM_EXIT_*
  std::unique_ptr<PhysicalMemory> physical_;
  std::unique_ptr<GuestMemory> memory_;
  std::unique_ptr<kvm::VirtualMachine> machine_;
};

}  // namespace cupel::bench
