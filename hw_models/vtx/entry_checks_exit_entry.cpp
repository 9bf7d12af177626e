// Checks on the VM-exit and VM-entry control fields.
#include "hw_models/vtx/entry_checks.h"

namespace cupel::vtx {
namespace {

using namespace x86;
using S = const EntryState&;

constexpr const char* kExit = "VM-Exit Control Fields";
constexpr const char* kEntry = "VM-Entry Control Fields";

constexpr F kProc = F::primary_processor_controls, kProc2 = F::secondary_processor_controls;
constexpr F kInfo = F::entry_interruption_info;

constexpr const char* kArea =
    "16-byte aligned; first and last byte inside the physical-address width";

// The area of `count` entries of 16 bytes: aligned, first and last byte inside the width.
template <F count_field, F address_field>
bool msr_area(S s) {
  const uint64_t count = s[count_field], address = s[address_field];
  if (count == 0) return true;
  const uint64_t last = address + count * 16 - 1;
  return (address & 15) == 0 && s.physical(address) && s.physical(last) && last >= address;
}

bool fred(S s) { return s.capabilities.entry.offers(entryctl::load_fred); }

bool injection_type(S s) {
  const auto info = s.injection();
  if (!info.valid) return true;
  const auto type = static_cast<uint8_t>(info.type);
  return type != 1 && (type != 7 || s.capabilities.proc.offers(proc::monitor_trap_flag));
}

// Type 7: 0 is a pending MTF VM exit; with FRED 1 is SYSCALL, 2 SYSENTER.
bool injection_vector(S s) {
  const auto info = s.injection();
  if (!info.valid) return true;
  switch (info.type) {
    case EventType::nmi:
      return info.vector == kNMI;
    case EventType::hardware_exception:
      return info.vector <= 31;
    case EventType::other:
      return info.vector <= (fred(s) ? 2 : 0);
    default:
      return true;
  }
}

// #CP (21) is an error-code vector only on processors with CET.
bool pushes_error_code(S s, uint8_t vector) {
  return has_error_code(vector) && (vector != kCP || s.capabilities.features.cet());
}
bool protected_mode(S s) { return !s.unrestricted() || (s[F::guest_cr0] & cr0::PE) != 0; }

bool error_code_delivered(S s) {
  const auto info = s.injection();
  if (!info.valid || info.type != EventType::hardware_exception || !protected_mode(s)) return true;
  if (s.capabilities.exception_error_code_optional) return true;
  return info.error_code_valid || !pushes_error_code(s, info.vector);
}
bool error_code_allowed(S s) {
  const auto info = s.injection();
  if (!info.valid || !info.error_code_valid) return true;
  if (info.type != EventType::hardware_exception || !protected_mode(s)) return false;
  return s.capabilities.exception_error_code_optional || pushes_error_code(s, info.vector);
}

// Bit 13 says "nested exception" on processors with FRED.
bool injection_reserved(S s) {
  const uint64_t reserved = fred(s) ? 0x7fffd000 : 0x7ffff000;
  return !s.injection().valid || (s[kInfo] & reserved) == 0;
}

bool injection_length(S s) {
  const auto info = s.injection();
  const bool software = info.type == EventType::software_interrupt ||
                        info.type == EventType::privileged_software_exception ||
                        info.type == EventType::software_exception ||
                        (info.type == EventType::other && info.vector != 0 && fred(s));
  if (!info.valid || !software) return true;
  const uint64_t length = s[F::entry_instruction_length];
  return length <= 15 && (length != 0 || s.capabilities.inject_zero_length);
}

constexpr CheckRow kExitRows[] = {
    {"control.exit.reserved", kExit, fields(F::exit_controls),
     [](S s) { return s.capabilities.exit.accepts(s[F::exit_controls]); },
     "as IA32_VMX_TRUE_EXIT_CTLS (48FH) allows"},
    {"control.exit2.reserved", kExit, fields(F::exit_controls, F::secondary_exit_controls),
     [](S s) {
       return !s.exit(exitctl::secondary_controls) ||
              (s[F::secondary_exit_controls] & ~s.capabilities.exit2) == 0;
     },
     "as IA32_VMX_EXIT_CTLS2 (493H) allows"},
    {"control.exit.save_preemption_timer", kExit, fields(F::pin_based_controls, F::exit_controls),
     [](S s) { return !s.exit(exitctl::save_preemption_timer) || s.pin(pin::preemption_timer); },
     "\"save VMX-preemption timer value\" needs \"activate VMX-preemption timer\""},
    {"control.exit_msr_store.area", kExit,
     fields(F::exit_msr_store_count, F::exit_msr_store_address),
     msr_area<F::exit_msr_store_count, F::exit_msr_store_address>, kArea},
    {"control.exit_msr_load.area", kExit, fields(F::exit_msr_load_count, F::exit_msr_load_address),
     msr_area<F::exit_msr_load_count, F::exit_msr_load_address>, kArea},
};

constexpr CheckRow kEntryRows[] = {
    {"control.entry.reserved", kEntry, fields(F::entry_controls),
     [](S s) { return s.capabilities.entry.accepts(s[F::entry_controls]); },
     "as IA32_VMX_TRUE_ENTRY_CTLS (490H) allows"},
    {"control.injection.type", kEntry, fields(kInfo), injection_type,
     "interruption type (bits 10:8) is not 1, and 7 only with \"monitor trap flag\""},
    {"control.injection.vector", kEntry, fields(kInfo), injection_vector,
     "NMI: 2; hardware exception: 0-31; other event: 0"},
    {"control.injection.error_code_missing", kEntry, fields(kInfo, F::guest_cr0, kProc, kProc2),
     error_code_delivered,
     "bit 11 is 1 for the hardware exceptions that push an error code (8, 10-14, 17; 21 with CET), "
     "in protected mode, unless IA32_VMX_BASIC[56] is 1"},
    {"control.injection.error_code_unexpected", kEntry, fields(kInfo, F::guest_cr0, kProc, kProc2),
     error_code_allowed,
     "bit 11 is 0 for other events, with CR0.PE 0, and for other vectors unless "
     "IA32_VMX_BASIC[56] is 1"},
    {"control.injection.reserved", kEntry, fields(kInfo), injection_reserved, "bits 30:12 are 0"},
    {"control.injection.error_code", kEntry, fields(kInfo, F::entry_exception_error_code),
     [](S s) {
       const auto info = s.injection();
       return !info.valid || !info.error_code_valid || s[F::entry_exception_error_code] <= 0xffff;
     },
     "bits 31:16 of the error code are 0"},
    {"control.injection.instruction_length", kEntry, fields(kInfo, F::entry_instruction_length),
     injection_length, "software interrupt or exception: 1-15, or 0 with IA32_VMX_MISC[30]"},
    {"control.entry_msr_load.area", kEntry,
     fields(F::entry_msr_load_count, F::entry_msr_load_address),
     msr_area<F::entry_msr_load_count, F::entry_msr_load_address>, kArea},
    {"control.entry.smm", kEntry, fields(F::entry_controls),
     [](S s) {
       return s.host.in_smm ||
              (!s.entry(entryctl::entry_to_smm) && !s.entry(entryctl::deactivate_dual_monitor));
     },
     "\"entry to SMM\" and \"deactivate dual-monitor treatment\" are 0 outside SMM"},
    {"control.entry.smm_exclusive", kEntry, fields(F::entry_controls),
     [](S s) {
       return !(s.entry(entryctl::entry_to_smm) && s.entry(entryctl::deactivate_dual_monitor));
     },
     "\"entry to SMM\" and \"deactivate dual-monitor treatment\" are not both 1"},
    {"control.entry.trace", kEntry, fields(F::entry_controls),
     [](S s) { return (s.host.rtit_ctl & 1) == 0 || !s.entry(entryctl::load_rtit_ctl); },
     "\"load IA32_RTIT_CTL\" is 0 while Intel PT is enabled (IA32_RTIT_CTL.TraceEn is 1)"},
};

}  // namespace

CheckSection exit_control_checks() { return section<kExitRows>(); }
CheckSection entry_control_checks() { return section<kEntryRows>(); }

}  // namespace cupel::vtx
