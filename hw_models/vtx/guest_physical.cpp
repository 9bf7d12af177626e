// Guest-physical addresses of a guest: translation by EPT, the page-modification log, and what
// becomes of an access that EPT refuses.
// SDM vol. 3C, "The Extended Page Table Mechanism (EPT)", "EPT-Induced VM Exits".
#include "core/probe.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {

using x86::ExitReason;

// The EPT pointer in force, and whose translations the processor uses.
void LogicalProcessor::use_ept(const EptMode& mode) {
  ept_ = mode;
  tag_.ept = rules_.ept ? mode.tag() : cpu::TranslationTag::kNoEpt;
  if (rules_.ept && !ept_caches_.select(mode)) processor_.drop_translations_of_ept(mode.tag());
}

// Without EPT, guest-physical addresses are physical addresses. SDM vol. 3C, "EPT Overview".
cpu::PhysicalTranslation LogicalProcessor::translate(const cpu::PhysicalAccess& access) {
  const cpu::PhysicalTranslation identity{true, Hpa(access.gpa.value()), true, true};
  if (executed() && !in_guest_) return identity;
  const auto t = proc2(x86::proc2::enable_ept) ? translate_by_ept(access) : identity;
  if (t.ok && t.hpa.align_down(kPageSize).value() == apic_.access_page) [[unlikely]]
    return translate_apic_access(access, t);
  return t;
}

cpu::PhysicalTranslation LogicalProcessor::translate_by_ept(const cpu::PhysicalAccess& access) {
  if (tlb_) [[unlikely]]
    return translate_adversarially(access);
  if (const auto known = ept_caches_.current().find(access, ept_.flags())) return *known;
  const EptWalk walk = walk_ept(memory_, ept_, ept_features_, access);
  if (walk.outcome != EptWalk::Outcome::translated) return {};
  if (walk.flags_missing && !set_ept_flags(access.gpa, walk)) return {};
  ept_caches_.current().remember(access.gpa, walk);
  return {true, walk.hpa, walk.writable && walk.dirty,
          access.user ? walk.user_executable : walk.executable, walk.readable};
}

cpu::PhysicalTranslation LogicalProcessor::translate_adversarially(
    const cpu::PhysicalAccess& access) {
  const EptWalk walk = walk_ept(memory_, ept_, ept_features_, access);
  const bool ok = walk.outcome == EptWalk::Outcome::translated;
  const bool executable = access.user ? walk.user_executable : walk.executable;
  if (access.dry)
    return {ok, walk.hpa, walk.writable && walk.dirty && !walk.dirty_missing, executable,
            walk.readable};
  if (const auto known = tlb_->find(ept_, access, walk)) return *known;
  if (!ok || (walk.flags_missing && !set_ept_flags(access.gpa, walk))) return {};
  tlb_->remember(ept_, access.gpa, walk);
  return {true, walk.hpa, walk.writable && walk.dirty, executable, walk.readable};
}

void LogicalProcessor::keep_translations(bool keep) {
  processor_.set_translation_memory(nullptr);
  tlb_.reset();
  if (!keep) return;
  tlb_ = std::make_unique<TaggedTlb>(
      [this](const cpu::WalkRequest& request, const cpu::PagingState& paging) {
        return cpu::walk(memory_, *this, paging, request);
      },
      [this] { return processor_.rip(); });
  tlb_->use(in_guest_ ? tag_ : cpu::TranslationTag{});
  processor_.set_translation_memory(tlb_.get());
}

// VM entries and exits invalidate VPID 0000H where VPIDs are not in use, and nothing else.
void LogicalProcessor::change_kept_space(const cpu::TranslationTag& tag) {
  if (flush_at_entry_) tlb_->drop_vpid(0);
  tlb_->use(tag);
}

// False: the page-modification log is full; no flag is set then.
// SDM vol. 3C, "Page-Modification Logging".
bool LogicalProcessor::set_ept_flags(Gpa gpa, const EptWalk& walk) {
  const bool logging = proc2(x86::proc2::enable_pml);
  const uint64_t index = vmcs_[F::pml_index];
  if (logging && index > 511) return false;
  set_flags(memory_, walk);
  if (!logging || !walk.dirty_missing) return true;
  const Hpa slot(vmcs_[F::pml_address] + 8 * index);
  memory_.write(slot, gpa.align_down(kPageSize).value());
  processor_.invalidate_code(slot, 8);
  vmcs_[F::pml_index] = (index - 1) & 0xffff;
  return true;
}

// An instruction needed a translation that translate() refused.
void LogicalProcessor::on_translation_fault(const cpu::PhysicalAccess& access) {
  EptWalk walk;
  walk.outcome = EptWalk::Outcome::translated;
  if (rules_.ept) walk = walk_ept(memory_, ept_, ept_features_, access);
  if (record_refusal(access, walk)) {
    record_vectoring();
    save_rf_ = (vmcs_[F::idt_vectoring_info] >> 31) == 0;
  }
  if (executed()) take_effect();
}

// False: the violation has become a virtualization exception. What EPT translates was refused
// because the log is full or, after that, because of the APIC-access page.
// SDM vol. 3C, "EPT-Induced VM Exits"; "Priority of APIC-Access VM Exits".
bool LogicalProcessor::record_refusal(const cpu::PhysicalAccess& access, const EptWalk& walk) {
  // SDM vol. 3C, "Information About NMI Unblocking Due to IRET".
  const bool nmi = processor_.iret_unblocked_nmi() && !processor_.vectoring();
  switch (walk.outcome) {
    case EptWalk::Outcome::translated:
      if (!walk.flags_missing || !proc2(x86::proc2::enable_pml) || vmcs_[F::pml_index] <= 511) {
        record_apic_access(access);
        return true;
      }
      CUPEL_PROBE("vtx.page_modification_log_full");
      record_exit(ExitReason::page_modification_log_full, uint64_t{nmi} << 12, 0);
      return true;
    case EptWalk::Outcome::misconfiguration:
      record_exit(ExitReason::ept_misconfiguration, 0, 0);
      vmcs_[F::guest_physical_address] = access.gpa.value();
      return true;
    case EptWalk::Outcome::violation:
      break;
  }
  // SDM vol. 3C, "Operations that Invalidate Cached Mappings".
  ept_caches_.current().forget(access.gpa);
  if (access.linear_valid) processor_.flush_tlb_page(access.linear);
  if (tlb_) tlb_->ept_violation(access);
  auto violation = violation_of(walk, ept_, ept_features_, access);
  violation.nmi_unblocking_by_iret = nmi;
  if (convert_violation(walk, access, violation.encode())) return false;
  record_exit(ExitReason::ept_violation, violation.encode(), 0);
  if (access.linear_valid) vmcs_[F::guest_linear_address] = access.linear.value();
  vmcs_[F::guest_physical_address] = access.gpa.value();
  return true;
}

}  // namespace cupel::vtx
