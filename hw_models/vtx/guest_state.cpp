#include "hw_models/vtx/guest_state.h"

#include "core/x86/msr.h"
#include "core/x86/registers.h"

namespace cupel::vtx {
namespace {

F nth(F first, unsigned n) { return static_cast<F>(static_cast<unsigned>(first) + n); }

std::array<uint32_t, kFieldCount + 1> make_groups() {
  std::array<uint32_t, kFieldCount + 1> table{};
  auto put = [&table](F f, uint32_t g) { table[static_cast<size_t>(f)] = g; };
  for (unsigned n = 0; n < x86::kSegmentCount; ++n) {
    const uint32_t g = group::segment(static_cast<x86::Seg>(n));
    for (const F first :
         {F::guest_es_selector, F::guest_es_limit, F::guest_es_access_rights, F::guest_es_base})
      put(nth(first, n), g);
  }
  for (const F f : {F::guest_cr0, F::guest_cr3, F::guest_cr4, F::guest_efer})
    put(f, group::control_registers);
  for (const F f :
       {F::guest_gdtr_base, F::guest_gdtr_limit, F::guest_idtr_base, F::guest_idtr_limit})
    put(f, group::tables);
  for (const F f : {F::guest_dr7, F::guest_debugctl}) put(f, group::debug);
  for (const F f : {F::guest_sysenter_cs, F::guest_sysenter_esp, F::guest_sysenter_eip})
    put(f, group::sysenter);
  for (unsigned n = 0; n < 4; ++n) put(nth(F::guest_pdpte0, n), group::pdptes);
  for (const F f : {F::guest_activity_state, F::guest_interruptibility_state,
                    F::guest_pending_debug_exceptions})
    put(f, group::non_register);
  put(F::guest_rip, group::rip);
  put(F::guest_rsp, group::rsp);
  put(F::guest_rflags, group::rflags);
  put(F::guest_pat, group::pat);
  return table;
}

}  // namespace

const std::array<uint32_t, kFieldCount + 1> GuestState::groups_ = make_groups();

uint32_t group_of(F field) {
  static const auto table = make_groups();
  return table[static_cast<size_t>(field)];
}

uint64_t GuestState::get_msr(uint32_t index) {
  uint64_t value = 0;
  return processor_.read_msr(index, value) ? value : 0;
}

// The entry checks have passed the value; a processor that still refuses keeps its own.
void GuestState::set_msr(uint32_t index, uint64_t value) {
  (void)processor_.write_msr(index, value);
}

void GuestState::pull_segment(unsigned n) {
  const x86::Segment s = processor_.segment(static_cast<x86::Seg>(n));
  vmcs_[nth(F::guest_es_selector, n)] = s.selector;
  vmcs_[nth(F::guest_es_limit, n)] = s.limit;
  vmcs_[nth(F::guest_es_access_rights, n)] = s.access;
  vmcs_[nth(F::guest_es_base, n)] = s.base;
}

void GuestState::pull_control_registers() {
  vmcs_[F::guest_cr0] = processor_.cr(0);
  vmcs_[F::guest_cr3] = processor_.cr(3);
  vmcs_[F::guest_cr4] = processor_.cr(4);
  if (saved_.save_efer) vmcs_[F::guest_efer] = processor_.efer();
}

void GuestState::exited_into_bank(const SwitchRules& rules) {
  exited(rules);
  need(group::rip | group::rsp | group::rflags | group::non_register);
  to_load_ |= group::rsp;
  if (rules.load_pat && rules.save_pat) {  // PAT has no place in the bank
    need(group::pat);
    to_load_ |= group::pat;
  }
  processor_.store_bank(kGuestBank);
  banked_ = true;
}

void GuestState::leave_bank() {
  if (banked_) processor_.load_bank(kGuestBank);
  banked_ = false;
}

// Apart: what handlers read at nearly every exit.
void GuestState::pull(uint32_t groups) {
  using namespace group;
  if (banked_) {
    banked_ = false;
    processor_.look_at_bank(kGuestBank);
    pull(groups);
    processor_.look_back();
    banked_ = true;
    return;
  }
  fresh_ |= groups;
  if (groups & rip) vmcs_[F::guest_rip] = processor_.rip();
  if (groups & rsp) vmcs_[F::guest_rsp] = processor_.gpr()[x86::Gpr::rsp];
  if (groups & rflags) vmcs_[F::guest_rflags] = processor_.rflags();
  if (groups & non_register) {
    vmcs_[F::guest_activity_state] = static_cast<uint64_t>(processor_.activity());
    vmcs_[F::guest_interruptibility_state] = processor_.interruptibility();
    vmcs_[F::guest_pending_debug_exceptions] = processor_.pending_debug();
  }
  if ((groups & ~(rip | rsp | rflags | non_register)) != 0) pull_more(groups);
}

void GuestState::pull_more(uint32_t groups) {
  using namespace group;
  if (groups & control_registers) pull_control_registers();
  for (unsigned n = 0; n < x86::kSegmentCount; ++n)
    if (groups & group::segment(static_cast<x86::Seg>(n))) pull_segment(n);
  if (groups & tables) {
    const auto gdtr = processor_.gdtr(), idtr = processor_.idtr();
    vmcs_[F::guest_gdtr_base] = gdtr.base;
    vmcs_[F::guest_gdtr_limit] = gdtr.limit;
    vmcs_[F::guest_idtr_base] = idtr.base;
    vmcs_[F::guest_idtr_limit] = idtr.limit;
  }
  if ((groups & debug) && saved_.save_debug) {
    vmcs_[F::guest_dr7] = processor_.dr(7);
    vmcs_[F::guest_debugctl] = get_msr(x86::msr::DEBUGCTL);
  }
  if (groups & sysenter) {
    vmcs_[F::guest_sysenter_cs] = get_msr(x86::msr::SYSENTER_CS) & 0xffffffff;
    vmcs_[F::guest_sysenter_esp] = get_msr(x86::msr::SYSENTER_ESP);
    vmcs_[F::guest_sysenter_eip] = get_msr(x86::msr::SYSENTER_EIP);
  }
  if ((groups & pat) && saved_.save_pat) vmcs_[F::guest_pat] = get_msr(x86::msr::PAT);
  if ((groups & pdptes) && saved_.ept) {
    const auto entries = processor_.pdptes();
    for (unsigned n = 0; n < 4; ++n) vmcs_[nth(F::guest_pdpte0, n)] = entries[n];
  }
}

void GuestState::load_segment(unsigned n) {
  processor_.set_segment(
      static_cast<x86::Seg>(n),
      {static_cast<uint16_t>(vmcs_[nth(F::guest_es_selector, n)]),
       static_cast<uint32_t>(vmcs_[nth(F::guest_es_access_rights, n)]),
       static_cast<uint32_t>(vmcs_[nth(F::guest_es_limit, n)]), vmcs_[nth(F::guest_es_base, n)]});
}

// Bits 63:32 (which the checks require to be 0), CD, NW, ET and the reserved bits of CR0 are not
// modified by VM entry. SDM vol. 3C, "Loading Guest Control Registers, Debug Registers, and MSRs".
void GuestState::load_control_registers(const SwitchRules& rules) {
  constexpr uint64_t kept = 0x7ffaffd0;
  const uint64_t cr0 = (vmcs_[F::guest_cr0] & ~kept & 0xffffffff) | (rules.host_cr0 & kept);
  const uint64_t efer = rules.load_efer ? vmcs_[F::guest_efer] : rules.efer;
  processor_.set_control_registers(cr0, vmcs_[F::guest_cr3], vmcs_[F::guest_cr4], efer);
}

void GuestState::load_debug(const SwitchRules& rules) {
  processor_.set_dr(7, rules.load_debug ? vmcs_[F::guest_dr7] : rules.dr7);
  set_msr(x86::msr::DEBUGCTL, rules.load_debug ? vmcs_[F::guest_debugctl] : rules.debugctl);
}

void GuestState::load_groups(const SwitchRules& rules) {
  using namespace group;
  const uint32_t groups = to_load_;
  need(groups);
  to_load_ = 0;
  if (groups & rip) processor_.set_rip(vmcs_[F::guest_rip]);
  if (groups & rsp) processor_.gpr()[x86::Gpr::rsp] = vmcs_[F::guest_rsp];
  if (groups & rflags) processor_.set_rflags(vmcs_[F::guest_rflags]);
  if ((groups & ~(rip | rsp | rflags)) == 0) return;
  if (groups & control_registers) load_control_registers(rules);
  for (unsigned n = 0; n < x86::kSegmentCount; ++n)
    if (groups & group::segment(static_cast<x86::Seg>(n))) load_segment(n);
  if (groups & tables) {
    processor_.set_gdtr(
        {vmcs_[F::guest_gdtr_base], static_cast<uint16_t>(vmcs_[F::guest_gdtr_limit])});
    processor_.set_idtr(
        {vmcs_[F::guest_idtr_base], static_cast<uint16_t>(vmcs_[F::guest_idtr_limit])});
  }
  if (groups & debug) load_debug(rules);
  if (groups & sysenter) {
    set_msr(x86::msr::SYSENTER_CS, vmcs_[F::guest_sysenter_cs]);
    set_msr(x86::msr::SYSENTER_ESP, vmcs_[F::guest_sysenter_esp]);
    set_msr(x86::msr::SYSENTER_EIP, vmcs_[F::guest_sysenter_eip]);
  }
  if (groups & pat) set_msr(x86::msr::PAT, rules.load_pat ? vmcs_[F::guest_pat] : rules.pat);
  if ((groups & pdptes) && rules.ept) {
    std::array<uint64_t, 4> entries{};
    for (unsigned n = 0; n < 4; ++n) entries[n] = vmcs_[nth(F::guest_pdpte0, n)];
    processor_.set_pdptes(entries);
  }
  if (groups & non_register) {
    processor_.set_activity(static_cast<x86::Activity>(vmcs_[F::guest_activity_state]));
    processor_.set_interruptibility(static_cast<uint32_t>(vmcs_[F::guest_interruptibility_state]));
    processor_.set_pending_debug(vmcs_[F::guest_pending_debug_exceptions]);
  }
}

}  // namespace cupel::vtx
