// The run loop of one virtual CPU over the VMX instructions. Freestanding.
#pragma once

#include <array>
#include <cstdint>

#include "core/x86/exit_reason.h"
#include "hypervisor/vmx/preemption_timer.h"
#include "hypervisor/vmx/vcpu_context.h"
#include "hypervisor/vmx/vcpu_setup.h"

namespace cupel::vmx {

enum class RunStop : uint8_t { deadline, halted, stop_request, triple_fault, fault };

// Where exits are counted; owned by whoever shows them.
struct ExitTally {
  uint64_t& total;
  std::array<uint64_t, x86::kExitReasonCount>& by_reason;
};

// Owns VMX operation of `cpu` from construction to destruction, and the vCPU's frames.
class VcpuCore {
 public:
  // context: its VMCS is current. configure() comes first of all.
  VcpuCore(const VcpuContext& context, VcpuFrames frames, const VcpuConfig& config,
           ExitTally exits);
  VcpuCore(const VcpuCore&) = delete;
  VcpuCore& operator=(const VcpuCore&) = delete;
  ~VcpuCore();

  // Fills in the VMCS. Errors: capability_missing, vmcs_access.
  Result<void, Fault> configure(const HostState& host) {
    return configure_vmcs(context_, frames_, host);
  }
  // The first VMREAD or VMWRITE that failed; kind none when there was none.
  Fault vmcs_fault() const;

  // Runs the guest until `until` at the latest (one timer tick late at most).
  RunStop run(Nanoseconds until);

  VcpuContext& context() { return context_; }
  // After run() returned fault or triple_fault.
  const Fault& fault() const { return context_.fault; }

  // Folds the dirty flags of EPT into the guest memory's dirty bitmap and clears them. A
  // processor without dirty flags marks every page. False: INVEPT failed.
  [[nodiscard]] bool harvest_dirty();

 private:
  bool wakes(bool interrupt);
  bool prepare_events(bool interrupt);
  void request_windows(bool interrupt, bool nmi);
  [[gnu::always_inline]] bool enter();
  Outcome dispatch();
  void take_interrupted_delivery();
  RunStop stopped(Outcome outcome);

  VcpuContext context_;
  VcpuFrames frames_;
  PreemptionTimer timer_;
  ExitTally exits_;
  uint32_t primary_controls_;  // as they stand in the VMCS
  bool launched_ = false;
};

}  // namespace cupel::vmx
