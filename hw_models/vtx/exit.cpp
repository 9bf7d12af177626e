// VM exit: what is recorded and saved, and what the host gets.
// SDM vol. 3C, ch. "VM Exits".
#include "core/probe.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {

using x86::ExitReason;

// SDM vol. 3C, "Recording VM-Exit Information and Updating VM-Entry Control Fields".
void LogicalProcessor::record_exit(ExitReason reason, uint64_t qualification, unsigned length,
                                   uint32_t instruction_info) {
  vmcs_[F::exit_reason] = static_cast<uint32_t>(reason);
  vmcs_[F::exit_qualification] = qualification;
  vmcs_[F::exit_interruption_info] = 0;
  vmcs_[F::idt_vectoring_info] = 0;
  vmcs_[F::exit_instruction_length] = length;
  vmcs_[F::exit_instruction_info] = instruction_info;
  exited_ = true;
  save_rf_ = false;
}

// SDM vol. 3C, "Information for VM Exits Due to Vectored Events".
void LogicalProcessor::record_event(x86::InterruptionInfo info, uint32_t error_code) {
  info.valid = true;
  vmcs_[F::exit_interruption_info] = info.encode();
  vmcs_[F::exit_interruption_error_code] = info.error_code_valid ? error_code : 0;
}

// SDM vol. 3C, "Information for VM Exits During Event Delivery".
void LogicalProcessor::record_vectoring() {
  const auto event = processor_.vectoring();
  if (!event) return;
  const x86::InterruptionInfo info{event->vector, event->type, event->has_error_code, false, true};
  vmcs_[F::idt_vectoring_info] = info.encode();
  if (event->has_error_code) vmcs_[F::idt_vectoring_error_code] = event->error_code;
  switch (event->type) {
    case x86::EventType::software_interrupt:
    case x86::EventType::privileged_software_exception:
    case x86::EventType::software_exception:
      vmcs_[F::exit_instruction_length] = event->instruction_length;
      break;
    default:
      break;
  }
}

void LogicalProcessor::leave_guest() {
  in_guest_ = false;
  if (proc(x86::proc::monitor_trap_flag)) [[unlikely]]
    processor_.stop_after_instruction(false);
  if (timer_armed_) {
    timer_armed_ = false;
    if (exit_control(x86::exitctl::save_preemption_timer))
      vmcs_[F::preemption_timer_value] = remaining_timer();
  }
  if (executed()) {
    host_.cr0 = processor_.cr(0);  // the bits that an exit does not change
    guest_.exited_into_bank(rules_);
  } else {
    guest_.exited(rules_);
  }
  // A fault-like exit saves the RFLAGS image that delivery of the fault would have pushed.
  // SDM vol. 3C, "Saving RIP, RSP, RFLAGS, and SSP".
  if (save_rf_) guest_.write(F::guest_rflags, guest_.read(F::guest_rflags) | x86::rflags::RF);
  if (proc2(x86::proc2::unrestricted_guest)) {
    constexpr uint64_t control = x86::entryctl::ia32e_mode_guest;
    const bool lma = (processor_.efer() & x86::efer::LMA) != 0;
    if (lma != entry_control(control)) {
      vmcs_[F::entry_controls] ^= control;
      due_ |= checks_.reading(F::entry_controls);
      controls_changed_ = true;
    }
  }
  vmcs_[F::entry_interruption_info] &= 0x7fffffff;
  // The rows on the link pointer and on PDPTEs in memory hold only until memory changes.
  if (vmcs_[F::vmcs_link_pointer] != ~0ull || !rules_.ept || proc(x86::proc::tpr_shadow))
    due_ |= memory_rows_;
  if (vmcs_[F::exit_msr_store_count] != 0 && !store_guest_msrs())
    return abort_vmx(VmxAbort::saving_guest_msrs);
  load_host_state(true);
  if (executed()) put_host_into_processor();
  if (vmcs_[F::exit_msr_load_count] != 0 && !load_host_msrs())
    abort_vmx(VmxAbort::loading_host_msrs);
}

// `guest_loaded`: the processor's shared MSRs are the guest's, not the host's own.
// SDM vol. 3C, "Loading Host State".
void LogicalProcessor::load_host_state(bool guest_loaded) {
  using namespace x86;
  constexpr uint64_t kept = 0x7ffaffd0;  // CR0.ET, CD, NW and reserved bits are not modified
  host_.cr0 = (host_.cr0 & kept) | (vmcs_[F::host_cr0] & ~kept);
  host_.cr3 = vmcs_[F::host_cr3];
  host_.cr4 = vmcs_[F::host_cr4];
  host_.dr7 = 0x400;
  host_.debugctl = 0;
  host_.sysenter_cs = vmcs_[F::host_sysenter_cs];
  host_.sysenter_esp = vmcs_[F::host_sysenter_esp];
  host_.sysenter_eip = vmcs_[F::host_sysenter_eip];
  host_.fs_base = vmcs_[F::host_fs_base];
  host_.gs_base = vmcs_[F::host_gs_base];
  if (exit_control(exitctl::load_pat)) {
    host_.pat = vmcs_[F::host_pat];
    pat_in_processor_ = false;
  } else if (guest_loaded) {
    pat_in_processor_ = true;
  }
  if (exit_control(exitctl::load_efer)) {
    host_.efer = vmcs_[F::host_efer];
    return;
  }
  constexpr uint64_t mode = efer::LMA | efer::LME;
  host_.efer = ((guest_loaded ? processor_.efer() : host_.efer) & ~mode) |
               (exit_control(exitctl::host_address_space_size) ? mode : 0);
}

// The host never gets control back: the indicator is in the VMCS region, and the processor is in
// shutdown. SDM vol. 3C, "VMX Aborts".
void LogicalProcessor::abort_vmx(VmxAbort reason) {
  CUPEL_PROBE("vtx.abort");
  abort_ = reason;
  store_abort_indicator(memory_, Hpa(current_), static_cast<uint32_t>(reason));
  if (executed()) processor_.set_activity(x86::Activity::shutdown);
}

}  // namespace cupel::vtx
