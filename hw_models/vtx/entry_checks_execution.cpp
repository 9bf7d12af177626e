// Checks on the VM-execution control fields.
#include "hw_models/vtx/entry_checks.h"

namespace cupel::vtx {
namespace {

using namespace x86;
using S = const EntryState&;

constexpr const char* kSection = "VM-Execution Control Fields";

constexpr F kPin = F::pin_based_controls, kProc = F::primary_processor_controls,
            kProc2 = F::secondary_processor_controls, kProc3 = F::tertiary_controls;

constexpr const char* kPage = "4-KByte aligned, inside the physical-address width";

// `control` may be 1 only when `other` is.
constexpr bool implies(bool control, bool other) { return !control || other; }

// Structures of 4 KBytes that a secondary control brings into use.
template <uint32_t control, F address>
bool page_of(S s) {
  return !s.proc2(control) || s.structure(s[address]);
}

// --- APIC virtualization -----------------------------------------------------------------------
bool tpr_threshold_vtpr(S s) {
  constexpr uint64_t vtpr = 0x80;  // offset in the virtual-APIC page
  if (!s.proc(proc::tpr_shadow) || s.proc2(proc2::virtualize_apic_accesses) ||
      s.proc2(proc2::virtual_interrupt_delivery))
    return true;
  const uint64_t page = s[F::virtual_apic_address];
  if (!s.structure(page)) return true;  // control.virtual_apic.address fails
  return (s[F::tpr_threshold] & 15) <= (s.memory.read<uint8_t>(Hpa(page + vtpr)) >> 4);
}

bool tpr_shadow_dependents(S s) {
  const bool dependent = s.proc2(proc2::virtualize_x2apic | proc2::apic_register_virtualization |
                                 proc2::virtual_interrupt_delivery) ||
                         s.proc3(proc3::ipi_virtualization);
  return implies(dependent, s.proc(proc::tpr_shadow));
}

// Entries of 8 bytes, numbers 0 to "last PID-pointer index".
bool pid_table_end(S s) {
  if (!s.proc3(proc3::ipi_virtualization)) return true;
  const uint64_t last = s[F::pid_pointer_table] + 8 * s[F::last_pid_pointer_index] + 7;
  return !s.physical(s[F::pid_pointer_table]) || s.physical(last);
}

// --- EPT ---------------------------------------------------------------------------------------
bool eptp_memory_type(S s) {
  const uint64_t type = s[F::ept_pointer] & 7, caps = s.capabilities.ept_vpid;
  return !s.ept() || (type == 0 && (caps & eptcap::memory_type_uc) != 0) ||
         (type == 6 && (caps & eptcap::memory_type_wb) != 0);
}
bool eptp_walk_length(S s) {
  const uint64_t length = (s[F::ept_pointer] >> 3 & 7) + 1, caps = s.capabilities.ept_vpid;
  return !s.ept() || (length == 4 && (caps & eptcap::walk_length_4) != 0) ||
         (length == 5 && (caps & eptcap::walk_length_5) != 0);
}
template <uint64_t bit, uint64_t capability>
bool eptp_feature(S s) {
  return !s.ept() || (s[F::ept_pointer] & bit) == 0 || (s.capabilities.ept_vpid & capability) != 0;
}

// HLAT pointer: bits 4:3 are PWT and PCD. SDM vol. 3C, "Hypervisor-Managed Linear-Address
// Translation".
bool hlat_pointer(S s) {
  return !s.proc3(proc3::enable_hlat) ||
         ((s[F::hlat_pointer] & 0xfe7) == 0 && s.physical(s[F::hlat_pointer]));
}

bool pt_guest_physical(S s) {
  return !s.proc2(proc2::pt_guest_physical) ||
         (s.ept() && s.entry(entryctl::load_rtit_ctl) && s.exit(exitctl::clear_rtit_ctl));
}

constexpr CheckRow kRows[] = {
    {"control.pin.reserved", kSection, fields(kPin),
     [](S s) { return s.capabilities.pin.accepts(s[kPin]); },
     "as IA32_VMX_TRUE_PINBASED_CTLS (48DH) allows"},
    {"control.proc.reserved", kSection, fields(kProc),
     [](S s) { return s.capabilities.proc.accepts(s[kProc]); },
     "as IA32_VMX_TRUE_PROCBASED_CTLS (48EH) allows"},
    {"control.proc2.reserved", kSection, fields(kProc, kProc2),
     [](S s) {
       return !s.proc(proc::secondary_controls) || s.capabilities.proc2.accepts(s[kProc2]);
     },
     "as IA32_VMX_PROCBASED_CTLS2 (48BH) allows"},
    {"control.proc3.reserved", kSection, fields(kProc, kProc3),
     [](S s) {
       return !s.proc(proc::tertiary_controls) || (s[kProc3] & ~s.capabilities.proc3) == 0;
     },
     "as IA32_VMX_PROCBASED_CTLS3 (492H) allows"},
    {"control.cr3_target_count", kSection, fields(F::cr3_target_count),
     [](S s) { return s[F::cr3_target_count] <= s.capabilities.cr3_targets; },
     "at most IA32_VMX_MISC[24:16]"},
    {"control.io_bitmap_a.address", kSection, fields(kProc, F::io_bitmap_a),
     [](S s) { return !s.proc(proc::io_bitmaps) || s.structure(s[F::io_bitmap_a]); },
     "4-KByte aligned, inside the physical-address width, when \"use I/O bitmaps\" is 1"},
    {"control.io_bitmap_b.address", kSection, fields(kProc, F::io_bitmap_b),
     [](S s) { return !s.proc(proc::io_bitmaps) || s.structure(s[F::io_bitmap_b]); },
     "4-KByte aligned, inside the physical-address width, when \"use I/O bitmaps\" is 1"},
    {"control.msr_bitmap.address", kSection, fields(kProc, F::msr_bitmap),
     [](S s) { return !s.proc(proc::msr_bitmaps) || s.structure(s[F::msr_bitmap]); },
     "4-KByte aligned, inside the physical-address width, when \"use MSR bitmaps\" is 1"},
    {"control.virtual_apic.address", kSection, fields(kProc, F::virtual_apic_address),
     [](S s) { return !s.proc(proc::tpr_shadow) || s.structure(s[F::virtual_apic_address]); },
     "4-KByte aligned, inside the physical-address width, when \"use TPR shadow\" is 1"},
    {"control.tpr_threshold.reserved", kSection, fields(kProc, kProc2, F::tpr_threshold),
     [](S s) {
       return !s.proc(proc::tpr_shadow) || s.proc2(proc2::virtual_interrupt_delivery) ||
              s[F::tpr_threshold] <= 15;
     },
     "bits 31:4 are 0"},
    {"control.tpr_threshold.vtpr", kSection,
     fields(kProc, kProc2, F::tpr_threshold, F::virtual_apic_address), tpr_threshold_vtpr,
     "bits 3:0 are at most bits 7:4 of VTPR (byte 80H of the virtual-APIC page) when "
     "\"virtualize APIC accesses\" and \"virtual-interrupt delivery\" are 0",
     0, true},
    {"control.virtual_nmis.nmi_exiting", kSection, fields(kPin),
     [](S s) { return implies(s.pin(pin::virtual_nmis), s.pin(pin::nmi_exiting)); },
     "\"virtual NMIs\" needs \"NMI exiting\""},
    {"control.nmi_window.virtual_nmis", kSection, fields(kPin, kProc),
     [](S s) { return implies(s.proc(proc::nmi_window), s.pin(pin::virtual_nmis)); },
     "\"NMI-window exiting\" needs \"virtual NMIs\""},
    {"control.apic_access.address", kSection, fields(kProc, kProc2, F::apic_access_address),
     page_of<proc2::virtualize_apic_accesses, F::apic_access_address>, kPage},
    {"control.tpr_shadow.dependents", kSection, fields(kProc, kProc2, kProc3),
     tpr_shadow_dependents,
     "x2APIC mode, APIC-register virtualization, virtual-interrupt delivery and IPI "
     "virtualization need \"use TPR shadow\""},
    {"control.x2apic.apic_accesses", kSection, fields(kProc, kProc2),
     [](S s) {
       return !(s.proc2(proc2::virtualize_x2apic) && s.proc2(proc2::virtualize_apic_accesses));
     },
     "\"virtualize x2APIC mode\" excludes \"virtualize APIC accesses\""},
    {"control.virtual_interrupt_delivery.external_interrupt", kSection, fields(kPin, kProc, kProc2),
     [](S s) {
       return implies(s.proc2(proc2::virtual_interrupt_delivery),
                      s.pin(pin::external_interrupt_exiting));
     },
     "\"virtual-interrupt delivery\" needs \"external-interrupt exiting\""},
    {"control.posted_interrupts.delivery", kSection, fields(kPin, kProc, kProc2),
     [](S s) {
       return implies(s.pin(pin::process_posted_interrupts),
                      s.proc2(proc2::virtual_interrupt_delivery));
     },
     "\"process posted interrupts\" needs \"virtual-interrupt delivery\""},
    {"control.posted_interrupts.acknowledge", kSection, fields(kPin, F::exit_controls),
     [](S s) {
       return implies(s.pin(pin::process_posted_interrupts),
                      s.exit(exitctl::acknowledge_interrupt));
     },
     "\"process posted interrupts\" needs \"acknowledge interrupt on exit\""},
    {"control.posted_interrupts.vector", kSection, fields(kPin, F::posted_interrupt_vector),
     [](S s) {
       return !s.pin(pin::process_posted_interrupts) || s[F::posted_interrupt_vector] <= 255;
     },
     "bits 15:8 are 0"},
    {"control.posted_interrupts.descriptor", kSection, fields(kPin, F::posted_interrupt_descriptor),
     [](S s) {
       return !s.pin(pin::process_posted_interrupts) ||
              s.structure(s[F::posted_interrupt_descriptor], 64);
     },
     "64-byte aligned, inside the physical-address width"},
    {"control.vpid.zero", kSection, fields(kProc, kProc2, F::vpid),
     [](S s) { return !s.proc2(proc2::enable_vpid) || s[F::vpid] != 0; },
     "not 0 when \"enable VPID\" is 1"},
    {"control.eptp.memory_type", kSection, fields(kProc, kProc2, F::ept_pointer), eptp_memory_type,
     "bits 2:0 are 0 (UC) or 6 (WB) as IA32_VMX_EPT_VPID_CAP offers"},
    {"control.eptp.walk_length", kSection, fields(kProc, kProc2, F::ept_pointer), eptp_walk_length,
     "bits 5:3 are 3 (page-walk length 4) or 4 (5) as IA32_VMX_EPT_VPID_CAP[7:6] offers"},
    {"control.eptp.accessed_dirty", kSection, fields(kProc, kProc2, F::ept_pointer),
     eptp_feature<1 << 6, eptcap::accessed_dirty>,
     "bit 6 is 0 unless IA32_VMX_EPT_VPID_CAP[21] is 1"},
    {"control.eptp.shadow_stack", kSection, fields(kProc, kProc2, F::ept_pointer),
     eptp_feature<1 << 7, eptcap::supervisor_shadow_stack>,
     "bit 7 is 0 unless IA32_VMX_EPT_VPID_CAP[23] is 1"},
    {"control.eptp.reserved", kSection, fields(kProc, kProc2, F::ept_pointer),
     [](S s) {
       return !s.ept() || ((s[F::ept_pointer] & 0xf00) == 0 && s.physical(s[F::ept_pointer]));
     },
     "bits 11:8 and bits beyond the physical-address width are 0"},
    {"control.pml.ept", kSection, fields(kProc, kProc2),
     [](S s) { return implies(s.proc2(proc2::enable_pml), s.ept()); },
     "\"enable PML\" needs \"enable EPT\""},
    {"control.pml.address", kSection, fields(kProc, kProc2, F::pml_address),
     page_of<proc2::enable_pml, F::pml_address>, kPage},
    {"control.unrestricted_guest.ept", kSection, fields(kProc, kProc2),
     [](S s) { return implies(s.unrestricted(), s.ept()); },
     "\"unrestricted guest\" needs \"enable EPT\""},
    {"control.mode_based_execute.ept", kSection, fields(kProc, kProc2),
     [](S s) { return implies(s.proc2(proc2::mode_based_execute), s.ept()); },
     "\"mode-based execute control for EPT\" needs \"enable EPT\""},
    {"control.sub_page_permissions.ept", kSection, fields(kProc, kProc2),
     [](S s) { return implies(s.proc2(proc2::sub_page_permissions), s.ept()); },
     "\"sub-page write permissions for EPT\" needs \"enable EPT\""},
    {"control.sub_page_permissions.table", kSection, fields(kProc, kProc2, F::spp_table_pointer),
     page_of<proc2::sub_page_permissions, F::spp_table_pointer>, kPage},
    {"control.vm_functions.reserved", kSection, fields(kProc, kProc2, F::vm_function_controls),
     [](S s) {
       return !s.proc2(proc2::enable_vmfunc) ||
              (s[F::vm_function_controls] & ~s.capabilities.vmfunc) == 0;
     },
     "as IA32_VMX_VMFUNC (491H) allows"},
    {"control.eptp_switching.ept", kSection, fields(kProc, kProc2, F::vm_function_controls),
     [](S s) { return implies(s.vm_function(vmfunc::eptp_switching), s.ept()); },
     "\"EPTP switching\" needs \"enable EPT\""},
    {"control.eptp_switching.list", kSection,
     fields(kProc, kProc2, F::vm_function_controls, F::eptp_list_address),
     [](S s) {
       return !s.vm_function(vmfunc::eptp_switching) || s.structure(s[F::eptp_list_address]);
     },
     kPage},
    {"control.vmcs_shadowing.vmread_bitmap", kSection, fields(kProc, kProc2, F::vmread_bitmap),
     page_of<proc2::vmcs_shadowing, F::vmread_bitmap>, kPage},
    {"control.vmcs_shadowing.vmwrite_bitmap", kSection, fields(kProc, kProc2, F::vmwrite_bitmap),
     page_of<proc2::vmcs_shadowing, F::vmwrite_bitmap>, kPage},
    {"control.ept_violation_ve.address", kSection, fields(kProc, kProc2, F::ve_information_address),
     page_of<proc2::ept_violation_ve, F::ve_information_address>, kPage},
    {"control.pt_guest_physical", kSection,
     fields(kProc, kProc2, F::exit_controls, F::entry_controls), pt_guest_physical,
     "\"Intel PT uses guest physical addresses\" needs \"enable EPT\", \"load IA32_RTIT_CTL\" and "
     "\"clear IA32_RTIT_CTL\""},
    {"control.tsc_multiplier.zero", kSection, fields(kProc, kProc2, F::tsc_multiplier),
     [](S s) { return !s.proc2(proc2::tsc_scaling) || s[F::tsc_multiplier] != 0; },
     "not 0 when \"use TSC scaling\" is 1"},
    {"control.pasid.low_directory", kSection, fields(kProc, kProc2, F::low_pasid_directory),
     page_of<proc2::pasid_translation, F::low_pasid_directory>, kPage},
    {"control.pasid.high_directory", kSection, fields(kProc, kProc2, F::high_pasid_directory),
     page_of<proc2::pasid_translation, F::high_pasid_directory>, kPage},
    {"control.hlat.pointer", kSection, fields(kProc, kProc3, F::hlat_pointer), hlat_pointer,
     "bits 2:0, 11:5 and bits beyond the physical-address width are 0"},
    {"control.ept_paging_write.ept", kSection, fields(kProc, kProc2, kProc3),
     [](S s) { return implies(s.proc3(proc3::ept_paging_write), s.ept()); },
     "\"EPT paging-write control\" needs \"enable EPT\""},
    {"control.guest_paging_verification.ept", kSection, fields(kProc, kProc2, kProc3),
     [](S s) { return implies(s.proc3(proc3::guest_paging_verification), s.ept()); },
     "\"guest-paging verification\" needs \"enable EPT\""},
    {"control.ipi_virtualization.table", kSection, fields(kProc, kProc3, F::pid_pointer_table),
     [](S s) {
       return !s.proc3(proc3::ipi_virtualization) || s.structure(s[F::pid_pointer_table], 8);
     },
     "8-byte aligned, inside the physical-address width"},
    {"control.ipi_virtualization.table_end", kSection,
     fields(kProc, kProc3, F::pid_pointer_table, F::last_pid_pointer_index), pid_table_end,
     "the entry that \"last PID-pointer index\" names ends inside the physical-address width"},
};

}  // namespace

CheckSection execution_control_checks() { return section<kRows>(); }

}  // namespace cupel::vtx
