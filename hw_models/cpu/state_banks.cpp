// State that stands aside: banks for VM entries and exits, snapshots.

#include <cstring>

#include "hw_models/cpu/self_check.h"
#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {

void UnicornProcessor::put_into(StateBank& to) const {
  const EngineLayout& at = engine_layout();
  std::memcpy(&to.core, &engine_->eip, sizeof to.core);
  to.efer = env64(at.efer);
  to.sysenter_cs = env64(at.sysenter_cs);
  to.sysenter_esp = env64(at.sysenter_esp);
  to.sysenter_eip = env64(at.sysenter_eip);
  to.paging = paging_;
  to.dr7 = dr_[7];
  to.debugctl = debugctl_;
  to.pending_debug = pending_debug_;
  to.activity = activity_;
  to.nmi_blocked = nmi_blocked_;
  to.shadow_is_mov_ss = shadow_is_mov_ss_;
}

void UnicornProcessor::take_from(const StateBank& from) {
  const EngineLayout& at = engine_layout();
  const uint32_t context_bits = engine_->hflags & hf::context;
  std::memcpy(&engine_->eip, &from.core, sizeof from.core);
  engine_->hflags = (engine_->hflags & ~hf::context) | context_bits;
  env64(at.efer) = from.efer;
  env64(at.sysenter_cs) = from.sysenter_cs;
  env64(at.sysenter_esp) = from.sysenter_esp;
  env64(at.sysenter_eip) = from.sysenter_eip;
  paging_ = from.paging;
  dr_[7] = from.dr7;
  debugctl_ = from.debugctl;
  pending_debug_ = from.pending_debug;
  activity_ = from.activity;
  nmi_blocked_ = from.nmi_blocked;
  shadow_is_mov_ss_ = from.shadow_is_mov_ss;
}

void UnicornProcessor::store_bank(unsigned bank) { put_into(banks_[bank]); }

void UnicornProcessor::look_at_bank(unsigned bank) {
  put_into(looked_from_);
  take_from(banks_[bank]);
}

void UnicornProcessor::load_bank(unsigned bank) {
  set_dr(7, banks_[bank].dr7);
  take_from(banks_[bank]);
  hold_context_to_paging();
}

ProcessorSnapshot UnicornProcessor::snapshot() {
  ProcessorSnapshot s;
  s.state = state();
  s.pdptes = paging_.pdptes;
  s.misc_enable = misc_enable_;
  s.feature_control = feature_control_;
  s.pending_debug = pending_debug_;
  s.last_tsc = group_->last_tsc();
  s.injected = injected_;
  if (platform_msrs_) {
    ArchiveWriter out;
    platform_msrs_->save(out);
    s.platform_msrs = out.take();
  }
  return s;
}

void UnicornProcessor::restore(const ProcessorSnapshot& s) {
  set_state(s.state);
  set_pdptes(s.pdptes);
  misc_enable_ = s.misc_enable;
  feature_control_ = s.feature_control;
  pending_debug_ = s.pending_debug;
  group_->set_last_tsc(s.last_tsc);
  injected_ = s.injected;
  if (platform_msrs_) {
    ArchiveReader in(s.platform_msrs);
    platform_msrs_->restore(in);
  }
  // Memory may hold other code than what was translated.
  drop_own_code(0, memory_.size());
}

}  // namespace cupel::cpu
