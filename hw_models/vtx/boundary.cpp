// Events between instructions: preemption timer, windows, NMIs, external interrupts, INIT.
// SDM vol. 3C, "Other Causes of VM Exits"; order: vol. 3A, "Prioritization of Concurrent Events".
#include <algorithm>
#include <utility>

#include "core/probe.h"
#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {

using x86::ExitReason;

namespace {

constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;

// Earliest virtual time at which a TSC of `hz` shows `tsc`.
Nanoseconds time_of_tsc(uint64_t tsc, uint64_t hz) {
  if (hz == kNanosecondsPerSecond)
    return tsc > INT64_MAX ? Nanoseconds::max() : Nanoseconds(static_cast<int64_t>(tsc));
  __extension__ using Wide = unsigned __int128;
  const Wide time = (Wide{tsc} * kNanosecondsPerSecond + hz - 1) / hz;
  return time > INT64_MAX ? Nanoseconds::max() : Nanoseconds(static_cast<int64_t>(time));
}

}  // namespace

void LogicalProcessor::raise_external_interrupt(uint8_t vector) {
  external_interrupt_ = vector;
  if (!in_guest_) return;
  watch_windows();
  processor_.request_boundary();
}

std::optional<uint8_t> LogicalProcessor::acknowledge_external_interrupt() {
  return std::exchange(external_interrupt_, std::nullopt);
}

void LogicalProcessor::raise_nmi() {
  nmi_ = true;
  if (!in_guest_ && !executed()) return;  // a hosted hypervisor takes no NMIs itself
  watch_windows();
  processor_.request_boundary();
}

void LogicalProcessor::raise_init() {
  init_ = true;
  if (in_guest_) processor_.request_boundary();
}

// The guest must stop where its interrupts (NMIs) open when an exit or an event waits for that.
void LogicalProcessor::watch_windows() {
  const bool waits = interrupt_waits();
  const bool interrupts = in_guest_ ? virtual_interrupt_recognized_ ||
                                          proc(x86::proc::interrupt_window) ||
                                          (waits && !pin(x86::pin::external_interrupt_exiting))
                                    : waits;
  const bool nmis =
      in_guest_ ? proc(x86::proc::nmi_window) || (nmi_ && !pin(x86::pin::nmi_exiting)) : nmi_;
  if (interrupts == watching_interrupts_ && nmis == watching_nmis_) return;
  watching_interrupts_ = interrupts;
  watching_nmis_ = nmis;
  processor_.watch_windows(interrupts, nmis);
}

bool LogicalProcessor::boundary_due() const {
  return tpr_exit_due_ || interrupt_waits() || startup_ || nmi_ || init_ || watching_interrupts_ ||
         watching_nmis_ || (timer_armed_ && vmcs_[F::preemption_timer_value] == 0);
}

// Called last in VM entry. Without an injected event the first boundary is now, before any
// instruction; with one it is after its delivery.
void LogicalProcessor::arm_boundaries(bool injected) {
  watch_windows();
  start_preemption_timer();
  if (!boundary_due()) return;
  // "Debug-trap exceptions and higher priority events take priority over VM exits caused by the
  // VMX-preemption timer" and all below it; INIT is above. The processor raises a pending debug
  // exception before it stops at a boundary. SDM vol. 3C, "VMX-Preemption Timer".
  const bool debug_first = processor_.pending_debug() != 0 && !init_;
  if (injected || debug_first) {
    processor_.request_boundary();
  } else {
    (void)at_guest_boundary();
  }
}

// The timer counts down whenever bit `shift` of the TSC changes because of a TSC increment.
// SDM vol. 3C, "VMX-Preemption Timer".
void LogicalProcessor::start_preemption_timer() {
  if (!pin(x86::pin::preemption_timer)) {
    if (deadline_set_) arm_deadline();
    deadline_set_ = false;
    return;
  }
  const unsigned shift = capabilities_.preemption_timer_shift;
  timer_deadline_tsc_ = ((processor_.host_tsc() >> shift) + vmcs_[F::preemption_timer_value])
                        << shift;
  timer_armed_ = true;
  deadline_set_ = true;
  arm_deadline();
}

// The processor stops at the VMX-preemption timer and at the end of its slice.
void LogicalProcessor::arm_deadline() { processor_.set_deadline(std::min(wakes_at(), slice_end_)); }

Nanoseconds LogicalProcessor::wakes_at() const {
  return timer_armed_ ? time_of_tsc(timer_deadline_tsc_, processor_.tsc_hz()) : Nanoseconds::max();
}

uint64_t LogicalProcessor::remaining_timer() const {
  const unsigned shift = capabilities_.preemption_timer_shift;
  const uint64_t now = processor_.host_tsc() >> shift, end = timer_deadline_tsc_ >> shift;
  return end > now ? end - now : 0;
}

bool LogicalProcessor::timer_expired() const {
  return timer_armed_ && processor_.host_tsc() >= timer_deadline_tsc_;
}

bool LogicalProcessor::interrupts_open() {
  constexpr uint32_t blocking = x86::interruptibility::sti | x86::interruptibility::mov_ss;
  const auto activity = processor_.activity();
  return (activity == x86::Activity::active || activity == x86::Activity::hlt) &&
         (processor_.rflags() & x86::rflags::IF) != 0 &&
         (processor_.interruptibility() & blocking) == 0;
}

bool LogicalProcessor::nmis_open() {
  constexpr uint32_t blocking = x86::interruptibility::mov_ss | x86::interruptibility::nmi;
  return processor_.activity() != x86::Activity::wait_for_sipi &&
         (processor_.interruptibility() & blocking) == 0;
}

// An event goes to the guest, and what has lower priority asks again behind it.
void LogicalProcessor::deliver_event() {
  processor_.inject(*std::exchange(reinject_, std::nullopt));
  watch_windows();
  if (boundary_due()) processor_.request_boundary();
}

bool LogicalProcessor::exit_at_boundary(ExitReason reason) {
  record_exit(reason, 0, 0);
  return true;
}

bool LogicalProcessor::on_nmi() {
  nmi_ = false;
  if (pin(x86::pin::nmi_exiting)) {
    record_exit(ExitReason::exception_or_nmi, 0, 0);
    record_event({x86::kNMI, x86::EventType::nmi, false, false, true}, 0);
  } else {
    reinject_ = cpu::Event{x86::kNMI, x86::EventType::nmi, false, 0, 0};
  }
  return true;
}

bool LogicalProcessor::on_external_interrupt() {
  if (!pin(x86::pin::external_interrupt_exiting)) {
    reinject_ = cpu::Event{take_interrupt(), x86::EventType::external_interrupt, false, 0, 0};
    return true;
  }
  if (pin(x86::pin::process_posted_interrupts)) return on_interrupt_with_posting();
  record_exit(ExitReason::external_interrupt, 0, 0);
  if (exit_control(x86::exitctl::acknowledge_interrupt)) {
    record_event({take_interrupt(), x86::EventType::external_interrupt, false, false, true}, 0);
  }
  return true;
}

// SDM vol. 3C, "Monitor Trap Flag".
bool LogicalProcessor::on_step() {
  record_exit(ExitReason::monitor_trap_flag, 0, 0);
  if (executed()) take_effect();
  return true;
}

bool LogicalProcessor::on_boundary() {
  if (executed()) return on_executed_boundary();
  if (!in_guest_ || exited_) return exited_;
  return at_guest_boundary();
}

// True: an exit has been recorded, or reinject_ set.
bool LogicalProcessor::at_guest_boundary() {
  const bool waiting = processor_.activity() == x86::Activity::wait_for_sipi;
  // Before INIT, and nothing blocks it. SDM vol. 3C, "VM Exits Induced by the TPR Threshold".
  if (tpr_exit_due_ && !waiting && processor_.activity() != x86::Activity::shutdown) {
    tpr_exit_due_ = false;
    return exit_at_boundary(ExitReason::tpr_below_threshold);
  }
  if (init_ && !waiting) {
    init_ = false;
    return exit_at_boundary(ExitReason::init_signal);
  }
  if (timer_expired() && !waiting) return exit_at_boundary(ExitReason::preemption_timer);
  if (proc(x86::proc::nmi_window) && nmis_open()) return exit_at_boundary(ExitReason::nmi_window);
  // With NMI exiting and virtual NMIs, the blocking bit is the guest's and holds no exit back.
  if (nmi_ && !waiting && (pin(x86::pin::virtual_nmis) || nmis_open())) return on_nmi();
  if (proc(x86::proc::interrupt_window) && interrupts_open())
    return exit_at_boundary(ExitReason::interrupt_window);
  if (virtual_interrupt_due()) return deliver_virtual_interrupt();
  const auto activity = processor_.activity();
  if (waiting && startup_) {
    record_exit(ExitReason::sipi, *std::exchange(startup_, std::nullopt), 0);
    return true;
  }
  if (interrupt_waits()) {
    const bool taken = pin(x86::pin::external_interrupt_exiting)
                           ? activity == x86::Activity::active || activity == x86::Activity::hlt
                           : interrupts_open();
    if (taken && on_external_interrupt()) return true;
    if (virtual_interrupt_due()) return deliver_virtual_interrupt();  // posted just now
  }
  if (executed() || activity == x86::Activity::active || (timer_armed_ && !timer_expired()))
    return false;
  CUPEL_PROBE("vtx.guest_cannot_go_on");
  return exit_at_boundary(ExitReason::external_interrupt);
}

}  // namespace cupel::vtx
