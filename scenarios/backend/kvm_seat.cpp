#include "scenarios/backend/kvm_seat.h"

#include "hw_models/cpu/cpuid.h"
#include "hypervisor/kvm/kvm_vcpu.h"
#include "hypervisor/kvm/system.h"

namespace cupel::scenarios {

Result<std::unique_ptr<KvmSeat>> KvmSeat::create(uint64_t ram, VirtualClock& clock) {
  CUPEL_TRY(kvm::available());
  auto physical = PhysicalMemory::create(ram);
  if (!physical.ok()) return std::move(physical).failure();
  std::unique_ptr<KvmSeat> seat(new KvmSeat(clock, std::move(physical).value(), ram));
  // The same features as on the model; the backend takes out what this host lacks.
  seat->cpuid_ = cpu::server_profile().table;
  return seat;
}

vm::VcpuFactory KvmSeat::factory() {
  return [this](GuestMemory& memory,
                vm::GuestPlatform& platform) -> Result<std::unique_ptr<vm::Vcpu>> {
    auto made = kvm::KvmVcpu::create(memory, platform, clock_);
    if (!made.ok()) return std::move(made).failure();
    return std::unique_ptr<vm::Vcpu>(std::move(made).value());
  };
}

}  // namespace cupel::scenarios
