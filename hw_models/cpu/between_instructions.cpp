// Between two instructions: events that are due, deadlines, windows, the monitor's own stops.

#include <utility>

#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {

// After a trap: what must happen before the next guest instruction.
void UnicornProcessor::settle() {
  for (;;) {
    if (quitting_) return;
    if (completion_due_) [[unlikely]] {
      const bool stepped = step_completed_ && !stepping_;
      if (complete_virtualized(stepped ? x86::pending_debug::bs : 0)) step_completed_ = false;
      continue;
    }
    // An instruction completed here under TF traps as one that the engine completed does.
    if (std::exchange(step_completed_, false)) {
      if (monitor_step_due_) {
        pending_debug_ |= x86::pending_debug::bs;
      } else if (!stepping_) {
        raise(x86::kDB, {}, x86::pending_debug::bs);
      }
      continue;
    }
    if (std::exchange(monitor_step_due_, false)) {
      if (monitor().on_step()) leave();
      continue;
    }
    if (injected_) {
      const Event event = *injected_;
      injected_.reset();
      activity_ = x86::Activity::active;
      deliver(event);
      continue;
    }
    if (activity_ != x86::Activity::active) {
      if (!park_on_exit_) {
        boundary();
        if (activity_ != x86::Activity::active && !injected_)
          park(activity_ == x86::Activity::hlt ? Park::halted : Park::shutdown);
        continue;
      }
      if (!monitored_) {
        park(activity_ == x86::Activity::hlt ? Park::halted : Park::shutdown);
        if (!injected_) activity_ = x86::Activity::active;
        continue;
      }
      const bool armed = deadline_ != Nanoseconds::max();
      if (armed) clock_.advance_to(deadline_);
      const uint64_t exits = stats_.exits;
      boundary();
      // Nothing can wake it and its monitor knows no better: do not wait for ever.
      if (!armed && stats_.exits == exits && !injected_) park(Park::halted);
      continue;
    }
    if (pending_debug_ != 0 && debug_trap_pending()) continue;
    if (boundary_requested_) {
      boundary();
      continue;
    }
    if (monitor_step_ && !stepping_) step_over(0);
    return;
  }
}

// What APIC virtualization does behind an instruction comes before its debug exceptions, which an
// exit leaves pending. SDM vol. 3C, "APIC-Write Emulation", "Saving Non-Register State".
bool UnicornProcessor::complete_virtualized(uint64_t debug_status) {
  completion_due_ = false;
  using namespace x86::pending_debug;
  const uint64_t before = pending_debug_;
  pending_debug_ |= debug_status;
  if ((debug_status & breakpoints) != 0) pending_debug_ |= enabled;
  if (monitor().on_completion()) {
    leave();
    return true;
  }
  pending_debug_ = before;
  return false;
}

// Debug traps that wait since VM entry, or behind the monitor's own stop. True: one was raised.
// SDM vol. 3C, "Delivery of Pending Debug Exceptions after VM Entry".
bool UnicornProcessor::debug_trap_pending() {
  using namespace x86::pending_debug;
  if ((interruptibility() & x86::interruptibility::mov_ss) != 0) return false;
  const uint64_t status = pending_debug_;
  pending_debug_ = 0;
  // Breakpoint bits alone, without "enabled breakpoint", cause nothing.
  if ((status & (bs | enabled | rtm)) == 0) return false;
  raise(x86::kDB, {}, status & (bs | breakpoints | rtm));
  return true;
}

bool UnicornProcessor::interrupts_open() const {
  return (engine_->eflags & x86::rflags::IF) != 0 && (engine_->hflags & hf::inhibit_irq) == 0;
}

// Blocking by STI or MOV SS holds back NMIs as well (SDM vol. 3A, "Masking Exceptions and
// Interrupts When Switching Stacks").
bool UnicornProcessor::watched_window_open() const {
  const bool shadow = (engine_->hflags & hf::inhibit_irq) != 0;
  return (interrupt_window_watched_ && interrupts_open()) ||
         (nmi_window_watched_ && !nmi_blocked_ && !shadow);
}

void UnicornProcessor::boundary() {
  boundary_requested_ = false;
  const bool due = clock_.ticks() >= VirtualClock::to_ticks(deadline_);
  if (due) deadline_ = Nanoseconds::max();  // one call a deadline: the monitor arms the next
  update_deadline();
  if (monitored_) {
    if (monitor().on_boundary()) park(park_on_exit_ ? Park::exit : Park::deadline);
  } else if (due) {
    park(Park::deadline);
  }
}

// The start of a block at or after the deadline. The block has not run; take its time back.
void UnicornProcessor::on_block_deadline(uintptr_t return_to) {
  const BlockPlace block = block_at(watch_.context, return_to);
  const uint64_t start = clock_.ticks() - block.size;
  const bool due = start >= VirtualClock::to_ticks(deadline_);
  if (!due && !boundary_requested_ && !watched_window_open()) return;
  clock_.set_ticks(start);
  const bool wide = (engine_->hflags & hf::cs64) != 0;
  engine_->eip = wide ? block.address : (block.address - engine_->seg[1].base) & 0xffffffffu;
  cpu_vmexit_x86_64(engine_, svm::intr, 0, 0);
}

void UnicornProcessor::update_deadline() {
  const bool watching = boundary_requested_ || interrupt_window_watched_ || nmi_window_watched_;
  watch_.deadline_ticks = watching ? 0 : VirtualClock::to_ticks(deadline_);
}
void UnicornProcessor::set_deadline(Nanoseconds when) {
  deadline_ = when;
  update_deadline();
}
void UnicornProcessor::request_boundary() {
  boundary_requested_ = true;
  update_deadline();
}
void UnicornProcessor::watch_windows(bool interrupts, bool nmis) {
  interrupt_window_watched_ = interrupts;
  nmi_window_watched_ = nmis;
  update_deadline();
}

}  // namespace cupel::cpu
