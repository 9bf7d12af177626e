// Checks on the VM-execution, VM-exit and VM-entry control fields: VMfailValid(7).
// SDM vol. 3C, "Checks on VMX Controls".
#include "core/x86/msr.h"
#include "hypervisor/metal/selftest/check_rows.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;
using V = TestVm&;

constexpr auto kPin = Field32::pin_based_controls, kProc = Field32::primary_processor_controls,
               kProc2 = Field32::secondary_processor_controls, kExit = Field32::exit_controls,
               kEntry = Field32::entry_controls;

// The lowest bit that must be 1 is cleared; the lowest that must be 0 is set.
template <auto field, auto capability>
void clear_required(V vm) {
  const auto must = static_cast<uint32_t>(vm.lab().caps.*capability);
  vm.set(field, vm.get(field) & ~(must & (~must + 1)));
}
template <auto field, auto capability>
void set_unsupported(V vm) {
  const auto may_not = ~static_cast<uint32_t>(vm.lab().caps.*capability >> 32);
  vm.set(field, vm.get(field) | (may_not & (~may_not + 1)));
}
template <auto capability>
bool has_required(Lab& lab) {
  return static_cast<uint32_t>(lab.caps.*capability) != 0;
}
template <auto capability>
bool has_unsupported(Lab& lab) {
  return static_cast<uint32_t>(lab.caps.*capability >> 32) != ~0u;
}

template <auto field>
void misalign(V vm) {
  vm.set(field, vm.get(field) | 0x800);
}
// With the control off nobody looks at the address.
template <auto field, auto control_field, auto bits>
void ignored_address(V vm) {
  misalign<field>(vm);
  vm.set(control_field, vm.get(control_field) & ~bits);
}
template <auto value>
void inject_value(V vm) {
  inject(vm, value);
}
void inject_with_error(V vm, uint32_t information, uint32_t error) {
  inject(vm, information);
  vm.set(Field32::entry_exception_error_code, error);
}
void inject_with_length(V vm, uint32_t information, uint32_t length) {
  inject(vm, information);
  vm.set(Field32::entry_instruction_length, length);
}

bool no_mtf(Lab& lab) { return !lab.offers({.primary = proc::monitor_trap_flag}); }
bool no_accessed_dirty(Lab& lab) { return !lab.caps.ept_accessed_dirty(); }
bool no_uncacheable(Lab& lab) { return (lab.caps.ept_vpid >> 8 & 1) == 0; }
bool error_code_checked(Lab& lab) { return (lab.caps.basic >> 56 & 1) == 0; }
bool zero_length_refused(Lab& lab) { return (lab.caps.misc >> 30 & 1) == 0; }
bool zero_length_allowed(Lab& lab) { return !zero_length_refused(lab); }

using Caps = vmx::VmxCapabilities;

#define ADDRESS_ROWS(id, controls, field, control_field, bits)                             \
  {id, controls, nullptr, misalign<field>, ignored_address<field, control_field, bits>}, { \
    id "/beyond_width", controls, nullptr, set_beyond_width<field>, nullptr                \
  }

constexpr Controls kTprShadow{.primary = proc::tpr_shadow};
constexpr Controls kEpt{.secondary = proc2::enable_ept};

constexpr CheckRow kRows[] = {
    {"control.pin.reserved",
     {},
     nullptr,
     clear_required<kPin, &Caps::pin>,
     nullptr,
     0,
     has_required<&Caps::pin>},
    {"control.pin.reserved/unsupported",
     {},
     nullptr,
     set_unsupported<kPin, &Caps::pin>,
     nullptr,
     0,
     has_unsupported<&Caps::pin>},
    {"control.proc.reserved",
     {},
     nullptr,
     clear_required<kProc, &Caps::primary>,
     nullptr,
     0,
     has_required<&Caps::primary>},
    {"control.proc.reserved/unsupported",
     {},
     nullptr,
     set_unsupported<kProc, &Caps::primary>,
     nullptr,
     0,
     has_unsupported<&Caps::primary>},
    {"control.proc2.reserved/unsupported",
     {.primary = proc::secondary_controls},
     nullptr,
     set_unsupported<kProc2, &Caps::secondary>,
     [](V vm) {  // without "activate secondary controls" the field is not looked at
       set_unsupported<kProc2, &Caps::secondary>(vm);
       clear_bits<kProc, proc::secondary_controls>(vm);
     },
     0,
     has_unsupported<&Caps::secondary>},
    {"control.cr3_target_count",
     {},
     nullptr,
     [](V vm) {
       vm.set(Field32::cr3_target_count,
              static_cast<uint32_t>(vm.lab().caps.misc >> 16 & 0x1ff) + 1);
     },
     [](V vm) {
       vm.set(Field32::cr3_target_count, static_cast<uint32_t>(vm.lab().caps.misc >> 16 & 0x1ff));
     }},
    ADDRESS_ROWS("control.io_bitmap_a.address", {.primary = proc::io_bitmaps}, Field64::io_bitmap_a,
                 kProc, proc::io_bitmaps),
    ADDRESS_ROWS("control.io_bitmap_b.address", {.primary = proc::io_bitmaps}, Field64::io_bitmap_b,
                 kProc, proc::io_bitmaps),
    ADDRESS_ROWS("control.msr_bitmap.address", {.primary = proc::msr_bitmaps}, Field64::msr_bitmap,
                 kProc, proc::msr_bitmaps),
    ADDRESS_ROWS("control.virtual_apic.address", kTprShadow, Field64::virtual_apic_address, kProc,
                 proc::tpr_shadow),
    {"control.tpr_threshold.reserved", kTprShadow, nullptr,
     set_value<Field32::tpr_threshold, 0x10u>, set_value<Field32::tpr_threshold, 0u>},
    {"control.tpr_threshold.vtpr", kTprShadow, nullptr,
     // Without "virtualize APIC accesses" the threshold is at most bits 7:4 of VTPR.
     set_value<Field32::tpr_threshold, 1u>, set_value<Field32::tpr_threshold, 0u>},
    {"control.tpr_shadow.dependents",
     {.primary = proc::tpr_shadow, .secondary = proc2::virtualize_x2apic},
     nullptr,
     clear_bits<kProc, proc::tpr_shadow>,
     nullptr},
    {"control.tpr_shadow.dependents/register_virtualization",
     {.primary = proc::tpr_shadow, .secondary = proc2::apic_register_virtualization},
     nullptr,
     clear_bits<kProc, proc::tpr_shadow>,
     nullptr},
    {"control.tpr_shadow.dependents/interrupt_delivery",
     {.pin = pin::external_interrupt_exiting,
      .primary = proc::tpr_shadow,
      .secondary = proc2::virtual_interrupt_delivery},
     nullptr,
     clear_bits<kProc, proc::tpr_shadow>,
     nullptr},
    {"control.virtual_nmis.nmi_exiting",
     {.pin = pin::nmi_exiting | pin::virtual_nmis},
     nullptr,
     clear_bits<kPin, pin::nmi_exiting>,
     nullptr},
    {"control.nmi_window.virtual_nmis",
     {.pin = pin::nmi_exiting | pin::virtual_nmis, .primary = proc::nmi_window},
     nullptr,
     clear_bits<kPin, pin::virtual_nmis>,
     nullptr},
    ADDRESS_ROWS("control.apic_access.address", {.secondary = proc2::virtualize_apic_accesses},
                 Field64::apic_access_address, kProc2, proc2::virtualize_apic_accesses),
    {"control.x2apic.apic_accesses",
     {.primary = proc::tpr_shadow,
      .secondary = proc2::virtualize_x2apic | proc2::virtualize_apic_accesses},
     [](V vm) { clear_bits<kProc2, proc2::virtualize_apic_accesses>(vm); },
     set_bits<kProc2, proc2::virtualize_apic_accesses>,
     nullptr},
    {"control.virtual_interrupt_delivery.external_interrupt",
     {.pin = pin::external_interrupt_exiting,
      .primary = proc::tpr_shadow,
      .secondary = proc2::virtual_interrupt_delivery},
     nullptr,
     clear_bits<kPin, pin::external_interrupt_exiting>,
     nullptr},
    {"control.vpid.zero",
     {.secondary = proc2::enable_vpid},
     nullptr,
     set_value<Field16::vpid, 0u>,
     set_value<Field16::vpid, 0xffffu>},
    {"control.eptp.memory_type", kEpt, nullptr,
     [](V vm) { vm.set(Field64::ept_pointer, (vm.get(Field64::ept_pointer) & ~7ull) | 1); },
     nullptr},
    {"control.eptp.memory_type/uncacheable", kEpt, nullptr,
     [](V vm) { vm.set(Field64::ept_pointer, vm.get(Field64::ept_pointer) & ~7ull); }, nullptr, 0,
     no_uncacheable},
    {"control.eptp.walk_length", kEpt, nullptr,
     [](V vm) { vm.set(Field64::ept_pointer, vm.get(Field64::ept_pointer) & ~0x38ull); }, nullptr},
    {"control.eptp.accessed_dirty", kEpt, nullptr, set_bits<Field64::ept_pointer, 0x40u>, nullptr,
     0, no_accessed_dirty},
    {"control.eptp.reserved", kEpt, nullptr, set_bits<Field64::ept_pointer, 0x800u>,
     set_value<Field64::ept_pointer, 0x1eu>},
    {"control.eptp.reserved/beyond_width", kEpt, nullptr, set_beyond_width<Field64::ept_pointer>,
     nullptr},
    {"control.pml.ept",
     {.secondary = proc2::enable_ept | proc2::enable_pml},
     nullptr,
     clear_bits<kProc2, proc2::enable_ept>,
     nullptr},
    {"control.pml.address",
     {.secondary = proc2::enable_ept | proc2::enable_pml},
     nullptr,
     misalign<Field64::pml_address>,
     ignored_address<Field64::pml_address, kProc2, proc2::enable_pml>},
    {"control.unrestricted_guest.ept",
     {.secondary = proc2::enable_ept | proc2::unrestricted_guest},
     nullptr,
     clear_bits<kProc2, proc2::enable_ept>,
     nullptr},
    {"control.mode_based_execute.ept",
     {.secondary = proc2::enable_ept | proc2::mode_based_execute},
     nullptr,
     clear_bits<kProc2, proc2::enable_ept>,
     nullptr},
    {"control.vm_functions.reserved",
     {.secondary = proc2::enable_ept | proc2::enable_vmfunc},
     nullptr,
     set_value<Field64::vm_function_controls, 1ull << 63>,
     nullptr},
    {"control.vmcs_shadowing.vmread_bitmap",
     {.secondary = proc2::vmcs_shadowing},
     nullptr,
     misalign<Field64::vmread_bitmap>,
     ignored_address<Field64::vmread_bitmap, kProc2, proc2::vmcs_shadowing>},
    {"control.vmcs_shadowing.vmwrite_bitmap",
     {.secondary = proc2::vmcs_shadowing},
     nullptr,
     misalign<Field64::vmwrite_bitmap>,
     nullptr},
    {"control.ept_violation_ve.address",
     {.secondary = proc2::enable_ept | proc2::ept_violation_ve},
     nullptr,
     misalign<Field64::ve_information_address>,
     ignored_address<Field64::ve_information_address, kProc2, proc2::ept_violation_ve>},
};

constexpr Controls kPosted{.pin = pin::external_interrupt_exiting | pin::process_posted_interrupts,
                           .primary = proc::tpr_shadow,
                           .secondary = proc2::virtual_interrupt_delivery,
                           .exit = exitctl::acknowledge_interrupt};
void posted_interrupts(V vm) {
  vm.set(Field16::posted_interrupt_vector, uint16_t{0xff});
  vm.set(Field64::posted_interrupt_descriptor, vm.lab().scratch_page.value() + 64);
}
constexpr Controls kVmfunc{.secondary = proc2::enable_ept | proc2::enable_vmfunc};
void eptp_switching(V vm) {
  vm.set(Field64::vm_function_controls, uint64_t{1});
  vm.set(Field64::eptp_list_address, vm.lab().zero_page.value());
}
bool has_eptp_switching(Lab& lab) {
  uint64_t functions = 0;
  return lab.cpu.rdmsr(msr::VMX_VMFUNC, functions) && (functions & 1) != 0;
}

constexpr CheckRow kInterruptAndFunctionRows[] = {
    {"control.posted_interrupts.delivery", kPosted, posted_interrupts,
     clear_bits<kProc2, proc2::virtual_interrupt_delivery>, nullptr},
    {"control.posted_interrupts.acknowledge", kPosted, posted_interrupts,
     clear_bits<kExit, exitctl::acknowledge_interrupt>, nullptr},
    {"control.posted_interrupts.vector", kPosted, posted_interrupts,
     set_value<Field16::posted_interrupt_vector, 0x100u>, nullptr},
    {"control.posted_interrupts.descriptor", kPosted, posted_interrupts,
     set_bits<Field64::posted_interrupt_descriptor, 32u>, nullptr},
    {"control.posted_interrupts.descriptor/beyond_width", kPosted, posted_interrupts,
     set_beyond_width<Field64::posted_interrupt_descriptor>, nullptr},
    {"control.eptp_switching.ept", kVmfunc, eptp_switching, clear_bits<kProc2, proc2::enable_ept>,
     nullptr, 0, has_eptp_switching},
    {"control.eptp_switching.list", kVmfunc, eptp_switching, misalign<Field64::eptp_list_address>,
     nullptr, 0, has_eptp_switching},
    {"control.tsc_multiplier.zero",
     {.primary = proc::tsc_offsetting, .secondary = proc2::tsc_scaling},
     nullptr,
     set_value<Field64::tsc_multiplier, 0u>,
     set_value<Field64::tsc_multiplier, 1u>},
};

constexpr CheckRow kExitRows[] = {
    {"control.exit.reserved",
     {},
     nullptr,
     clear_required<kExit, &Caps::exit>,
     nullptr,
     0,
     has_required<&Caps::exit>},
    {"control.exit.reserved/unsupported",
     {},
     nullptr,
     set_unsupported<kExit, &Caps::exit>,
     nullptr,
     0,
     has_unsupported<&Caps::exit>},
    {"control.exit.save_preemption_timer",
     {.pin = pin::preemption_timer, .exit = exitctl::save_preemption_timer},
     nullptr,
     clear_bits<kPin, pin::preemption_timer>,
     nullptr},
    {"control.exit_msr_store.area",
     {},
     nullptr,
     [](V vm) {
       vm.set(Field32::exit_msr_store_count, 1u);
       vm.set(Field64::exit_msr_store_address, 8ull);
     },
     set_value<Field64::exit_msr_store_address, 8ull>},
    {"control.exit_msr_store.area/last_byte",
     {},
     nullptr,
     [](V vm) {  // the first entry fits, the second does not
       vm.set(Field32::exit_msr_store_count, 2u);
       vm.set(Field64::exit_msr_store_address, beyond_width(vm) - 16);
     },
     nullptr},
    {"control.exit_msr_load.area",
     {},
     nullptr,
     [](V vm) {
       vm.set(Field32::exit_msr_load_count, 1u);
       vm.set(Field64::exit_msr_load_address, 8ull);
     },
     set_value<Field64::exit_msr_load_address, 8ull>},
    {"control.exit_msr_load.area/last_byte",
     {},
     nullptr,
     [](V vm) {
       vm.set(Field32::exit_msr_load_count, 2u);
       vm.set(Field64::exit_msr_load_address, beyond_width(vm) - 16);
     },
     nullptr},
};

constexpr CheckRow kEntryRows[] = {
    {"control.entry.reserved",
     {},
     nullptr,
     clear_required<kEntry, &Caps::entry>,
     nullptr,
     0,
     has_required<&Caps::entry>},
    {"control.entry.reserved/unsupported",
     {},
     nullptr,
     set_unsupported<kEntry, &Caps::entry>,
     nullptr,
     0,
     has_unsupported<&Caps::entry>},
    {"control.entry.smm", {}, nullptr, set_bits<kEntry, entryctl::entry_to_smm>, nullptr},
    {"control.entry.smm/dual_monitor",
     {},
     nullptr,
     set_bits<kEntry, entryctl::deactivate_dual_monitor>,
     nullptr},
    {"control.injection.type", {}, nullptr, inject_value<0x80000150u>, inject_value<0x00000150u>},
    {"control.injection.type/other_event",
     {},
     nullptr,
     inject_value<0x80000700u>,
     nullptr,
     0,
     no_mtf},
    {"control.injection.vector", {}, nullptr, inject_value<0x80000203u>, inject_value<0x80000202u>},
    {"control.injection.vector/exception",
     {},
     nullptr,
     inject_value<0x80000320u>,
     inject_value<0x80000306u>},
    {"control.injection.vector/other_event",
     {.primary = proc::monitor_trap_flag},
     nullptr,
     inject_value<0x80000701u>,
     inject_value<0x80000700u>},
    {"control.injection.error_code_missing",
     {},
     nullptr,
     inject_value<0x8000030du>,
     inject_value<0x80000b0du>,
     0,
     error_code_checked},
    {"control.injection.error_code_unexpected",
     {},
     nullptr,
     inject_value<0x80000b06u>,
     inject_value<0x80000306u>,
     0,
     error_code_checked},
    {"control.injection.error_code_unexpected/interrupt",
     {},
     set_value<FieldN::guest_rflags, rflags::fixed1 | rflags::IF>,
     inject_value<0x80000850u>,
     inject_value<0x80000050u>},
    {"control.injection.error_code_unexpected/nmi",
     {},
     nullptr,
     inject_value<0x80000a02u>,
     inject_value<0x80000202u>},
    {"control.injection.reserved",
     {},
     nullptr,
     inject_value<0x80001306u>,
     inject_value<0x00001306u>},
    {"control.injection.reserved/bit_30", {}, nullptr, inject_value<0xc0000306u>, nullptr},
    {"control.injection.error_code",
     {},
     nullptr,
     [](V vm) { inject_with_error(vm, 0x80000b0d, 0x10000); },
     [](V vm) { inject_with_error(vm, 0x80000b0d, 0x7fff); }},
    {"control.injection.instruction_length",
     {},
     nullptr,
     [](V vm) { inject_with_length(vm, 0x80000450, 16); },
     [](V vm) { inject_with_length(vm, 0x80000450, 15); }},
    {"control.injection.instruction_length/zero",
     {},
     nullptr,
     [](V vm) { inject_with_length(vm, 0x80000603, 0); },
     [](V vm) { inject_with_length(vm, 0x80000603, 1); },
     0,
     zero_length_refused},
    {"control.injection.instruction_length/zero_allowed",
     {},
     nullptr,
     [](V vm) { inject_with_length(vm, 0x80000501, 16); },
     [](V vm) { inject_with_length(vm, 0x80000501, 0); },
     0,
     zero_length_allowed},
    {"control.entry_msr_load.area",
     {},
     nullptr,
     [](V vm) {
       vm.set(Field32::entry_msr_load_count, 1u);
       vm.set(Field64::entry_msr_load_address, 8ull);
     },
     set_value<Field64::entry_msr_load_address, 8ull>},
    {"control.entry_msr_load.area/last_byte",
     {},
     nullptr,
     [](V vm) {
       vm.set(Field32::entry_msr_load_count, 2u);
       vm.set(Field64::entry_msr_load_address, beyond_width(vm) - 16);
     },
     nullptr},
};

#undef ADDRESS_ROWS

}  // namespace

void test_checks_controls(Tap& tap, Lab& lab) {
  test_check_rows(tap, lab, CheckStage::controls, kRows);
  test_check_rows(tap, lab, CheckStage::controls, kInterruptAndFunctionRows);
  test_check_rows(tap, lab, CheckStage::controls, kExitRows);
  test_check_rows(tap, lab, CheckStage::controls, kEntryRows);
}

}  // namespace cupel::metal
