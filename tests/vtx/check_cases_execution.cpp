// Border states of the checks on VM-execution control fields.
#include "tests/vtx/check_cases.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;
using B = CheckBench&;

constexpr F kPin = F::pin_based_controls, kProc = F::primary_processor_controls,
            kProc2 = F::secondary_processor_controls, kProc3 = F::tertiary_controls;

template <uint32_t bits>
void proc_on(B b) {
  b.set_bits(kProc, bits);
}
template <uint32_t bits>
void proc2_on(B b) {
  b.set_bits(kProc, proc::secondary_controls);
  b.set_bits(kProc2, bits);
}
template <uint64_t bits>
void proc3_on(B b) {
  b.set_bits(kProc, proc::tertiary_controls);
  b.set_bits(kProc3, bits);
}
void shadow_on(B b) {
  b.set_bits(kProc, proc::tpr_shadow);
  b.set(F::virtual_apic_address, 0x8000);
}
void posted(B b) {
  shadow_on(b);
  proc2_on<proc2::virtual_interrupt_delivery>(b);
  b.set_bits(F::exit_controls, exitctl::acknowledge_interrupt);
  b.set_bits(kPin, pin::process_posted_interrupts | pin::external_interrupt_exiting);
  b.set(F::posted_interrupt_vector, 0xff);
  b.set(F::posted_interrupt_descriptor, b.beyond() - 64);
}
void eptp_switching(B b) {
  b.needs(b.profile.vmfunc != 0);
  proc2_on<proc2::enable_vmfunc | proc2::enable_ept>(b);
  b.set(F::vm_function_controls, vmfunc::eptp_switching);
  b.set(F::eptp_list_address, b.beyond() - 0x1000);
}
// The last page inside the width passes, the first one beyond and a misaligned one fail.
template <F field>
void last_page(B b) {
  b.set(field, b.beyond() - 0x1000);
}
template <F field>
void beyond(B b) {
  b.set(field, b.beyond());
}
template <F field>
void misaligned(B b) {
  b.set(field, 0x8800);
}

#define PAGE_CASES(id, field, enable) \
  {id,                                \
   [](B b) {                          \
     enable(b);                       \
     last_page<field>(b);             \
   },                                 \
   beyond<field>},                    \
  {                                   \
    id,                               \
        [](B b) {                     \
          enable(b);                  \
          last_page<field>(b);        \
        },                            \
        misaligned<field>             \
  }

void pt_guest_physical(B b) {
  proc2_on<proc2::pt_guest_physical | proc2::enable_ept>(b);
  b.set_bits(F::entry_controls, entryctl::load_rtit_ctl);
  b.set_bits(F::exit_controls, exitctl::clear_rtit_ctl);
}

const CheckCase kCases[] = {
    {"control.pin.reserved", nothing, [](B b) { b.clear_bits(kPin, 2); }},
    {"control.proc.reserved", nothing, [](B b) { b.clear_bits(kProc, 2); }},
    {"control.proc2.reserved", nothing,
     [](B b) {
       b.needs(b.profile.proc2.allowed != 0xffffffff);
       proc2_on<1u << 29>(b);
     }},
    {"control.proc2.reserved",  // not looked at while secondary controls are not active
     [](B b) {
       b.needs(b.profile.proc2.allowed != 0xffffffff);
       b.set(kProc2, 1u << 29 | b.get(kProc2));
       b.clear_bits(kProc, proc::secondary_controls);
     },
     [](B b) { b.set_bits(kProc, proc::secondary_controls); }},
    {"control.proc3.reserved",
     [](B b) {
       b.needs(b.profile.proc3 != ~0ull);
       b.set_bits(kProc, proc::tertiary_controls);
     },
     [](B b) { b.set(kProc3, 1ull << 63); }},
    {"control.proc3.reserved",  // not looked at while tertiary controls are not active
     [](B b) {
       b.profile.proc3 = 1;
       b.set(kProc3, 2);
     },
     [](B b) { b.set_bits(kProc, proc::tertiary_controls); }},
    {"control.cr3_target_count", [](B b) { b.set(F::cr3_target_count, b.profile.cr3_targets); },
     [](B b) { b.set(F::cr3_target_count, b.profile.cr3_targets + 1u); }},
    PAGE_CASES("control.io_bitmap_a.address", F::io_bitmap_a, proc_on<proc::io_bitmaps>),
    PAGE_CASES("control.io_bitmap_b.address", F::io_bitmap_b, proc_on<proc::io_bitmaps>),
    PAGE_CASES("control.msr_bitmap.address", F::msr_bitmap, proc_on<proc::msr_bitmaps>),
    {"control.virtual_apic.address",
     [](B b) {
       shadow_on(b);
       b.set(F::virtual_apic_address, b.beyond() - 0x1000);
     },
     [](B b) { b.set(F::virtual_apic_address, b.beyond()); }},
    {"control.virtual_apic.address", shadow_on, misaligned<F::virtual_apic_address>},
    {"control.tpr_threshold.reserved",
     [](B b) {
       shadow_on(b);
       b.memory->write<uint8_t>(Hpa(0x8080), 0xf0);
       b.set(F::tpr_threshold, 15);
     },
     [](B b) { b.set(F::tpr_threshold, 16); }},
    {"control.tpr_threshold.vtpr",
     [](B b) {
       shadow_on(b);
       b.memory->write<uint8_t>(Hpa(0x8080), 0x5f);
       b.set(F::tpr_threshold, 5);
     },
     [](B b) { b.set(F::tpr_threshold, 6); }},
    {"control.tpr_threshold.vtpr",  // the page changes, no field does
     [](B b) {
       shadow_on(b);
       b.memory->write<uint8_t>(Hpa(0x8080), 0x50);
       b.set(F::tpr_threshold, 5);
     },
     [](B b) {
       b.memory->write<uint8_t>(Hpa(0x8080), 0x4f);
       b.due |= CheckTable::instance().reading_memory();  // as a VM exit does
     }},
    {"control.virtual_nmis.nmi_exiting", [](B b) { b.set_bits(kPin, pin::virtual_nmis); },
     [](B b) { b.clear_bits(kPin, pin::nmi_exiting); }},
    {"control.nmi_window.virtual_nmis",
     [](B b) {
       b.set_bits(kPin, pin::virtual_nmis);
       b.set_bits(kProc, proc::nmi_window);
     },
     [](B b) { b.clear_bits(kPin, pin::virtual_nmis); }},
    PAGE_CASES("control.apic_access.address", F::apic_access_address,
               proc2_on<proc2::virtualize_apic_accesses>),
    {"control.tpr_shadow.dependents",
     [](B b) {
       shadow_on(b);
       proc2_on<proc2::virtualize_x2apic>(b);
     },
     [](B b) { b.clear_bits(kProc, proc::tpr_shadow); }},
    {"control.tpr_shadow.dependents",
     [](B b) {
       shadow_on(b);
       proc2_on<proc2::apic_register_virtualization>(b);
     },
     [](B b) { b.clear_bits(kProc, proc::tpr_shadow); }},
    {"control.tpr_shadow.dependents",
     [](B b) {
       shadow_on(b);
       proc2_on<proc2::virtual_interrupt_delivery>(b);
     },
     [](B b) { b.clear_bits(kProc, proc::tpr_shadow); }},
    {"control.tpr_shadow.dependents",
     [](B b) {
       shadow_on(b);
       proc3_on<proc3::ipi_virtualization>(b);
     },
     [](B b) { b.clear_bits(kProc, proc::tpr_shadow); }},
    {"control.x2apic.apic_accesses",
     [](B b) {
       shadow_on(b);
       proc2_on<proc2::virtualize_x2apic>(b);
     },
     proc2_on<proc2::virtualize_apic_accesses>},
    {"control.virtual_interrupt_delivery.external_interrupt",
     [](B b) {
       shadow_on(b);
       proc2_on<proc2::virtual_interrupt_delivery>(b);
     },
     [](B b) { b.clear_bits(kPin, pin::external_interrupt_exiting); }},
    {"control.posted_interrupts.delivery", posted,
     [](B b) { b.clear_bits(kProc2, proc2::virtual_interrupt_delivery); }},
    {"control.posted_interrupts.acknowledge", posted,
     [](B b) { b.clear_bits(F::exit_controls, exitctl::acknowledge_interrupt); }},
    {"control.posted_interrupts.vector", posted,
     [](B b) { b.set(F::posted_interrupt_vector, 0x100); }},
    {"control.posted_interrupts.descriptor", posted,
     [](B b) { b.set(F::posted_interrupt_descriptor, b.beyond()); }},
    {"control.posted_interrupts.descriptor", posted,
     [](B b) { b.set(F::posted_interrupt_descriptor, 0x8020); }},
    {"control.vpid.zero",
     [](B b) {
       proc2_on<proc2::enable_vpid>(b);
       b.set(F::vpid, 1);
     },
     [](B b) { b.set(F::vpid, 0); }},
    {"control.eptp.memory_type", [](B b) { b.set(F::ept_pointer, kPml4 | 3 << 3 | 6); },
     [](B b) { b.set(F::ept_pointer, kPml4 | 3 << 3 | 4); }},
    {"control.eptp.memory_type",
     [](B b) {
       b.needs((b.profile.ept_vpid & eptcap::memory_type_uc) != 0);
       b.set(F::ept_pointer, kPml4 | 3 << 3);
     },
     [](B b) { b.set(F::ept_pointer, kPml4 | 3 << 3 | 1); }},
    {"control.eptp.walk_length", [](B b) { b.set(F::ept_pointer, kPml4 | 3 << 3 | 6); },
     [](B b) { b.set(F::ept_pointer, kPml4 | 2 << 3 | 6); }},
    {"control.eptp.walk_length",  // five levels where they are offered
     [](B b) {
       b.needs((b.profile.ept_vpid & eptcap::walk_length_5) != 0);
       b.set(F::ept_pointer, kPml4 | 4 << 3 | 6);
     },
     [](B b) { b.set(F::ept_pointer, kPml4 | 5 << 3 | 6); }},
    {"control.eptp.walk_length", nothing,
     [](B b) {
       b.needs((b.profile.ept_vpid & eptcap::walk_length_5) == 0);
       b.set(F::ept_pointer, kPml4 | 4 << 3 | 6);
     }},
    {"control.eptp.accessed_dirty",
     [](B b) {
       b.set_bits(F::ept_pointer, 0);
       b.profile.ept_vpid &= ~eptcap::accessed_dirty;
     },
     [](B b) { b.set_bits(F::ept_pointer, 1 << 6); }},
    {"control.eptp.shadow_stack",
     [](B b) {
       b.set_bits(F::ept_pointer, 0);
       b.profile.ept_vpid &= ~eptcap::supervisor_shadow_stack;
     },
     [](B b) { b.set_bits(F::ept_pointer, 1 << 7); }},
    {"control.eptp.reserved",
     [](B b) { b.set(F::ept_pointer, (b.beyond() - 0x1000) | 3 << 3 | 6); },
     [](B b) { b.set(F::ept_pointer, b.beyond() | 3 << 3 | 6); }},
    {"control.eptp.reserved", nothing, [](B b) { b.set_bits(F::ept_pointer, 1 << 8); }},
    {"control.pml.ept",
     [](B b) {
       restricted(b);
       proc2_on<proc2::enable_pml | proc2::enable_ept>(b);
       b.set(F::pml_address, 0x8000);
     },
     [](B b) { b.clear_bits(kProc2, proc2::enable_ept); }},
    PAGE_CASES("control.pml.address", F::pml_address,
               (proc2_on<proc2::enable_pml | proc2::enable_ept>)),
    {"control.unrestricted_guest.ept", proc2_on<proc2::unrestricted_guest>,
     [](B b) { b.clear_bits(kProc2, proc2::enable_ept); }},
    {"control.mode_based_execute.ept",
     [](B b) {
       restricted(b);
       proc2_on<proc2::mode_based_execute | proc2::enable_ept>(b);
     },
     [](B b) { b.clear_bits(kProc2, proc2::enable_ept); }},
    {"control.sub_page_permissions.ept",
     [](B b) {
       restricted(b);
       proc2_on<proc2::sub_page_permissions | proc2::enable_ept>(b);
     },
     [](B b) { b.clear_bits(kProc2, proc2::enable_ept); }},
    PAGE_CASES("control.sub_page_permissions.table", F::spp_table_pointer,
               (proc2_on<proc2::sub_page_permissions | proc2::enable_ept>)),
    {"control.vm_functions.reserved",
     [](B b) {
       proc2_on<proc2::enable_vmfunc>(b);
       b.set(F::vm_function_controls, b.profile.vmfunc);
     },
     [](B b) { b.set(F::vm_function_controls, 2); }},
    {"control.eptp_switching.ept",
     [](B b) {
       restricted(b);
       eptp_switching(b);
     },
     [](B b) { b.clear_bits(kProc2, proc2::enable_ept); }},
    {"control.eptp_switching.list", eptp_switching, beyond<F::eptp_list_address>},
    {"control.eptp_switching.list", eptp_switching, misaligned<F::eptp_list_address>},
    PAGE_CASES("control.vmcs_shadowing.vmread_bitmap", F::vmread_bitmap,
               proc2_on<proc2::vmcs_shadowing>),
    PAGE_CASES("control.vmcs_shadowing.vmwrite_bitmap", F::vmwrite_bitmap,
               proc2_on<proc2::vmcs_shadowing>),
    PAGE_CASES("control.ept_violation_ve.address", F::ve_information_address,
               proc2_on<proc2::ept_violation_ve>),
    {"control.pt_guest_physical",
     [](B b) {
       restricted(b);
       pt_guest_physical(b);
     },
     [](B b) { b.clear_bits(kProc2, proc2::enable_ept); }},
    {"control.pt_guest_physical", pt_guest_physical,
     [](B b) { b.clear_bits(F::entry_controls, entryctl::load_rtit_ctl); }},
    {"control.pt_guest_physical", pt_guest_physical,
     [](B b) { b.clear_bits(F::exit_controls, exitctl::clear_rtit_ctl); }},
    {"control.tsc_multiplier.zero",
     [](B b) {
       proc2_on<proc2::tsc_scaling>(b);
       b.set(F::tsc_multiplier, 1);
     },
     [](B b) { b.set(F::tsc_multiplier, 0); }},
    PAGE_CASES("control.pasid.low_directory", F::low_pasid_directory,
               proc2_on<proc2::pasid_translation>),
    PAGE_CASES("control.pasid.high_directory", F::high_pasid_directory,
               proc2_on<proc2::pasid_translation>),
    {"control.hlat.pointer",
     [](B b) {
       proc3_on<proc3::enable_hlat>(b);
       b.set(F::hlat_pointer, (b.beyond() - 0x1000) | 0x18);
     },
     [](B b) { b.set(F::hlat_pointer, b.beyond()); }},
    {"control.hlat.pointer", proc3_on<proc3::enable_hlat>,
     [](B b) { b.set(F::hlat_pointer, 0x8020); }},
    {"control.ept_paging_write.ept",
     [](B b) {
       restricted(b);
       proc3_on<proc3::ept_paging_write>(b);
     },
     [](B b) { b.clear_bits(kProc2, proc2::enable_ept); }},
    {"control.guest_paging_verification.ept",
     [](B b) {
       restricted(b);
       proc3_on<proc3::guest_paging_verification>(b);
     },
     [](B b) { b.clear_bits(kProc2, proc2::enable_ept); }},
    {"control.ipi_virtualization.table",
     [](B b) {
       shadow_on(b);
       proc3_on<proc3::ipi_virtualization>(b);
       b.set(F::pid_pointer_table, b.beyond() - 8);
     },
     [](B b) { b.set(F::pid_pointer_table, b.beyond()); }},
    {"control.ipi_virtualization.table",
     [](B b) {
       shadow_on(b);
       proc3_on<proc3::ipi_virtualization>(b);
     },
     [](B b) { b.set(F::pid_pointer_table, 0x8004); }},
    {"control.ipi_virtualization.table_end",
     [](B b) {
       shadow_on(b);
       proc3_on<proc3::ipi_virtualization>(b);
       b.set(F::pid_pointer_table, b.beyond() - 16);
       b.set(F::last_pid_pointer_index, 1);
     },
     [](B b) { b.set(F::last_pid_pointer_index, 2); }},
};

}  // namespace

std::span<const CheckCase> execution_control_cases() { return kCases; }

}  // namespace cupel::vtx::testing
