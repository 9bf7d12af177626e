#include "scenarios/backend/model_seat.h"

namespace cupel::scenarios {
namespace {

// VMXON region, VMCS, bitmaps and EPT tables: with 2 MiB pages a few frames a GiB, with 4 KiB
// pages 1/512 of the RAM.
uint64_t hypervisor_bytes(uint64_t ram) { return 1_MiB + ram / 256; }
uint64_t round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

}  // namespace

ModelSeat::ModelSeat(VirtualClock& clock, std::unique_ptr<PhysicalMemory> physical, uint64_t ram)
    : clock_(clock), physical_(std::move(physical)) {
  guest_.emplace(*physical_, Hpa(0), ram);
}

Result<std::unique_ptr<ModelSeat>> ModelSeat::create(uint64_t ram, VirtualClock& clock) {
  const uint64_t frames_at = round_up(ram, 2_MiB);
  const uint64_t frames_size = round_up(hypervisor_bytes(ram), kPageSize);
  auto physical = PhysicalMemory::create(frames_at + frames_size);
  if (!physical.ok()) return std::move(physical).failure();
  std::unique_ptr<ModelSeat> seat(new ModelSeat(clock, std::move(physical).value(), ram));
  auto processor =
      cpu::Processor::create(*seat->physical_, clock, {cpu::server_profile(kTscHz), kTscHz, 0});
  if (!processor.ok()) return std::move(processor).failure();
  seat->processor_ = std::move(processor).value();
  seat->vtx_ = std::make_unique<vtx::LogicalProcessor>(*seat->processor_);
  auto frames =
      vmx::FrameAllocator::create(seat->physical_->data() + frames_at, Hpa(frames_at), frames_size);
  if (!frames.ok()) return fail(ErrorKind::internal, "no room for the hypervisor's own frames");
  seat->frames_.emplace(std::move(frames).value());
  // DMA and loaders write behind the processor's back.
  seat->guest_->set_write_observer([s = seat.get()](Gpa at, uint64_t length) {
    s->processor_->invalidate_code(s->guest_->to_host(at), length);
  });
  return seat;
}

vm::VcpuFactory ModelSeat::factory() {
  return [this](GuestMemory& memory,
                vm::GuestPlatform& platform) -> Result<std::unique_ptr<vm::Vcpu>> {
    vmx::VmxVcpuConfig config;
    config.tsc_hz = kTscHz;
    config.backend = "model";
    config.memory_changed = [this](Gpa at, uint64_t length) {
      processor_->invalidate_code(guest_->to_host(at), length);
    };
    auto made = vmx::VmxVcpu::create(*vtx_, memory, platform, clock_, *frames_, std::move(config));
    if (!made.ok()) return std::move(made).failure();
    return std::unique_ptr<vm::Vcpu>(std::move(made).value());
  };
}

}  // namespace cupel::scenarios
