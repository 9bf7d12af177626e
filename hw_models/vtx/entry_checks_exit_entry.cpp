// Checks on the VM-execution, VM-exit and VM-entry controls.
#include "hw_models/vtx/entry_checks.h"

namespace cupel::vtx {
namespace {

using namespace x86;
using S = const EntryState&;

constexpr const char* kExecution = "VM-Execution Control Fields";
constexpr const char* kExit = "VM-Exit Control Fields";
constexpr const char* kEntry = "VM-Entry Control Fields";

constexpr F kPin = F::pin_based_controls, kProc = F::primary_processor_controls,
            kProc2 = F::secondary_processor_controls;

// `control` may be 1 only when `other` is.
constexpr bool implies(bool control, bool other) { return !control || other; }

bool eptp_memory_type(S s) {
  const uint64_t type = s[F::ept_pointer] & 7, caps = s.capabilities.ept_vpid;
  return !s.proc2(proc2::enable_ept) || (type == 0 && (caps & eptcap::memory_type_uc) != 0) ||
         (type == 6 && (caps & eptcap::memory_type_wb) != 0);
}

// The area of `count` entries of 16 bytes: aligned, first and last byte inside the width.
bool msr_area(S s, F count_field, F address_field) {
  const uint64_t count = s[count_field], address = s[address_field];
  if (count == 0) return true;
  const uint64_t last = address + count * 16 - 1;
  return (address & 15) == 0 && s.physical(address) && s.physical(last) && last >= address;
}

bool injection_type(S s) {
  const auto info = s.injection();
  if (!info.valid) return true;
  const auto type = static_cast<uint8_t>(info.type);
  return type != 1 && (type != 7 || s.capabilities.proc.offers(proc::monitor_trap_flag));
}

bool injection_vector(S s) {
  const auto info = s.injection();
  if (!info.valid) return true;
  switch (info.type) {
    case EventType::nmi:
      return info.vector == kNMI;
    case EventType::hardware_exception:
      return info.vector <= 31;
    case EventType::other:
      return info.vector == 0;
    default:
      return true;
  }
}

bool injection_deliver_error_code(S s) {
  const auto info = s.injection();
  if (!info.valid) return true;
  const bool exception = info.type == EventType::hardware_exception;
  const bool protected_mode = !s.unrestricted() || (s[F::guest_cr0] & cr0::PE) != 0;
  if (info.error_code_valid && (!exception || !protected_mode)) return false;
  if (!exception || !protected_mode || s.capabilities.exception_error_code_optional) return true;
  // CP (21) is an error-code vector only on processors with CET.
  return info.error_code_valid == (has_error_code(info.vector) && info.vector != kCP);
}

bool injection_length(S s) {
  const auto info = s.injection();
  const bool software = info.type == EventType::software_interrupt ||
                        info.type == EventType::privileged_software_exception ||
                        info.type == EventType::software_exception;
  if (!info.valid || !software) return true;
  const uint64_t length = s[F::entry_instruction_length];
  return length <= 15 && (length != 0 || s.capabilities.inject_zero_length);
}

constexpr CheckRow kRows[] = {
    {"control.pin.reserved", kExecution, fields(kPin),
     [](S s) { return s.capabilities.pin.accepts(s[kPin]); },
     "as IA32_VMX_TRUE_PINBASED_CTLS (48DH) allows"},
    {"control.proc.reserved", kExecution, fields(kProc),
     [](S s) { return s.capabilities.proc.accepts(s[kProc]); },
     "as IA32_VMX_TRUE_PROCBASED_CTLS (48EH) allows"},
    {"control.proc2.reserved", kExecution, fields(kProc, kProc2),
     [](S s) {
       return !s.proc(proc::secondary_controls) || s.capabilities.proc2.accepts(s[kProc2]);
     },
     "as IA32_VMX_PROCBASED_CTLS2 (48BH) allows"},
    {"control.cr3_target_count", kExecution, fields(F::cr3_target_count),
     [](S s) { return s[F::cr3_target_count] <= s.capabilities.cr3_targets; },
     "at most IA32_VMX_MISC[24:16]"},
    {"control.io_bitmap_a.address", kExecution, fields(kProc, F::io_bitmap_a),
     [](S s) { return !s.proc(proc::io_bitmaps) || s.structure(s[F::io_bitmap_a]); },
     "4-KByte aligned, inside the physical-address width, when \"use I/O bitmaps\" is 1"},
    {"control.io_bitmap_b.address", kExecution, fields(kProc, F::io_bitmap_b),
     [](S s) { return !s.proc(proc::io_bitmaps) || s.structure(s[F::io_bitmap_b]); },
     "4-KByte aligned, inside the physical-address width, when \"use I/O bitmaps\" is 1"},
    {"control.msr_bitmap.address", kExecution, fields(kProc, F::msr_bitmap),
     [](S s) { return !s.proc(proc::msr_bitmaps) || s.structure(s[F::msr_bitmap]); },
     "4-KByte aligned, inside the physical-address width, when \"use MSR bitmaps\" is 1"},
    {"control.virtual_apic.address", kExecution, fields(kProc, F::virtual_apic_address),
     [](S s) { return !s.proc(proc::tpr_shadow) || s.structure(s[F::virtual_apic_address]); },
     "4-KByte aligned, inside the physical-address width, when \"use TPR shadow\" is 1"},
    {"control.tpr_threshold.reserved", kExecution, fields(kProc, kProc2, F::tpr_threshold),
     [](S s) {
       return !s.proc(proc::tpr_shadow) || s.proc2(proc2::virtual_interrupt_delivery) ||
              s[F::tpr_threshold] <= 15;
     },
     "bits 31:4 are 0"},
    {"control.tpr_shadow.dependents", kExecution, fields(kProc, kProc2),
     [](S s) {
       return implies(s.proc2(proc2::virtualize_x2apic | proc2::apic_register_virtualization |
                              proc2::virtual_interrupt_delivery),
                      s.proc(proc::tpr_shadow));
     },
     "x2APIC mode, APIC-register virtualization and virtual-interrupt delivery need \"use TPR "
     "shadow\""},
    {"control.virtual_nmis.nmi_exiting", kExecution, fields(kPin),
     [](S s) { return implies(s.pin(pin::virtual_nmis), s.pin(pin::nmi_exiting)); },
     "\"virtual NMIs\" needs \"NMI exiting\""},
    {"control.nmi_window.virtual_nmis", kExecution, fields(kPin, kProc),
     [](S s) { return implies(s.proc(proc::nmi_window), s.pin(pin::virtual_nmis)); },
     "\"NMI-window exiting\" needs \"virtual NMIs\""},
    {"control.apic_access.address", kExecution, fields(kProc, kProc2, F::apic_access_address),
     [](S s) {
       return !s.proc2(proc2::virtualize_apic_accesses) || s.structure(s[F::apic_access_address]);
     },
     "4-KByte aligned, inside the physical-address width"},
    {"control.x2apic.apic_accesses", kExecution, fields(kProc, kProc2),
     [](S s) {
       return !(s.proc2(proc2::virtualize_x2apic) && s.proc2(proc2::virtualize_apic_accesses));
     },
     "\"virtualize x2APIC mode\" excludes \"virtualize APIC accesses\""},
    {"control.virtual_interrupt_delivery.external_interrupt", kExecution,
     fields(kPin, kProc, kProc2),
     [](S s) {
       return implies(s.proc2(proc2::virtual_interrupt_delivery),
                      s.pin(pin::external_interrupt_exiting));
     },
     "\"virtual-interrupt delivery\" needs \"external-interrupt exiting\""},
    {"control.posted_interrupts", kExecution,
     fields(kPin, kProc, kProc2, F::exit_controls, F::posted_interrupt_vector,
            F::posted_interrupt_descriptor),
     [](S s) {
       return !s.pin(pin::process_posted_interrupts) ||
              (s.proc2(proc2::virtual_interrupt_delivery) &&
               s.exit(exitctl::acknowledge_interrupt) && s[F::posted_interrupt_vector] <= 255 &&
               s.structure(s[F::posted_interrupt_descriptor], 64));
     },
     "\"process posted interrupts\" needs virtual-interrupt delivery, acknowledge interrupt on "
     "exit, a vector of 0-255 and a 64-byte aligned descriptor"},
    {"control.vpid.zero", kExecution, fields(kProc, kProc2, F::vpid),
     [](S s) { return !s.proc2(proc2::enable_vpid) || s[F::vpid] != 0; },
     "not 0 when \"enable VPID\" is 1"},
    {"control.eptp.memory_type", kExecution, fields(kProc, kProc2, F::ept_pointer),
     eptp_memory_type, "bits 2:0 are 0 (UC) or 6 (WB) as IA32_VMX_EPT_VPID_CAP offers"},
    {"control.eptp.walk_length", kExecution, fields(kProc, kProc2, F::ept_pointer),
     [](S s) { return !s.proc2(proc2::enable_ept) || (s[F::ept_pointer] >> 3 & 7) == 3; },
     "bits 5:3 are 3 (page-walk length 4)"},
    {"control.eptp.accessed_dirty", kExecution, fields(kProc, kProc2, F::ept_pointer),
     [](S s) {
       return !s.proc2(proc2::enable_ept) || (s[F::ept_pointer] & 64) == 0 ||
              (s.capabilities.ept_vpid & eptcap::accessed_dirty) != 0;
     },
     "bit 6 is 0 unless IA32_VMX_EPT_VPID_CAP[21] is 1"},
    {"control.eptp.reserved", kExecution, fields(kProc, kProc2, F::ept_pointer),
     [](S s) {
       return !s.proc2(proc2::enable_ept) ||
              ((s[F::ept_pointer] & 0xf80) == 0 && s.physical(s[F::ept_pointer]));
     },
     "bits 11:7 and bits beyond the physical-address width are 0"},
    {"control.pml.ept", kExecution, fields(kProc, kProc2, F::pml_address),
     [](S s) {
       return !s.proc2(proc2::enable_pml) ||
              (s.proc2(proc2::enable_ept) && s.structure(s[F::pml_address]));
     },
     "\"enable PML\" needs \"enable EPT\" and a 4-KByte aligned log"},
    {"control.unrestricted_guest.ept", kExecution, fields(kProc, kProc2),
     [](S s) { return implies(s.proc2(proc2::unrestricted_guest), s.proc2(proc2::enable_ept)); },
     "\"unrestricted guest\" needs \"enable EPT\""},
    {"control.mode_based_execute.ept", kExecution, fields(kProc, kProc2),
     [](S s) { return implies(s.proc2(proc2::mode_based_execute), s.proc2(proc2::enable_ept)); },
     "\"mode-based execute control for EPT\" needs \"enable EPT\""},
    {"control.vmcs_shadowing.bitmaps", kExecution,
     fields(kProc, kProc2, F::vmread_bitmap, F::vmwrite_bitmap),
     [](S s) {
       return !s.proc2(proc2::vmcs_shadowing) ||
              (s.structure(s[F::vmread_bitmap]) && s.structure(s[F::vmwrite_bitmap]));
     },
     "both bitmaps 4-KByte aligned, inside the physical-address width"},
    {"control.exit.reserved", kExit, fields(F::exit_controls),
     [](S s) { return s.capabilities.exit.accepts(s[F::exit_controls]); },
     "as IA32_VMX_TRUE_EXIT_CTLS (48FH) allows"},
    {"control.exit.save_preemption_timer", kExit, fields(kPin, F::exit_controls),
     [](S s) {
       return implies(s.exit(exitctl::save_preemption_timer), s.pin(pin::preemption_timer));
     },
     "\"save VMX-preemption timer value\" needs \"activate VMX-preemption timer\""},
    {"control.exit_msr_store.area", kExit,
     fields(F::exit_msr_store_count, F::exit_msr_store_address),
     [](S s) { return msr_area(s, F::exit_msr_store_count, F::exit_msr_store_address); },
     "16-byte aligned; first and last byte inside the physical-address width"},
    {"control.exit_msr_load.area", kExit, fields(F::exit_msr_load_count, F::exit_msr_load_address),
     [](S s) { return msr_area(s, F::exit_msr_load_count, F::exit_msr_load_address); },
     "16-byte aligned; first and last byte inside the physical-address width"},
    {"control.entry.reserved", kEntry, fields(F::entry_controls),
     [](S s) { return s.capabilities.entry.accepts(s[F::entry_controls]); },
     "as IA32_VMX_TRUE_ENTRY_CTLS (490H) allows"},
    {"control.entry.smm", kEntry, fields(F::entry_controls),
     [](S s) {
       return !s.entry(entryctl::entry_to_smm) && !s.entry(entryctl::deactivate_dual_monitor);
     },
     "\"entry to SMM\" and \"deactivate dual-monitor treatment\" are 0 outside SMM"},
    {"control.injection.type", kEntry, fields(F::entry_interruption_info), injection_type,
     "interruption type (bits 10:8) is not 1, and 7 only with \"monitor trap flag\""},
    {"control.injection.vector", kEntry, fields(F::entry_interruption_info), injection_vector,
     "NMI: 2; hardware exception: 0-31; other event: 0"},
    {"control.injection.deliver_error_code", kEntry,
     fields(F::entry_interruption_info, F::guest_cr0, kProc, kProc2), injection_deliver_error_code,
     "bit 11 is 1 exactly for the hardware exceptions with error code, in protected mode"},
    {"control.injection.reserved", kEntry, fields(F::entry_interruption_info),
     [](S s) { return !s.injection().valid || (s[F::entry_interruption_info] & 0x7ffff000) == 0; },
     "bits 30:12 are 0"},
    {"control.injection.error_code", kEntry,
     fields(F::entry_interruption_info, F::entry_exception_error_code),
     [](S s) {
       const auto info = s.injection();
       return !info.valid || !info.error_code_valid || s[F::entry_exception_error_code] <= 0xffff;
     },
     "bits 31:16 of the error code are 0"},
    {"control.injection.instruction_length", kEntry,
     fields(F::entry_interruption_info, F::entry_instruction_length), injection_length,
     "software interrupt or exception: 1-15, or 0 with IA32_VMX_MISC[30]"},
    {"control.entry_msr_load.area", kEntry,
     fields(F::entry_msr_load_count, F::entry_msr_load_address),
     [](S s) { return msr_area(s, F::entry_msr_load_count, F::entry_msr_load_address); },
     "16-byte aligned; first and last byte inside the physical-address width"},
};

}  // namespace

std::span<const CheckRow> control_checks() { return kRows; }

}  // namespace cupel::vtx
