// A seat on the software model: processor on Unicorn, software VT-x, hypervisor core over it.
#pragma once

#include <memory>
#include <optional>

#include "core/physical_memory.h"
#include "hw_models/cpu/processor.h"
#include "hw_models/vtx/logical_processor.h"
#include "hypervisor/vmx/frame_allocator.h"
#include "hypervisor/vmx/vcpu.h"
#include "scenarios/backend/seat.h"

namespace cupel::scenarios {

class ModelSeat final : public Seat {
 public:
  static Result<std::unique_ptr<ModelSeat>> create(uint64_t ram, VirtualClock& clock);

  GuestMemory& memory() override { return *guest_; }
  const x86::CpuidTable& host_cpuid() const override { return processor_->profile().table; }
  vm::VcpuFactory factory() override;
  uint64_t resident_bytes() const override { return physical_->resident_bytes(); }

  // For benchmarks and tests that look beneath the hypervisor.
  cpu::Processor& processor() { return *processor_; }
  vtx::LogicalProcessor& vtx() { return *vtx_; }

 private:
  ModelSeat(VirtualClock& clock, std::unique_ptr<PhysicalMemory> physical, uint64_t ram);

  VirtualClock& clock_;
  std::unique_ptr<PhysicalMemory> physical_;
  std::optional<GuestMemory> guest_;
  std::unique_ptr<cpu::Processor> processor_;
  std::unique_ptr<vtx::LogicalProcessor> vtx_;
  std::optional<vmx::FrameAllocator> frames_;
};

}  // namespace cupel::scenarios
