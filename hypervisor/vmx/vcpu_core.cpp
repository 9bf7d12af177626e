#include "hypervisor/vmx/vcpu_core.h"

#include <algorithm>

#include "core/x86/exit_qualification.h"
#include "core/x86/vmx_controls.h"
#include "hypervisor/vmx/exits/exit_table.h"
#include "hypervisor/vmx/exits/handlers.h"

namespace cupel::vmx {

using namespace x86;

VcpuCore::VcpuCore(const VcpuContext& context, VcpuFrames frames, const VcpuConfig& config,
                   ExitTally exits)
    : context_(context),
      frames_(std::move(frames)),
      timer_(config.tsc_hz, context.caps.timer_rate()),
      exits_(exits),
      primary_controls_(context.controls.primary) {}

VcpuCore::~VcpuCore() {
  // Nothing can be done about a processor that does not leave, and nothing is run on it again.
  (void)context_.cpu.vmclear(frames_.vmcs);
  (void)context_.cpu.vmxoff();
  context_.ept.release();
}

inline bool VcpuCore::enter() {
  VcpuContext& v = context_;
  if (v.vmcs.failed()) [[unlikely]] {
    v.fault = vmcs_fault();
    return false;
  }
  const VmxStatus status = launched_ ? v.cpu.vmresume(v.regs) : v.cpu.vmlaunch(v.regs);
  if (status != VmxStatus::succeed) [[unlikely]] {
    return v.note(launched_ ? VmxInstruction::vmresume : VmxInstruction::vmlaunch, status);
  }
  return true;
}

RunStop VcpuCore::run(Nanoseconds until) {
  VcpuContext& v = context_;
  Nanoseconds now = v.clock.now();
  v.platform.advance(now);
  for (;;) {
    if (v.platform.stop_requested()) return RunStop::stop_request;
    Nanoseconds deadline = v.platform.next_deadline();
    if (deadline <= now) [[unlikely]] {  // armed by the last exit, and due at once
      v.platform.advance(now);
      deadline = v.platform.next_deadline();
    }
    if (v.platform.take_nmi()) [[unlikely]]
      v.events.pend_nmi();
    const bool interrupt = v.platform.interrupt_pending();
    if (v.halted && !wakes(interrupt)) return RunStop::halted;
    if (now >= until) return RunStop::deadline;

    bool retry = false;
    constexpr uint32_t windows = proc::interrupt_window | proc::nmi_window;
    if (interrupt || !v.events.empty() || (primary_controls_ & windows) != 0) [[unlikely]] {
      retry = prepare_events(interrupt);
    }
    // The timer is relative and counts in the guest only, so that it is written for each entry.
    v.vmcs.set(Field32::preemption_timer_value,
               retry ? 1 : timer_.value(now, std::min(deadline, until)));
    if (!enter()) return RunStop::fault;

    // Handlers talk to devices, which must stand at the time of the exit.
    now = v.clock.now();
    v.platform.advance(now);
    const Outcome outcome = dispatch();
    if (outcome != Outcome::resume) [[unlikely]]
      return stopped(outcome);
  }
}

// HLT ends with an NMI or an interrupt that is not masked. SDM vol. 2A, "HLT".
bool VcpuCore::wakes(bool interrupt) {
  VcpuContext& v = context_;
  const bool enabled = (v.vmcs.get(FieldN::guest_rflags) & rflags::IF) != 0;
  const bool nmi_blocked =
      (v.vmcs.get(Field32::guest_interruptibility_state) & interruptibility::nmi) != 0;
  const bool wake = v.events.waiting().valid || (v.events.nmi_pending() && !nmi_blocked) ||
                    (interrupt && enabled);
  if (wake) v.halted = false;
  return wake;
}

// Returns whether the entry should come back at once.
bool VcpuCore::prepare_events(bool interrupt) {
  VcpuContext& v = context_;
  const auto decision =
      v.events.decide(interrupt, v.vmcs.get(FieldN::guest_rflags),
                      v.vmcs.get(Field32::guest_interruptibility_state), v.controls.virtual_nmis());
  Event inject = decision.inject;
  bool interrupt_window = decision.interrupt_window;
  if (decision.acknowledge) {
    inject =
        Event{true, v.platform.acknowledge_interrupt(), EventType::external_interrupt, false, 0, 0};
    interrupt_window = v.platform.interrupt_pending();
  }
  if (inject.valid) {
    v.vmcs.set(Field32::entry_interruption_info, inject.info().encode());
    if (inject.has_error) v.vmcs.set(Field32::entry_exception_error_code, inject.error);
    if (inject.instruction_length != 0) {
      v.vmcs.set(Field32::entry_instruction_length, inject.instruction_length);
    }
  }
  v.events.injected(decision);
  request_windows(interrupt_window, decision.nmi_window);
  return decision.retry;
}

void VcpuCore::request_windows(bool interrupt, bool nmi) {
  uint32_t wanted = primary_controls_ & ~(proc::interrupt_window | proc::nmi_window);
  if (interrupt) wanted |= proc::interrupt_window;
  if (nmi) wanted |= proc::nmi_window;
  if (wanted == primary_controls_) return;
  primary_controls_ = wanted;
  context_.vmcs.set(Field32::primary_processor_controls, wanted);
}

Fault VcpuCore::vmcs_fault() const {
  Fault fault;
  if (!context_.vmcs.failed()) return fault;
  fault.kind = FaultKind::vmcs_access;
  fault.number = context_.vmcs.failed_field();
  fault.code = context_.vmcs.failed_write() ? 1 : 0;
  return fault;
}

Outcome VcpuCore::dispatch() {
  VcpuContext& v = context_;
  v.exit_reason = v.vmcs.get(Field32::exit_reason);
  const unsigned basic = v.exit_reason & 0xffff;
  ++exits_.total;
  if (basic >= kExitTable.size()) [[unlikely]]
    return handle_unexpected(v);
  ++exits_.by_reason[basic];
  // An entry that failed late is no launch, and no exit of a running guest.
  if ((v.exit_reason & kExitReasonEntryFailure) != 0) [[unlikely]]
    return handle_entry_failure(v);
  launched_ = true;
  const ExitRow& row = kExitTable[basic];
  v.delivering = false;
  if (row.delivering) take_interrupted_delivery();
  return row.handle(v);
}

void VcpuCore::take_interrupted_delivery() {
  VcpuContext& v = context_;
  const auto info = InterruptionInfo::decode(v.vmcs.get(Field32::idt_vectoring_info));
  if (!info.valid) return;
  v.delivering = true;
  const bool software = info.type == EventType::software_interrupt ||
                        info.type == EventType::privileged_software_exception ||
                        info.type == EventType::software_exception;
  v.events.reinject(info, info.error_code_valid ? v.vmcs.get(Field32::idt_vectoring_error_code) : 0,
                    software ? v.vmcs.get(Field32::exit_instruction_length) : 0);
  if (info.type == EventType::nmi) {
    // Delivery had begun and so blocked NMIs; the entry that injects it again needs them open.
    v.vmcs.set(Field32::guest_interruptibility_state,
               v.vmcs.get(Field32::guest_interruptibility_state) & ~interruptibility::nmi);
  }
}

RunStop VcpuCore::stopped(Outcome outcome) {
  if (outcome == Outcome::fault) return RunStop::fault;
  (void)context_.stop(FaultKind::triple_fault);
  return RunStop::triple_fault;
}

bool VcpuCore::harvest_dirty() {
  GuestRam& memory = context_.memory;
  if (!context_.ept.tracks_dirty()) {
    memory.mark_dirty(Gpa(0), memory.size());
    return true;
  }
  bool any = false;
  context_.ept.harvest_dirty([&](Gpa at, uint64_t size) {
    memory.mark_dirty(at, size);
    any = true;
  });
  return !any || context_.flush_guest_physical();
}

}  // namespace cupel::vmx
