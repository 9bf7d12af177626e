// States that pass every check and are still undefined, or hardly meant.
#include "hw_models/vtx/doctor.h"

namespace cupel::vtx {
namespace {

using namespace x86;
using S = const EntryState&;

constexpr std::array<F, 4> reads(F a, F b = F::none, F c = F::none, F d = F::none) {
  return {a, b, c, d};
}

// "If the limit is exceeded, undefined processor behavior may result (including a machine check
// during the VMX transition)." SDM vol. 3D, "Miscellaneous Data" (bits 27:25).
template <F count>
bool list_too_long(S s) {
  const uint64_t limit = 512 * ((s.capabilities.misc_other >> 25 & 7) + 1);
  return s[count] > limit;
}

bool injection_type(S s) {
  const auto info = s.injection();
  if (!info.valid) return false;
  switch (info.type) {
    case EventType::hardware_exception:
      return info.vector == kNMI || info.vector == kBP || info.vector == kOF;
    case EventType::software_exception:
      return info.vector != kBP && info.vector != kOF;
    case EventType::privileged_software_exception:
      return info.vector != kDB;
    case EventType::external_interrupt:
      return info.vector < 16;
    default:
      return false;
  }
}

bool nmi_blocked(S s) {
  return s.injects(EventType::nmi) && !s.pin(pin::virtual_nmis) &&
         (s[F::guest_interruptibility_state] & interruptibility::nmi) != 0;
}

// Two structures that the processor uses lie on one page.
bool same_page(S s) {
  std::array<uint64_t, 5> pages{};
  size_t count = 0;
  const auto add = [&](bool used, F f) {
    if (used) pages[count++] = s[f] >> 12;
  };
  add(s.proc(proc::io_bitmaps), F::io_bitmap_a);
  add(s.proc(proc::io_bitmaps), F::io_bitmap_b);
  add(s.proc(proc::msr_bitmaps), F::msr_bitmap);
  add(s.proc(proc::tpr_shadow), F::virtual_apic_address);
  add(s.proc2(proc2::enable_pml), F::pml_address);
  for (size_t i = 0; i < count; ++i)
    for (size_t j = i + 1; j < count; ++j)
      if (pages[i] == pages[j]) return true;
  return false;
}

constexpr WarningRow kRows[] = {
    {"undefined.exit_msr_store_count", "VM-Exit Controls for MSRs", reads(F::exit_msr_store_count),
     list_too_long<F::exit_msr_store_count>,
     "the VM-exit MSR-store count is beyond the maximum that IA32_VMX_MISC[27:25] recommends: "
     "undefined behaviour, a machine check included"},
    {"undefined.exit_msr_load_count", "VM-Exit Controls for MSRs", reads(F::exit_msr_load_count),
     list_too_long<F::exit_msr_load_count>,
     "the VM-exit MSR-load count is beyond the maximum that IA32_VMX_MISC[27:25] recommends: "
     "undefined behaviour, a machine check included"},
    {"undefined.entry_msr_load_count", "VM-Entry Controls for MSRs", reads(F::entry_msr_load_count),
     list_too_long<F::entry_msr_load_count>,
     "the VM-entry MSR-load count is beyond the maximum that IA32_VMX_MISC[27:25] recommends: "
     "undefined behaviour, a machine check included"},
    {"undefined.injection_type", "VM-Entry Controls for Event Injection",
     reads(F::entry_interruption_info), injection_type,
     "the vector does not belong to the interruption type: #BP and #OF are software exceptions "
     "(6), #DB of INT1 a privileged one (5), an NMI has type 2, interrupts have vectors from 16"},
    {"undefined.same_page", "Software Use of the VMCS and Related Structures",
     reads(F::io_bitmap_a, F::io_bitmap_b, F::msr_bitmap, F::virtual_apic_address), same_page,
     "two of the I/O bitmaps, the MSR bitmap, the virtual-APIC page and the page-modification log "
     "lie on one page"},
    {"doubtful.injected_nmi_blocked", "Event Injection",
     reads(F::entry_interruption_info, F::guest_interruptibility_state), nmi_blocked,
     "an NMI is injected while NMIs are blocked: without \"virtual NMIs\" it is delivered all the "
     "same, into the guest's NMI handler"},
    {"doubtful.rip_canonical", "Checks on Guest RIP, RFLAGS, and SSP", reads(F::guest_rip),
     [](S s) { return !s.canonical(s[F::guest_rip]); },
     "the guest RIP is not canonical: entry takes it, the first instruction fetch raises #GP(0)"},
    {"doubtful.vmxe_owned_by_guest", "Guest/Host Masks and Read Shadows for CR0 and CR4",
     reads(F::cr4_guest_host_mask),
     [](S s) { return (s[F::cr4_guest_host_mask] & cr4::VMXE) == 0; },
     "the guest owns CR4.VMXE: a guest that clears it, as one without VMX does, gets #GP(0)"},
    {"doubtful.unconditional_io", "Processor-Based VM-Execution Controls",
     reads(F::primary_processor_controls),
     [](S s) { return s.proc(proc::io_bitmaps) && s.proc(proc::unconditional_io); },
     "\"unconditional I/O exiting\" is ignored while \"use I/O bitmaps\" is 1"},
    {"doubtful.tpr_threshold_unused", "VM-Execution Controls for APIC Virtualization",
     reads(F::tpr_threshold, F::secondary_processor_controls),
     [](S s) { return s.proc2(proc2::virtual_interrupt_delivery) && s[F::tpr_threshold] != 0; },
     "the TPR threshold is not used while \"virtual-interrupt delivery\" is 1"},
    {"doubtful.preemption_timer_zero", "VMX-Preemption Timer", reads(F::preemption_timer_value),
     [](S s) { return s.pin(pin::preemption_timer) && s[F::preemption_timer_value] == 0; },
     "the VMX-preemption timer is 0: the guest exits before its first instruction"},
    {"doubtful.pml_index", "Page-Modification Logging", reads(F::pml_index),
     [](S s) { return s.proc2(proc2::enable_pml) && s[F::pml_index] > 511; },
     "the PML index is beyond 511: the first write to a clean page exits with a full log"},
    {"doubtful.link_pointer_unused", "VMCS Link Pointer", reads(F::vmcs_link_pointer),
     [](S s) {
       return s[F::vmcs_link_pointer] != ~0ull && !s.proc2(proc2::vmcs_shadowing) && !s.host.in_smm;
     },
     "the VMCS link pointer is not used without \"VMCS shadowing\"; FFFFFFFF_FFFFFFFFH says so"},
    {"doubtful.wait_for_sipi", "Guest Non-Register State", reads(F::guest_activity_state),
     [](S s) { return s[F::guest_activity_state] == 3; },
     "the guest waits for a start-up IPI: interrupts, NMIs and SMIs do not reach it"},
    {"doubtful.shutdown", "Guest Non-Register State", reads(F::guest_activity_state),
     [](S s) { return s[F::guest_activity_state] == 2 && !s.injection().valid; },
     "the guest is in shutdown and no event is injected that would end it"},
};

}  // namespace

std::span<const WarningRow> warning_rows() { return kRows; }

}  // namespace cupel::vtx
