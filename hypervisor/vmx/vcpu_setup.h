// Bringing a processor into VMX operation and filling in a VMCS. Freestanding.
// SDM vol. 3C, "Virtual-Machine Extensions: Initialization", "Host-State Area".
#pragma once

#include "core/guest_ram.h"
#include "core/result.h"
#include "core/x86/vmx_cpu.h"
#include "hypervisor/vmx/capabilities.h"
#include "hypervisor/vmx/controls.h"
#include "hypervisor/vmx/ept_builder.h"
#include "hypervisor/vmx/frame_allocator.h"
#include "hypervisor/vmx/vcpu_config.h"
#include "hypervisor/vmx/vcpu_context.h"

namespace cupel::vmx {

// The frames of one vCPU, returned to their allocator at the end.
class VcpuFrames {
 public:
  // Errors: out_of_frames.
  static Result<VcpuFrames, Fault> allocate(FrameAllocator& frames, uint32_t revision);
  VcpuFrames(VcpuFrames&& other) noexcept;
  VcpuFrames& operator=(VcpuFrames&&) = delete;
  ~VcpuFrames();

  Hpa vmxon, vmcs, io_bitmap_a, io_bitmap_b, msr_bitmap;
  std::byte* msr_bitmap_bytes() const { return frames_->data(msr_bitmap); }

 private:
  explicit VcpuFrames(FrameAllocator& frames) : frames_(&frames) {}
  FrameAllocator* frames_;
  std::array<Hpa, 5> owned_{};
  unsigned count_ = 0;
};

// Opens IA32_FEATURE_CONTROL when the firmware left it unlocked, sets the CR bits VMX fixes,
// executes VMXON and makes the VMCS current. Errors: vmx_disabled, capability_missing,
// vmx_instruction.
Result<void, Fault> enter_vmx_operation(x86::VmxCpu& cpu, const VmxCapabilities& caps,
                                        const VcpuFrames& frames);

// EPT over the whole RAM but the holes. Errors: ept_unsupported, out_of_frames, bad_memory_range.
Result<EptBuilder, Fault> map_ram(const VmxCapabilities& caps, FrameAllocator& frames,
                                  const GuestRam& memory, const VcpuConfig& config);

// Everything in the VMCS but the guest's registers. Errors: capability_missing, vmcs_access.
Result<void, Fault> configure_vmcs(VcpuContext& vcpu, const VcpuFrames& frames,
                                   const HostState& host);

}  // namespace cupel::vmx
