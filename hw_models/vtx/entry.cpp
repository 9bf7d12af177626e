// VM entry. SDM vol. 3C, ch. "VM Entries".
#include "core/probe.h"
#include "core/x86/msr.h"
#include "hw_models/cpu/page_walk.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {

using x86::ExitReason;

EntryState LogicalProcessor::entry_state() {
  return {guest_,  vmcs_,         capabilities_,  host_,
          memory_, Hpa(current_), physical_bits_, linear_bits_};
}

// SDM vol. 3C, "Basic VM-Entry Checks".
Outcome LogicalProcessor::check_launch_state(bool launch) {
  if (!vmx_root_) return Outcome::undefined_opcode;
  if (!has_current() || current_is_shadow_ || abort_ != VmxAbort::none)
    return Outcome::fail_invalid;
  if (host_.blocking_by_mov_ss) return fail(VmxError::entry_blocked_by_mov_ss);
  if (launch && vmcs_.launch != LaunchState::clear) return fail(VmxError::vmlaunch_not_clear);
  if (!launch && vmcs_.launch != LaunchState::launched)
    return fail(VmxError::vmresume_not_launched);
  if (!launch && vmcs_.vmxon_epoch != vmxon_epoch_) return fail(VmxError::vmresume_after_vmxoff);
  return Outcome::succeed;
}

// Runs the checks that are due. The stage of the first failure in architectural order decides.
std::optional<CheckStage> LogicalProcessor::check_entry() {
  if (!failures_.empty()) failures_.clear();
  if (due_.empty()) return std::nullopt;
  run_checks(entry_state(), due_, failures_);
  if (failures_.empty()) return std::nullopt;
  for (const CheckFailure& failure : failures_)
    coverage_.rows_failed.set(checks_.find(failure.row->id));
  return failures_.front().stage;
}

// Exits after a failed entry record the reason and the qualification only, and leave the
// guest-state area and the launch state alone.
// SDM vol. 3C, "VM-Entry Failures During or After Loading Guest State".
void LogicalProcessor::fail_entry(ExitReason reason, uint64_t qualification) {
  vmcs_[F::exit_reason] = static_cast<uint32_t>(reason) | x86::kExitReasonEntryFailure;
  coverage_.exit(static_cast<uint32_t>(reason));
  if (executed())
    ring_.add({processor_.now(), processor_.rip(), qualification, current_,
               static_cast<uint32_t>(vmcs_[F::exit_reason]), 0});
  vmcs_[F::exit_qualification] = qualification;
  load_host_state(reason == ExitReason::entry_failure_msr_loading);
  if (executed()) put_host_into_processor();
  if (!load_host_msrs()) abort_vmx(VmxAbort::loading_host_msrs);
}

void LogicalProcessor::decode_controls() {
  using namespace x86;
  controls_changed_ = false;
  proc2_ = proc(proc::secondary_controls)
               ? static_cast<uint32_t>(vmcs_[F::secondary_processor_controls])
               : 0;
  rules_.load_efer = entry_control(entryctl::load_efer);
  rules_.load_pat = entry_control(entryctl::load_pat);
  rules_.load_debug = entry_control(entryctl::load_debug_controls);
  rules_.save_efer = exit_control(exitctl::save_efer);
  rules_.save_pat = exit_control(exitctl::save_pat);
  rules_.save_debug = exit_control(exitctl::save_debug_controls);
  rules_.ept = proc2(proc2::enable_ept);
  rules_.reload = 0;
  if (!rules_.load_efer || !rules_.save_efer) rules_.reload |= group::control_registers;
  if (rules_.load_pat ? !rules_.save_pat : exit_control(exitctl::load_pat))
    rules_.reload |= group::pat;
  if (!rules_.load_debug || !rules_.save_debug) rules_.reload |= group::debug;
  if (executed()) take_shared_registers();
  take_host_values();

  decode_apic_controls();
  tag_.vpid = proc2(proc2::enable_vpid) ? static_cast<uint16_t>(vmcs_[F::vpid]) : 0;
  tag_.apic_access = apic_.access_page;
  flush_at_entry_ = tag_.vpid == 0;
  use_ept({vmcs_[F::ept_pointer], proc2(proc2::mode_based_execute)});
}

// What the guest gets from the host where the entry controls load nothing.
void LogicalProcessor::take_host_values() {
  using namespace x86::efer;
  if (pat_in_processor_) {
    (void)processor_.read_msr(x86::msr::PAT, host_.pat);
    pat_in_processor_ = false;
  }
  const bool ia32e = entry_control(x86::entryctl::ia32e_mode_guest);
  rules_.host_cr0 = host_.cr0;
  rules_.efer = (host_.efer & ~(LME | LMA)) | (ia32e ? LME | LMA : 0);
  rules_.pat = host_.pat;
  rules_.dr7 = host_.dr7;
  rules_.debugctl = host_.debugctl;
}

// SDM vol. 3C, "Event Injection".
bool LogicalProcessor::inject_event() {
  const auto raw = static_cast<uint32_t>(vmcs_[F::entry_interruption_info]);
  if (raw >> 31 == 0) return false;
  const auto info = x86::InterruptionInfo::decode(raw);
  if (info.type == x86::EventType::other) {  // a pending MTF VM exit
    processor_.stop_before_instruction();
    return false;
  }
  // Debug traps do not outlive an event that comes before them.
  const bool outside = info.type == x86::EventType::external_interrupt ||
                       info.type == x86::EventType::nmi ||
                       info.type == x86::EventType::hardware_exception;
  if (outside) processor_.set_pending_debug(0);
  cpu::Event event;
  event.vector = info.vector;
  event.type = info.type;
  event.has_error_code = info.error_code_valid;
  event.error_code = static_cast<uint32_t>(vmcs_[F::entry_exception_error_code]);
  event.instruction_length = static_cast<uint8_t>(vmcs_[F::entry_instruction_length]);
  if (processor_.activity() != x86::Activity::active)
    processor_.set_activity(x86::Activity::active);
  processor_.inject(event);
  return true;
}

// PAE paging takes its PDPTEs from memory when a VM entry without EPT, or a VM exit, loads CR3.
// False: one cannot be loaded. SDM vol. 3C, "Loading Page-Directory-Pointer-Table Entries" (VM
// entries) and "Checking and Loading Host Page-Directory-Pointer-Table Entries" (VM exits).
bool LogicalProcessor::load_pdptes(uint64_t cr3) {
  cpu::PagingState paging;
  paging.cr0 = processor_.cr(0);
  paging.cr3 = cr3;
  paging.cr4 = processor_.cr(4);
  paging.efer = processor_.efer();
  paging.physical_bits = physical_bits_;
  if (!paging.paging() || !paging.pae() || paging.long_mode()) return true;
  std::array<uint64_t, 4> entries{};
  cpu::PhysicalAccess refused;  // no second dimension is in force here
  if (cpu::load_pdptes(memory_, *this, paging, entries, refused) != cpu::PdpteLoad::ok)
    return false;
  processor_.set_pdptes(entries);
  return true;
}

Outcome LogicalProcessor::execute_entry(bool launch) {
  if (const Outcome o = check_launch_state(launch); o != Outcome::succeed) return o;
  if (const auto failed = check_entry()) {
    switch (*failed) {
      case CheckStage::controls:
        return fail(VmxError::entry_controls);
      case CheckStage::host:
        return fail(VmxError::entry_host_state);
      case CheckStage::guest:
        break;
    }
    fail_entry(ExitReason::entry_failure_guest_state, failures_.front().row->qualification);
    return Outcome::succeed;
  }
  if (controls_changed_) {
    decode_controls();
  } else if (rules_.reload != 0) {
    if (executed()) take_shared_registers();
    take_host_values();
  }
  processor_.use_translations(tag_);
  if (flush_at_entry_) processor_.flush_tlb();
  if (tlb_) [[unlikely]]
    change_kept_space(tag_);
  guest_.leave_bank();
  guest_.load(rules_);
  if (!rules_.ept) (void)load_pdptes(vmcs_[F::guest_cr3]);  // a row has found them valid
  if (vmcs_[F::entry_msr_load_count] != 0) {
    guest_.pull_groups(group::all);
    uint64_t entry = 0;
    if (!load_guest_msrs(entry)) {
      CUPEL_PROBE("vtx.entry.msr_loading_failed");
      guest_.load_again(group::all);
      fail_entry(ExitReason::entry_failure_msr_loading, entry);
      return Outcome::succeed;
    }
  }
  vmcs_.launch = LaunchState::launched;
  vmcs_.vmxon_epoch = vmxon_epoch_;
  exited_ = false;
  pause_loop_.known = false;
  in_guest_ = true;
  if (apic_.controls.tpr_shadow) [[unlikely]]
    enter_virtual_apic();
  if (proc(x86::proc::monitor_trap_flag)) [[unlikely]]
    processor_.stop_after_instruction(true);
  arm_boundaries(inject_event());
  return Outcome::succeed;
}

void LogicalProcessor::run_guest() {
  while (!exited_) {
    if (reinject_) deliver_event();
    processor_.run();
    if (exited_ || reinject_ || on_boundary()) continue;
    record_exit(ExitReason::external_interrupt, 0, 0);  // parked with nothing to wait for
  }
  leave_guest();
}

namespace {

// One by one: they have just been written one by one, and a wider load would have to wait until
// these stores have reached the cache.
inline void copy_registers(x86::GprFile& to, const x86::GprFile& from) {
  for (size_t n = 0; n < from.r.size(); ++n) {
    uint64_t value = from.r[n];
    asm("" : "+r"(value));  // not vectorized
    to.r[n] = value;
  }
}

}  // namespace

// Every return behind a switch of stacks is mispredicted: the fewer frames, the better.
[[gnu::flatten]] x86::VmxStatus LogicalProcessor::enter(bool launch, x86::GprFile& regs) {
  // RSP is a VMCS field: the processor keeps its own across the exchange of registers.
  constexpr auto kRsp = x86::Gpr::rsp;
  const Outcome outcome = execute_entry(launch);
  if (outcome != Outcome::succeed)
    return outcome == Outcome::fail_valid ? x86::VmxStatus::fail_valid
                                          : x86::VmxStatus::fail_invalid;
  if (!in_guest_) return x86::VmxStatus::succeed;  // a VM-entry failure is an exit
  x86::GprFile& gpr = processor_.gpr();
  const uint64_t guest_rsp = gpr[kRsp], host_rsp = regs[kRsp];
  copy_registers(gpr, regs);
  gpr[kRsp] = guest_rsp;
  run_guest();
  copy_registers(regs, processor_.gpr());
  regs[kRsp] = host_rsp;
  return x86::VmxStatus::succeed;
}

}  // namespace cupel::vtx
