// The guest-state area of the current VMCS and the processor that holds the guest: two copies of
// one state, synchronized only when somebody looks.
#pragma once

#include <array>
#include <cstdint>

#include "hw_models/cpu/processor.h"
#include "hw_models/vtx/vmcs.h"

namespace cupel::vtx {

// What is transferred together. Every group is one bit.
namespace group {
inline constexpr uint32_t rip = 1u << 0, rsp = 1u << 1, rflags = 1u << 2,
                          control_registers = 1u << 3,  // CR0, CR3, CR4, EFER
    tables = 1u << 4,                                   // GDTR, IDTR
    debug = 1u << 5,                                    // DR7, DEBUGCTL
    sysenter = 1u << 6, pat = 1u << 7, pdptes = 1u << 8,
                          non_register = 1u << 9,  // activity, interruptibility, pending debug
    segment0 = 1u << 10,                           // eight bits, in the order of x86::Seg
    all = (1u << 18) - 1;
constexpr uint32_t segment(x86::Seg s) { return segment0 << static_cast<unsigned>(s); }
}  // namespace group

// The group of a field; 0 for fields that live in the VMCS only.
uint32_t group_of(F field);

// What the controls say about loading and saving, and the host values that stay in force for the
// guest where VM entry loads nothing.
struct SwitchRules {
  uint64_t host_cr0 = 0;
  uint64_t efer = 0;     // guest EFER when "load IA32_EFER" is 0
  uint64_t pat = 0;      // likewise PAT
  uint64_t dr7 = 0x400;  // likewise DR7 ("load debug controls")
  uint64_t debugctl = 0;
  bool load_efer = false, load_pat = false, load_debug = false;
  bool save_efer = false, save_pat = false, save_debug = false;
  bool ept = false;  // PDPTEs are VMCS fields
  // Groups in which an exit takes the guest's value out of force, so that every entry loads them.
  uint32_t reload = 0;
};

class GuestState {
 public:
  GuestState(cpu::Processor& processor, Vmcs& vmcs) : processor_(processor), vmcs_(vmcs) {}

  // VMREAD of a guest-state field: takes its group out of the processor if need be.
  uint64_t read(F field) {
    need(groups_[static_cast<size_t>(field)]);
    return vmcs_[field];
  }
  // VMWRITE: the rest of the group must be current, and the next entry loads the group.
  void write(F field, uint64_t value) {
    const uint32_t g = groups_[static_cast<size_t>(field)];
    need(g);
    vmcs_[field] = value;
    to_load_ |= g;
  }
  // Everything into the VMCS: before another one becomes current, and before controls change that
  // say what the last exit saved.
  void pull_all() { need(group::all); }
  void pull_groups(uint32_t groups) { need(groups); }
  // A VMCS became current: all of it is in the VMCS, nothing in the processor.
  void vmcs_replaced() {
    fresh_ = group::all;
    to_load_ = group::all;
    banked_ = false;
  }
  // The processor runs the guest of this VMCS: nothing is to be loaded.
  void resumed() { fresh_ = to_load_ = 0; }
  void load_again(uint32_t groups) { to_load_ |= groups; }

  // VM entry: loads the groups written since the last one.
  // SDM vol. 3C, "Loading Guest State".
  void load(const SwitchRules& rules) {
    if (to_load_ != 0) load_groups(rules);
  }
  // VM exit: the processor now holds the truth. SDM vol. 3C, "Saving Guest State".
  void exited(const SwitchRules& rules) {
    fresh_ = 0;
    saved_ = rules;
    to_load_ |= rules.reload;
  }
  // The same, and the guest's state stands aside for a host that the processor executes.
  void exited_into_bank(const SwitchRules& rules);
  // Before load(): the guest's state comes back.
  void leave_bank();

  static constexpr unsigned kGuestBank = 0, kHostBank = 1;

 private:
  void need(uint32_t groups) {
    if ((groups & ~fresh_) != 0) pull(groups & ~fresh_);
  }
  void pull(uint32_t groups);
  void pull_more(uint32_t groups);
  void pull_segment(unsigned n);
  void pull_control_registers();
  void load_groups(const SwitchRules& rules);
  void load_segment(unsigned n);
  void load_control_registers(const SwitchRules& rules);
  void load_debug(const SwitchRules& rules);
  void set_msr(uint32_t index, uint64_t value);
  uint64_t get_msr(uint32_t index);

  static const std::array<uint32_t, kFieldCount + 1> groups_;
  cpu::Processor& processor_;
  Vmcs& vmcs_;
  uint32_t fresh_ = group::all;    // groups whose VMCS values are current
  uint32_t to_load_ = group::all;  // groups that the processor does not hold yet
  bool banked_ = false;            // the processor's part is in kGuestBank
  SwitchRules saved_;              // rules of the exit whose state is in the processor
};

}  // namespace cupel::vtx
