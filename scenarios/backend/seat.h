// Where a VM sits: memory of a host and something that executes its vCPU. Here hw_models and
// hypervisor meet.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/error.h"
#include "core/guest_memory.h"
#include "core/x86/cpuid.h"
#include "hypervisor/vm/virtual_machine.h"

namespace cupel::scenarios {

enum class BackendKind : uint8_t { model, kvm };
std::string_view to_string(BackendKind kind);
// Errors: bad_input for an unknown name.
Result<BackendKind> backend_from(std::string_view name);

// Host memory and processor for one VM. Owns them; the VM must be destroyed first.
class Seat {
 public:
  virtual ~Seat() = default;
  virtual GuestMemory& memory() = 0;
  // CPUID of the processor that will run the guest.
  virtual const x86::CpuidTable& host_cpuid() const = 0;
  virtual vm::VcpuFactory factory() = 0;
  // Bytes of host memory behind the guest's RAM and the hypervisor's structures for it.
  virtual uint64_t resident_bytes() const = 0;
};

// Guest RAM: a multiple of 4 KiB, 2 MiB .. 3584 MiB. Errors: bad_input (size), environment (the
// engine library, /dev/kvm, memory).
Result<std::unique_ptr<Seat>> make_seat(BackendKind kind, uint64_t ram, VirtualClock& clock);

inline constexpr uint64_t kTscHz = 1'000'000'000;  // of modelled processors

}  // namespace cupel::scenarios
