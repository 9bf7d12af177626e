// A seat on the host's own processor, through /dev/kvm.
#pragma once

#include <memory>
#include <optional>

#include "core/physical_memory.h"
#include "scenarios/backend/seat.h"

namespace cupel::scenarios {

class KvmSeat final : public Seat {
 public:
  static Result<std::unique_ptr<KvmSeat>> create(uint64_t ram, VirtualClock& clock);

  GuestMemory& memory() override { return *guest_; }
  const x86::CpuidTable& host_cpuid() const override { return cpuid_; }
  vm::VcpuFactory factory() override;
  uint64_t resident_bytes() const override { return physical_->resident_bytes(); }

 private:
  KvmSeat(VirtualClock& clock, std::unique_ptr<PhysicalMemory> physical, uint64_t ram)
      : clock_(clock), physical_(std::move(physical)) {
    guest_.emplace(*physical_, Hpa(0), ram);
  }

  VirtualClock& clock_;
  std::unique_ptr<PhysicalMemory> physical_;
  std::optional<GuestMemory> guest_;
  x86::CpuidTable cpuid_;
};

}  // namespace cupel::scenarios
