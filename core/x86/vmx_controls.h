// Bits of the VM-execution, VM-exit and VM-entry controls. Freestanding.
// SDM vol. 3C, ch. "Virtual Machine Control Structures" (edition 087): "VM-Execution Control
// Fields", "VM-Exit Control Fields", "VM-Entry Control Fields".
#pragma once

#include <cstdint>

namespace cupel::x86 {

namespace pin {
inline constexpr uint32_t external_interrupt_exiting = 1u << 0, nmi_exiting = 1u << 3,
                          virtual_nmis = 1u << 5, preemption_timer = 1u << 6,
                          process_posted_interrupts = 1u << 7;
}
namespace proc {
inline constexpr uint32_t interrupt_window = 1u << 2, tsc_offsetting = 1u << 3,
                          hlt_exiting = 1u << 7, invlpg_exiting = 1u << 9, mwait_exiting = 1u << 10,
                          rdpmc_exiting = 1u << 11, rdtsc_exiting = 1u << 12,
                          cr3_load_exiting = 1u << 15, cr3_store_exiting = 1u << 16,
                          tertiary_controls = 1u << 17, cr8_load_exiting = 1u << 19,
                          cr8_store_exiting = 1u << 20, tpr_shadow = 1u << 21,
                          nmi_window = 1u << 22, mov_dr_exiting = 1u << 23,
                          unconditional_io = 1u << 24, io_bitmaps = 1u << 25,
                          monitor_trap_flag = 1u << 27, msr_bitmaps = 1u << 28,
                          monitor_exiting = 1u << 29, pause_exiting = 1u << 30,
                          secondary_controls = 1u << 31;
}
namespace proc2 {
inline constexpr uint32_t virtualize_apic_accesses = 1u << 0, enable_ept = 1u << 1,
                          descriptor_table_exiting = 1u << 2, enable_rdtscp = 1u << 3,
                          virtualize_x2apic = 1u << 4, enable_vpid = 1u << 5,
                          wbinvd_exiting = 1u << 6, unrestricted_guest = 1u << 7,
                          apic_register_virtualization = 1u << 8,
                          virtual_interrupt_delivery = 1u << 9, pause_loop_exiting = 1u << 10,
                          rdrand_exiting = 1u << 11, enable_invpcid = 1u << 12,
                          enable_vmfunc = 1u << 13, vmcs_shadowing = 1u << 14,
                          encls_exiting = 1u << 15, rdseed_exiting = 1u << 16,
                          enable_pml = 1u << 17, ept_violation_ve = 1u << 18,
                          conceal_from_pt = 1u << 19, enable_xsaves = 1u << 20,
                          pasid_translation = 1u << 21, mode_based_execute = 1u << 22,
                          sub_page_permissions = 1u << 23, pt_guest_physical = 1u << 24,
                          tsc_scaling = 1u << 25, user_wait_pause = 1u << 26,
                          enable_pconfig = 1u << 27, enclv_exiting = 1u << 28,
                          bus_lock_detection = 1u << 30, instruction_timeout = 1u << 31;
}
// Tertiary processor-based controls: a 64-bit word.
namespace proc3 {
inline constexpr uint64_t loadiwkey_exiting = 1u << 0, enable_hlat = 1u << 1,
                          ept_paging_write = 1u << 2, guest_paging_verification = 1u << 3,
                          ipi_virtualization = 1u << 4, seam_guest_physical_width = 1u << 5,
                          enable_msr_list = 1u << 6, virtualize_spec_ctrl = 1u << 7;
}
namespace exitctl {
inline constexpr uint32_t save_debug_controls = 1u << 2, host_address_space_size = 1u << 9,
                          load_perf_global_ctrl = 1u << 12, acknowledge_interrupt = 1u << 15,
                          save_pat = 1u << 18, load_pat = 1u << 19, save_efer = 1u << 20,
                          load_efer = 1u << 21, save_preemption_timer = 1u << 22,
                          clear_bndcfgs = 1u << 23, conceal_from_pt = 1u << 24,
                          clear_rtit_ctl = 1u << 25, clear_lbr_ctl = 1u << 26,
                          clear_uinv = 1u << 27, load_cet = 1u << 28, load_pkrs = 1u << 29,
                          save_perf_global_ctrl = 1u << 30, secondary_controls = 1u << 31;
}
// Secondary VM-exit controls: a 64-bit word.
namespace exitctl2 {
inline constexpr uint64_t save_fred = 1u << 0, load_fred = 1u << 1,
                          prematurely_busy_shadow_stack = 1u << 3;
}
namespace entryctl {
inline constexpr uint32_t load_debug_controls = 1u << 2, ia32e_mode_guest = 1u << 9,
                          entry_to_smm = 1u << 10, deactivate_dual_monitor = 1u << 11,
                          load_perf_global_ctrl = 1u << 13, load_pat = 1u << 14,
                          load_efer = 1u << 15, load_bndcfgs = 1u << 16, conceal_from_pt = 1u << 17,
                          load_rtit_ctl = 1u << 18, load_uinv = 1u << 19, load_cet = 1u << 20,
                          load_lbr_ctl = 1u << 21, load_pkrs = 1u << 22, load_fred = 1u << 23;
}
// VM-function controls. SDM vol. 3C, "VM-Function Controls".
namespace vmfunc {
inline constexpr uint64_t eptp_switching = 1u << 0;
}

}  // namespace cupel::x86
