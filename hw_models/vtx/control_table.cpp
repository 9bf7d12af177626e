#include "hw_models/vtx/control_table.h"

#include "core/x86/vmx_controls.h"

namespace cupel::vtx {
namespace {

using W = ControlWord;

constexpr ControlName kNames[] = {
    {W::pin, 0, "external-interrupt exiting"},
    {W::pin, 3, "NMI exiting"},
    {W::pin, 5, "virtual NMIs"},
    {W::pin, 6, "activate VMX-preemption timer"},
    {W::pin, 7, "process posted interrupts"},
    {W::primary, 2, "interrupt-window exiting"},
    {W::primary, 3, "use TSC offsetting"},
    {W::primary, 7, "HLT exiting"},
    {W::primary, 9, "INVLPG exiting"},
    {W::primary, 10, "MWAIT exiting"},
    {W::primary, 11, "RDPMC exiting"},
    {W::primary, 12, "RDTSC exiting"},
    {W::primary, 15, "CR3-load exiting"},
    {W::primary, 16, "CR3-store exiting"},
    {W::primary, 17, "activate tertiary controls"},
    {W::primary, 19, "CR8-load exiting"},
    {W::primary, 20, "CR8-store exiting"},
    {W::primary, 21, "use TPR shadow"},
    {W::primary, 22, "NMI-window exiting"},
    {W::primary, 23, "MOV-DR exiting"},
    {W::primary, 24, "unconditional I/O exiting"},
    {W::primary, 25, "use I/O bitmaps"},
    {W::primary, 27, "monitor trap flag"},
    {W::primary, 28, "use MSR bitmaps"},
    {W::primary, 29, "MONITOR exiting"},
    {W::primary, 30, "PAUSE exiting"},
    {W::primary, 31, "activate secondary controls"},
    {W::secondary, 0, "virtualize APIC accesses"},
    {W::secondary, 1, "enable EPT"},
    {W::secondary, 2, "descriptor-table exiting"},
    {W::secondary, 3, "enable RDTSCP"},
    {W::secondary, 4, "virtualize x2APIC mode"},
    {W::secondary, 5, "enable VPID"},
    {W::secondary, 6, "WBINVD exiting"},
    {W::secondary, 7, "unrestricted guest"},
    {W::secondary, 8, "APIC-register virtualization"},
    {W::secondary, 9, "virtual-interrupt delivery"},
    {W::secondary, 10, "PAUSE-loop exiting"},
    {W::secondary, 11, "RDRAND exiting"},
    {W::secondary, 12, "enable INVPCID"},
    {W::secondary, 13, "enable VM functions"},
    {W::secondary, 14, "VMCS shadowing"},
    {W::secondary, 15, "enable ENCLS exiting"},
    {W::secondary, 16, "RDSEED exiting"},
    {W::secondary, 17, "enable PML"},
    {W::secondary, 18, "EPT-violation #VE"},
    {W::secondary, 19, "conceal VMX from PT"},
    {W::secondary, 20, "enable XSAVES/XRSTORS"},
    {W::secondary, 21, "PASID translation"},
    {W::secondary, 22, "mode-based execute control for EPT"},
    {W::secondary, 23, "sub-page write permissions for EPT"},
    {W::secondary, 24, "Intel PT uses guest physical addresses"},
    {W::secondary, 25, "use TSC scaling"},
    {W::secondary, 26, "enable user wait and pause"},
    {W::secondary, 27, "enable PCONFIG"},
    {W::secondary, 28, "enable ENCLV exiting"},
    {W::secondary, 30, "VMM bus-lock detection"},
    {W::secondary, 31, "instruction timeout"},
    {W::tertiary, 0, "LOADIWKEY exiting"},
    {W::tertiary, 1, "enable HLAT"},
    {W::tertiary, 2, "EPT paging-write control"},
    {W::tertiary, 3, "guest-paging verification"},
    {W::tertiary, 4, "IPI virtualization"},
    {W::tertiary, 5, "SEAM guest-physical address width"},
    {W::tertiary, 6, "enable MSR-list instructions"},
    {W::tertiary, 7, "virtualize IA32_SPEC_CTRL"},
    {W::exit, 2, "save debug controls"},
    {W::exit, 9, "host address-space size"},
    {W::exit, 12, "load IA32_PERF_GLOBAL_CTRL"},
    {W::exit, 15, "acknowledge interrupt on exit"},
    {W::exit, 18, "save IA32_PAT"},
    {W::exit, 19, "load IA32_PAT"},
    {W::exit, 20, "save IA32_EFER"},
    {W::exit, 21, "load IA32_EFER"},
    {W::exit, 22, "save VMX-preemption timer value"},
    {W::exit, 23, "clear IA32_BNDCFGS"},
    {W::exit, 24, "conceal VMX from PT"},
    {W::exit, 25, "clear IA32_RTIT_CTL"},
    {W::exit, 26, "clear IA32_LBR_CTL"},
    {W::exit, 27, "clear UINV"},
    {W::exit, 28, "load CET state"},
    {W::exit, 29, "load PKRS"},
    {W::exit, 30, "save IA32_PERF_GLOBAL_CTRL"},
    {W::exit, 31, "activate secondary controls"},
    {W::secondary_exit, 0, "save FRED MSRs"},
    {W::secondary_exit, 1, "load FRED MSRs"},
    {W::secondary_exit, 3, "prematurely busy shadow stack"},
    {W::entry, 2, "load debug controls"},
    {W::entry, 9, "IA-32e mode guest"},
    {W::entry, 10, "entry to SMM"},
    {W::entry, 11, "deactivate dual-monitor treatment"},
    {W::entry, 13, "load IA32_PERF_GLOBAL_CTRL"},
    {W::entry, 14, "load IA32_PAT"},
    {W::entry, 15, "load IA32_EFER"},
    {W::entry, 16, "load IA32_BNDCFGS"},
    {W::entry, 17, "conceal VMX from PT"},
    {W::entry, 18, "load IA32_RTIT_CTL"},
    {W::entry, 19, "load UINV"},
    {W::entry, 20, "load CET state"},
    {W::entry, 21, "load guest IA32_LBR_CTL"},
    {W::entry, 22, "load PKRS"},
    {W::entry, 23, "load FRED"},
    {W::vm_function, 0, "EPTP switching"},
};

// The control that `word` and `bit` name is of no use without the other.
struct Dependency {
  W word;
  uint64_t bit;
  W needed_word;
  uint64_t needed;
};
using namespace x86;
constexpr Dependency kDependencies[] = {
    {W::secondary, ~0ull, W::primary, proc::secondary_controls},
    {W::tertiary, ~0ull, W::primary, proc::tertiary_controls},
    {W::secondary_exit, ~0ull, W::exit, exitctl::secondary_controls},
    {W::pin, pin::virtual_nmis, W::pin, pin::nmi_exiting},
    {W::primary, proc::nmi_window, W::pin, pin::virtual_nmis},
    {W::exit, exitctl::save_preemption_timer, W::pin, pin::preemption_timer},
    {W::secondary,
     proc2::virtualize_x2apic | proc2::apic_register_virtualization |
         proc2::virtual_interrupt_delivery,
     W::primary, proc::tpr_shadow},
    {W::secondary, proc2::virtual_interrupt_delivery, W::pin, pin::external_interrupt_exiting},
    {W::tertiary, proc3::ipi_virtualization, W::primary, proc::tpr_shadow},
    {W::pin, pin::process_posted_interrupts, W::secondary, proc2::virtual_interrupt_delivery},
    {W::pin, pin::process_posted_interrupts, W::exit, exitctl::acknowledge_interrupt},
    {W::secondary,
     proc2::unrestricted_guest | proc2::enable_pml | proc2::ept_violation_ve |
         proc2::mode_based_execute | proc2::sub_page_permissions | proc2::pt_guest_physical,
     W::secondary, proc2::enable_ept},
    {W::secondary, proc2::pt_guest_physical, W::entry, entryctl::load_rtit_ctl},
    {W::secondary, proc2::pt_guest_physical, W::exit, exitctl::clear_rtit_ctl},
    {W::tertiary, proc3::ept_paging_write | proc3::guest_paging_verification, W::secondary,
     proc2::enable_ept},
    {W::vm_function, ~0ull, W::secondary, proc2::enable_vmfunc},
    {W::vm_function, vmfunc::eptp_switching, W::secondary, proc2::enable_ept},
};

ControlRange* range_of(CapabilityProfile& p, W word) {
  switch (word) {
    case W::pin:
      return &p.pin;
    case W::primary:
      return &p.proc;
    case W::secondary:
      return &p.proc2;
    case W::exit:
      return &p.exit;
    case W::entry:
      return &p.entry;
    default:
      return nullptr;
  }
}

void take(CapabilityProfile& p, W word, uint64_t bits) {
  if (ControlRange* range = range_of(p, word)) {
    const auto low = static_cast<uint32_t>(bits);
    range->required |= low & range->default1;
    range->allowed &= ~(low & ~range->default1);
  } else if (word == W::tertiary) {
    p.proc3 &= ~bits;
  } else if (word == W::secondary_exit) {
    p.exit2 &= ~bits;
  } else {
    p.vmfunc &= ~bits;
  }
}

}  // namespace

std::span<const ControlName> control_names() { return kNames; }

const char* control_name(ControlWord word, unsigned bit) {
  for (const ControlName& row : kNames)
    if (row.word == word && row.bit == bit) return row.name;
  return nullptr;
}

F field_of(ControlWord word) {
  constexpr F fields[] = {F::pin_based_controls,
                          F::primary_processor_controls,
                          F::secondary_processor_controls,
                          F::tertiary_controls,
                          F::exit_controls,
                          F::secondary_exit_controls,
                          F::entry_controls,
                          F::vm_function_controls};
  return fields[static_cast<size_t>(word)];
}

std::optional<ControlWord> control_word_of(F field) {
  for (int n = 0; n <= static_cast<int>(W::vm_function); ++n)
    if (field_of(static_cast<W>(n)) == field) return static_cast<W>(n);
  return std::nullopt;
}

uint64_t allowed_bits(const CapabilityProfile& profile, ControlWord word) {
  auto copy = profile;
  if (const ControlRange* range = range_of(copy, word)) return range->allowed;
  if (word == W::tertiary) return profile.proc3;
  return word == W::secondary_exit ? profile.exit2 : profile.vmfunc;
}

uint64_t required_bits(const CapabilityProfile& profile, ControlWord word) {
  auto copy = profile;
  const ControlRange* range = range_of(copy, word);
  return range != nullptr ? range->required : 0;
}

std::optional<CapabilityProfile> without(CapabilityProfile profile, std::string_view control) {
  std::optional<W> only;
  for (const auto& [prefix, word] : {std::pair{std::string_view("exit: "), W::exit},
                                     std::pair{std::string_view("entry: "), W::entry}}) {
    if (!control.starts_with(prefix)) continue;
    only = word;
    control.remove_prefix(prefix.size());
    break;
  }
  bool known = false;
  for (const ControlName& row : kNames) {
    if (row.name != control || (only && row.word != *only)) continue;
    take(profile, row.word, 1ull << row.bit);
    known = true;
  }
  if (!known) return std::nullopt;
  drop_dependents(profile);
  return profile;
}

void drop_dependents(CapabilityProfile& profile) {
  for (bool changed = true; changed;) {
    changed = false;
    for (const Dependency& d : kDependencies) {
      const uint64_t had = allowed_bits(profile, d.word);
      if ((allowed_bits(profile, d.needed_word) & d.needed) != 0) continue;
      take(profile, d.word, d.bit);
      changed = changed || allowed_bits(profile, d.word) != had;
    }
  }
}

}  // namespace cupel::vtx
