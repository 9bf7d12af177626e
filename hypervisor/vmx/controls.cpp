#include "hypervisor/vmx/controls.h"

namespace cupel::vmx {

using namespace x86;

Result<uint32_t, ControlRefusal> set_control(const ControlRequest& request, uint64_t capability) {
  const auto must = static_cast<uint32_t>(capability);
  const auto may = static_cast<uint32_t>(capability >> 32);
  if (const uint32_t both = request.required & request.forbidden; both != 0) {
    return Failure(ControlRefusal{ControlRefusal::Kind::contradiction, both});
  }
  if (const uint32_t missing = request.required & ~may; missing != 0) {
    return Failure(ControlRefusal{ControlRefusal::Kind::unsupported, missing});
  }
  if (const uint32_t forced = request.forbidden & must; forced != 0) {
    return Failure(ControlRefusal{ControlRefusal::Kind::forced, forced});
  }
  return must | request.required | (request.wanted & may & ~request.forbidden);
}

ControlRequest core_request(ControlField field, bool unrestricted) {
  switch (field) {
    case ControlField::pin:
      return {
          .required = pin::external_interrupt_exiting | pin::nmi_exiting | pin::preemption_timer,
          .wanted = pin::virtual_nmis,
          .forbidden = pin::process_posted_interrupts};
    case ControlField::primary:
      // CR8 exits because there is no TPR shadow; MONITOR, MWAIT and RDPMC because the guest is
      // not told of them.
      return {.required = proc::tsc_offsetting | proc::hlt_exiting | proc::mwait_exiting |
                          proc::rdpmc_exiting | proc::cr8_load_exiting | proc::cr8_store_exiting |
                          proc::io_bitmaps | proc::msr_bitmaps | proc::monitor_exiting |
                          proc::secondary_controls,
              .wanted = 0,
              .forbidden = proc::interrupt_window | proc::nmi_window | proc::invlpg_exiting |
                           proc::rdtsc_exiting | proc::cr3_load_exiting | proc::cr3_store_exiting |
                           proc::tertiary_controls | proc::tpr_shadow | proc::mov_dr_exiting |
                           proc::monitor_trap_flag | proc::pause_exiting};
    case ControlField::secondary:
      return {.required = proc2::enable_ept | (unrestricted ? proc2::unrestricted_guest : 0),
              .wanted = proc2::enable_vpid | proc2::enable_rdtscp | proc2::enable_invpcid,
              .forbidden = proc2::virtualize_apic_accesses | proc2::descriptor_table_exiting |
                           proc2::virtualize_x2apic | proc2::wbinvd_exiting |
                           proc2::apic_register_virtualization | proc2::virtual_interrupt_delivery |
                           proc2::enable_pml | proc2::ept_violation_ve | proc2::mode_based_execute};
    case ControlField::exit:
      // The preemption timer is written before every entry, so that saving it would be lost work.
      return {.required = exitctl::save_debug_controls | exitctl::host_address_space_size |
                          exitctl::save_pat | exitctl::load_pat | exitctl::save_efer |
                          exitctl::load_efer,
              .wanted = 0,
              .forbidden = exitctl::acknowledge_interrupt | exitctl::save_preemption_timer};
    case ControlField::entry:
      // "IA-32e mode guest" follows the guest's state and is set with it.
      return {.required = entryctl::load_debug_controls | entryctl::load_pat | entryctl::load_efer,
              .wanted = 0,
              .forbidden = entryctl::ia32e_mode_guest | entryctl::entry_to_smm |
                           entryctl::deactivate_dual_monitor};
  }
  return {};
}

Result<ControlSet, Fault> choose_controls(const VmxCapabilities& caps, bool unrestricted) {
  struct Row {
    ControlField field;
    uint64_t capability;
    uint32_t ControlSet::*target;
  };
  const Row rows[] = {{ControlField::pin, caps.pin, &ControlSet::pin},
                      {ControlField::primary, caps.primary, &ControlSet::primary},
                      {ControlField::secondary, caps.secondary, &ControlSet::secondary},
                      {ControlField::exit, caps.exit, &ControlSet::exit},
                      {ControlField::entry, caps.entry, &ControlSet::entry}};
  ControlSet set;
  for (const Row& row : rows) {
    auto value = set_control(core_request(row.field, unrestricted), row.capability);
    if (!value.ok()) {
      Fault fault;
      fault.kind = FaultKind::control_refused;
      fault.number = static_cast<uint32_t>(row.field);
      fault.code = static_cast<uint8_t>(value.error().kind);
      fault.detail = value.error().bits;
      return Failure(fault);
    }
    set.*row.target = *value;
  }
  return set;
}

}  // namespace cupel::vmx
