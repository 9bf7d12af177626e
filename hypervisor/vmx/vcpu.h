// vm::Vcpu over the VMX instructions: the hosted face of VcpuCore, with text for its errors.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/guest_memory.h"
#include "core/x86/vmx_cpu.h"
#include "hypervisor/vm/guest_platform.h"
#include "hypervisor/vm/vcpu.h"
#include "hypervisor/vmx/frame_allocator.h"
#include "hypervisor/vmx/vcpu_config.h"
#include "hypervisor/vmx/vcpu_core.h"

namespace cupel::vmx {

struct VmxVcpuConfig : VcpuConfig {
  // RAM was written from outside the guest: the processor drops translated code there.
  std::function<void(Gpa at, uint64_t length)> memory_changed;
  std::string backend = "model";
};

class VmxVcpu final : public vm::Vcpu {
 public:
  // Brings `cpu` into VMX operation and builds VMCS and EPT in frames of `frames`; all arguments
  // are borrowed and outlive the vCPU. With unrestricted guest the state is that after RESET,
  // otherwise set_state() comes before run(). Errors: environment (VT-x lacks something, frames
  // used up), bad_input (unaligned memory), internal (a VMX instruction failed).
  static Result<std::unique_ptr<VmxVcpu>> create(x86::VmxCpu& cpu, GuestMemory& memory,
                                                 vm::GuestPlatform& platform, VirtualClock& clock,
                                                 FrameAllocator& frames, VmxVcpuConfig config);

  vm::Stop run(Nanoseconds until) override;
  Result<x86::CpuState> state() override;
  Result<void> set_state(const x86::CpuState& state) override;
  void save(ArchiveWriter& out) override;
  Result<void> restore(ArchiveReader& in) override;
  void memory_changed(Gpa at, uint64_t length) override;
  const vm::ExitCounters& exits() const override { return counters_; }
  std::string_view backend() const override { return config_.backend; }

  // Folds the processor's dirty flags into the guest memory's dirty bitmap.
  Result<void> harvest_dirty();

 private:
  VmxVcpu(const VcpuContext& context, VcpuFrames frames, VmxVcpuConfig config)
      : config_(std::move(config)),
        core_(context, std::move(frames), config_, {counters_.total, counters_.by_reason}) {}

  Result<void> check_vmcs();

  VmxVcpuConfig config_;
  vm::ExitCounters counters_;
  VcpuCore core_;
};

}  // namespace cupel::vmx
