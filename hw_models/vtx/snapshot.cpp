// Taking down and bringing back a logical processor in the middle of its work.
#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {

LogicalProcessor::Snapshot LogicalProcessor::snapshot() {
  guest_.pull_all();
  Snapshot s;
  s.host = host_;
  s.vmcs = vmcs_;
  s.current = current_;
  s.vmxon_region = vmxon_region_;
  s.vmxon_epoch = vmxon_epoch_;
  s.vmx_root = vmx_root_;
  s.in_guest = in_guest_;
  s.nmi = nmi_;
  s.init = init_;
  s.timer_armed = timer_armed_;
  s.timer_deadline_tsc = timer_deadline_tsc_;
  s.startup = startup_;
  s.abort = abort_;
  s.processor = processor_.snapshot();
  return s;
}

void LogicalProcessor::restore(const Snapshot& s) {
  host_ = s.host;
  vmcs_ = s.vmcs;
  current_ = s.current;
  vmxon_region_ = s.vmxon_region;
  vmxon_epoch_ = s.vmxon_epoch;
  vmx_root_ = s.vmx_root;
  in_guest_ = s.in_guest;
  nmi_ = s.nmi;
  init_ = s.init;
  startup_ = s.startup;
  abort_ = s.abort;
  exited_ = save_rf_ = false;
  reinject_.reset();
  failures_.clear();
  due_ = checks_.all();
  host_bank_good_ = false;
  guest_.vmcs_replaced();
  ept_caches_.clear_all();
  if (has_current()) decode_controls();
  controls_changed_ = true;
  processor_.use_translations(in_guest_ ? tag_ : cpu::TranslationTag{});
  processor_.restore(s.processor);
  if (in_guest_) guest_.resumed();
  processor_.stop_after_instruction(in_guest_ && proc(x86::proc::monitor_trap_flag));
  timer_armed_ = deadline_set_ = s.timer_armed;
  timer_deadline_tsc_ = s.timer_deadline_tsc;
  watching_interrupts_ = watching_nmis_ = false;
  processor_.watch_windows(false, false);
  watch_windows();
  arm_deadline();
}

}  // namespace cupel::vtx
