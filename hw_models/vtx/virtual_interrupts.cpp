// The virtual APIC at work: task priority, end of interrupt, self-IPIs, evaluation and delivery of
// virtual interrupts; accesses to CR8 and to x2APIC MSRs.
// SDM vol. 3C, "Evaluation and Delivery of Virtual Interrupts", "Virtualizing CR8-Based TPR
// Accesses", "Virtualizing MSR-Based APIC Accesses".
#include "core/probe.h"
#include "core/x86/msr.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {

using x86::ExitReason;

namespace {

constexpr uint32_t kX2apicTpr = 0x808, kX2apicEoi = 0x80b, kX2apicSelfIpi = 0x83f;
constexpr uint32_t offset_of(uint32_t msr) { return (msr & 0xff) << 4; }

}  // namespace

InterruptStatus LogicalProcessor::interrupt_status() const {
  return InterruptStatus::decode(vmcs_[F::guest_interrupt_status]);
}
void LogicalProcessor::set_interrupt_status(InterruptStatus status) {
  vmcs_[F::guest_interrupt_status] = status.encode();
}

bool LogicalProcessor::tpr_below_threshold() {
  return virtual_apic().task_priority_class() < (vmcs_[F::tpr_threshold] & 15);
}

// VM entry, guest state loaded. SDM vol. 3C, "VM Exits Induced by the TPR Threshold", "Virtual-
// Interrupt Delivery" (in "VM Entries").
void LogicalProcessor::enter_virtual_apic() {
  virtual_interrupt_recognized_ = false;
  tpr_exit_due_ = apic_.tpr_exit_at_entry && tpr_below_threshold();
  if (!apic_.controls.interrupt_delivery) return;
  virtualize_ppr(virtual_apic(), interrupt_status());
  evaluate_virtual_interrupts();
}

// SDM vol. 3C, "TPR Virtualization". Its exits are traps.
void LogicalProcessor::virtualize_tpr() {
  if (apic_.tpr_threshold) {
    if (tpr_below_threshold()) record_exit(ExitReason::tpr_below_threshold, 0, 0);
    return;
  }
  virtualize_ppr(virtual_apic(), interrupt_status());
  evaluate_virtual_interrupts();
}

// SDM vol. 3C, "EOI Virtualization".
void LogicalProcessor::virtualize_eoi() {
  InterruptStatus status = interrupt_status();
  const uint8_t vector = end_interrupt(virtual_apic(), status);
  set_interrupt_status(status);
  constexpr F bitmaps[] = {F::eoi_exit_bitmap_0, F::eoi_exit_bitmap_1, F::eoi_exit_bitmap_2,
                           F::eoi_exit_bitmap_3};
  if ((vmcs_[bitmaps[vector / 64]] >> (vector & 63) & 1) != 0) {
    record_exit(ExitReason::virtualized_eoi, vector, 0);
  } else {
    evaluate_virtual_interrupts();
  }
}

// SDM vol. 3C, "Self-IPI Virtualization".
void LogicalProcessor::virtualize_self_ipi(uint8_t vector) {
  InterruptStatus status = interrupt_status();
  request_interrupt(virtual_apic(), status, vector);
  set_interrupt_status(status);
  evaluate_virtual_interrupts();
}

void LogicalProcessor::virtualize_self_ipi_msr() {
  const auto vector = static_cast<uint8_t>(virtual_apic().read(apic::self_ipi));
  if (vector < apic::kLowestVector) {
    record_exit(ExitReason::apic_write, apic::self_ipi, 0);
  } else {
    virtualize_self_ipi(vector);
  }
}

// SDM vol. 3C, "Evaluation of Pending Virtual Interrupts".
void LogicalProcessor::evaluate_virtual_interrupts() {
  const unsigned requested = interrupt_status().requesting >> 4;
  const unsigned priority = virtual_apic().read(apic::ppr) >> 4 & 15;
  virtual_interrupt_recognized_ = !proc(x86::proc::interrupt_window) && requested > priority;
  watch_windows();
  if (virtual_interrupt_recognized_) processor_.request_boundary();
}

// SDM vol. 3C, "Virtual-Interrupt Delivery".
bool LogicalProcessor::virtual_interrupt_due() {
  return virtual_interrupt_recognized_ && interrupts_open();
}

bool LogicalProcessor::deliver_virtual_interrupt() {
  CUPEL_PROBE("vtx.virtual_interrupt");
  InterruptStatus status = interrupt_status();
  const uint8_t vector = accept_interrupt(virtual_apic(), status);
  set_interrupt_status(status);
  virtual_interrupt_recognized_ = false;
  reinject_ = cpu::Event{vector, x86::EventType::external_interrupt, false, 0, 0};
  return true;
}

// MOV from and to CR8 that cause no exit, with "use TPR shadow". A value beyond 15 is left to the
// processor, which raises #GP(0).
void LogicalProcessor::virtualize_cr8(cpu::Trap& trap) {
  VirtualApicPage page = virtual_apic();
  if (trap.cr.kind == x86::CrAccess::Kind::mov_from_cr) {
    trap.value = page.task_priority_class();
  } else if (trap.value > 15) {
    return;
  } else {
    page.write(apic::tpr, static_cast<uint32_t>(trap.value) << 4);
    completion_ = Completion::tpr;
  }
  trap.virtualized = true;
}

// RDMSR and WRMSR of 800H-8FFH that cause no exit, with "virtualize x2APIC mode". What is not
// virtualized goes to the processor's local APIC.
void LogicalProcessor::virtualize_x2apic_read(cpu::Trap& trap) {
  if (!apic_.controls.registers && trap.msr != kX2apicTpr) return;
  trap.value = virtual_apic().read64(offset_of(trap.msr));
  trap.virtualized = true;
}

void LogicalProcessor::virtualize_x2apic_write(cpu::Trap& trap) {
  const bool delivery = apic_.controls.interrupt_delivery;
  uint64_t allowed = 0xff;
  if (trap.msr == kX2apicTpr) {
    completion_ = Completion::tpr;
  } else if (trap.msr == kX2apicEoi && delivery) {
    completion_ = Completion::eoi;
    allowed = 0;
  } else if (trap.msr == kX2apicSelfIpi && delivery) {
    completion_ = Completion::self_ipi;
  } else {
    return;
  }
  if ((trap.value & ~allowed) != 0) {
    completion_ = Completion::none;
    trap.reject = true;
    return;
  }
  virtual_apic().write64(offset_of(trap.msr), trap.value);
  trap.virtualized = true;
}

}  // namespace cupel::vtx
