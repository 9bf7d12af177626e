#include "hw_models/vtx/implemented.h"

#include "core/x86/registers.h"
#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/control_table.h"

namespace cupel::vtx {
namespace {

using namespace x86;

Implemented make() {
  Implemented s;
  s.pin = pin::external_interrupt_exiting | pin::nmi_exiting | pin::virtual_nmis |
          pin::preemption_timer;
  s.proc = proc::interrupt_window | proc::tsc_offsetting | proc::hlt_exiting |
           proc::invlpg_exiting | proc::mwait_exiting | proc::rdpmc_exiting | proc::rdtsc_exiting |
           proc::cr3_load_exiting | proc::cr3_store_exiting | proc::cr8_load_exiting |
           proc::cr8_store_exiting | proc::nmi_window | proc::mov_dr_exiting |
           proc::unconditional_io | proc::io_bitmaps | proc::msr_bitmaps | proc::monitor_trap_flag |
           proc::monitor_exiting | proc::pause_exiting | proc::secondary_controls;
  s.proc2 = proc2::enable_ept | proc2::descriptor_table_exiting | proc2::enable_rdtscp |
            proc2::enable_vpid | proc2::wbinvd_exiting | proc2::unrestricted_guest |
            proc2::enable_pml | proc2::mode_based_execute | proc2::vmcs_shadowing |
            proc2::tsc_scaling | proc2::pause_loop_exiting | proc2::enable_vmfunc |
            proc2::ept_violation_ve;
  s.vmfunc = vmfunc::eptp_switching;
  s.exit = exitctl::host_address_space_size | exitctl::acknowledge_interrupt | exitctl::save_pat |
           exitctl::load_pat | exitctl::save_efer | exitctl::load_efer |
           exitctl::save_preemption_timer;
  s.entry = entryctl::ia32e_mode_guest | entryctl::load_pat | entryctl::load_efer;
  s.ept_vpid = eptcap::execute_only | eptcap::walk_length_4 | eptcap::walk_length_5 |
               eptcap::violation_information | eptcap::memory_type_uc | eptcap::memory_type_wb |
               eptcap::page_2m | eptcap::page_1g | eptcap::invept | eptcap::accessed_dirty |
               eptcap::invept_single | eptcap::invept_all | eptcap::invvpid |
               eptcap::invvpid_address | eptcap::invvpid_single | eptcap::invvpid_all |
               eptcap::invvpid_single_retain_global;
  s.cr4 = cr4::VME | cr4::PVI | cr4::TSD | cr4::DE | cr4::PSE | cr4::PAE | cr4::MCE | cr4::PGE |
          cr4::PCE | cr4::OSFXSR | cr4::OSXMMEXCPT | cr4::UMIP | cr4::VMXE | cr4::FSGSBASE |
          cr4::OSXSAVE | cr4::SMEP | cr4::SMAP;
  s.features.debugctl = 0xdfc3;
  return s;
}

void restrict(ControlRange& range, uint32_t set) { range.allowed &= set | range.default1; }

ProcessorFeatures both(const ProcessorFeatures& a, const ProcessorFeatures& b) {
  ProcessorFeatures f;
  f.sgx = a.sgx && b.sgx;
  f.rtm = a.rtm && b.rtm;
  f.bus_lock_debug = a.bus_lock_debug && b.bus_lock_debug;
  f.shadow_stacks = a.shadow_stacks && b.shadow_stacks;
  f.branch_tracking = a.branch_tracking && b.branch_tracking;
  f.address_masking = a.address_masking && b.address_masking;
  f.nmi_needs_no_sti_blocking = a.nmi_needs_no_sti_blocking;  // a rule, not a feature
  f.debugctl = a.debugctl & b.debugctl;
  f.perf_global_ctrl = a.perf_global_ctrl & b.perf_global_ctrl;
  f.rtit_ctl = a.rtit_ctl & b.rtit_ctl;
  f.lbr_ctl = a.lbr_ctl & b.lbr_ctl;
  return f;
}

}  // namespace

const Implemented& implemented() {
  static const Implemented set = make();
  return set;
}

CapabilityProfile restricted_to(CapabilityProfile p, const Implemented& set) {
  restrict(p.pin, set.pin);
  restrict(p.proc, set.proc);
  restrict(p.proc2, set.proc2);
  restrict(p.exit, set.exit);
  restrict(p.entry, set.entry);
  p.proc3 &= set.proc3;
  p.exit2 &= set.exit2;
  p.vmfunc &= set.vmfunc;
  p.ept_vpid &= set.ept_vpid;
  p.misc_other &= set.misc_other;
  p.cr4_fixed1 &= set.cr4;
  p.dual_monitor = false;
  p.features = both(p.features, set.features);
  drop_dependents(p);
  return p;
}

}  // namespace cupel::vtx
