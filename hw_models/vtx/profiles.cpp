#include "hw_models/vtx/profiles.h"

#include <algorithm>
#include <string>

#include "core/x86/registers.h"
#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/implemented.h"

namespace cupel::vtx {
namespace {

using namespace x86;

constexpr uint32_t kRevision = 0x43555031;  // of the region's layout, the same in every profile

// What all of them share: the reserved controls, and everything that Nehalem has.
// Bochs 2.7 corei5_lynnfield_750, MSRs 480H-490H; QEMU 7.2 Nehalem-v2: MTF.
CapabilityProfile nehalem() {
  CapabilityProfile p;
  p.name = "nehalem";
  p.revision = kRevision;
  p.pin = {0x16, 0x16, 0x7f};
  p.proc = {0x0401e172, 0x04006172, 0xfff9fffe};
  p.proc2 = {0, 0, 0x7f};
  p.exit = {0x36dff, 0x36dfb, 0x7fffff};
  p.entry = {0x11ff, 0x11fb, 0xffff};
  p.preemption_timer_shift = 5;
  p.vmwrite_any_field = p.inject_zero_length = false;
  p.dual_monitor = true;
  p.cr4_fixed1 = 0x67ff;
  p.ept_vpid = 0xf0106114141;
  p.features.debugctl = 0x7fc3;
  p.features.perf_global_ctrl = 0x70000000f;
  return p;
}

// Bochs 2.7 corei7_haswell_4770; QEMU 7.2 Haswell-v1: posted interrupts, of the Xeons.
CapabilityProfile haswell() {
  CapabilityProfile p = nehalem();
  p.name = "haswell";
  p.pin.allowed = 0xff;
  p.proc2.allowed = 0x47fff;
  p.vmfunc = vmfunc::eptp_switching;
  p.vmwrite_any_field = true;
  p.cr4_fixed1 = 0x1727ff;
  p.ept_vpid = 0xf0106334141;
  p.features.rtm = true;
  p.features.debugctl = 0xffc3;
  return p;
}

// Bochs 2.7 corei7_skylake_x; QEMU 7.2 Skylake-Server-v5: protection keys. Documented besides:
// Intel PT in VMX operation, MPX, mode-based execute control (SDM vol. 3C, "VM-Exit Controls" and
// "VM-Entry Controls"; vol. 4).
CapabilityProfile skylake_sp() {
  CapabilityProfile p = haswell();
  p.name = "skylake-sp";
  p.proc2.allowed = 0x02177fff | proc2::conceal_from_pt | proc2::mode_based_execute;
  p.exit.allowed |= exitctl::clear_bndcfgs | exitctl::conceal_from_pt;
  p.entry.allowed |= entryctl::load_bndcfgs | entryctl::conceal_from_pt;
  p.preemption_timer_shift = 7;
  p.inject_zero_length = true;
  p.misc_other = 1 << 14;
  p.cr4_fixed1 = 0x3727ff | cr4::PKE;
  p.features.debugctl = 0xdfc3;
  p.features.rtit_ctl = 0xff0f7bef8f;
  return p;
}

// Bochs 2.7 corei7_icelake_u; QEMU 7.2 Icelake-Server-v6: 5-level EPT, LA57. Documented besides:
// SGX, PCONFIG, Intel PT with guest physical addresses, eight general counters and PERF_METRICS. No
// MPX.
CapabilityProfile ice_lake() {
  CapabilityProfile p = skylake_sp();
  p.name = "ice-lake";
  p.proc2.allowed = 0x02977fff | proc2::conceal_from_pt | proc2::mode_based_execute |
                    proc2::encls_exiting | proc2::pt_guest_physical | proc2::enable_pconfig;
  p.exit.allowed = 0x7fffff | exitctl::conceal_from_pt | exitctl::clear_rtit_ctl;
  p.entry.allowed = 0xffff | entryctl::conceal_from_pt | entryctl::load_rtit_ctl;
  p.cr4_fixed1 = 0x772fff | cr4::LA57;
  p.ept_vpid |= eptcap::walk_length_5;
  p.features.sgx = true;
  p.features.rtit_ctl |= 1 << 4 | 1 << 5 | 1 << 12;  // power events, PTWRITE
  p.features.perf_global_ctrl = 0x1000f000000ff;
  return p;
}

// Neither source knows this processor. Ice Lake with what Bochs 2.7's tigerlake adds (CET) and what
// is documented: PASID translation, user wait and pause, bus-lock detection, instruction timeout,
// tertiary controls with IPI virtualization, architectural LBRs, protection keys for supervisor
// pages, user interrupts (SDM vol. 3C, ch. "Virtual Machine Control Structures"; vol. 4).
CapabilityProfile sapphire_rapids() {
  CapabilityProfile p = ice_lake();
  p.name = "sapphire-rapids";
  p.exception_error_code_optional = true;
  p.proc.allowed |= proc::tertiary_controls;
  p.proc2.allowed |= proc2::pasid_translation | proc2::user_wait_pause | proc2::enclv_exiting |
                     proc2::bus_lock_detection | proc2::instruction_timeout;
  p.proc3 = proc3::ipi_virtualization;
  p.exit.allowed |= exitctl::clear_lbr_ctl | exitctl::clear_uinv | exitctl::load_cet |
                    exitctl::load_pkrs | exitctl::save_perf_global_ctrl;
  p.entry.allowed |=
      entryctl::load_uinv | entryctl::load_cet | entryctl::load_lbr_ctl | entryctl::load_pkrs;
  p.cr4_fixed1 |= cr4::CET | cr4::PKS | cr4::UINTR;
  p.ept_vpid |= eptcap::violation_information | eptcap::supervisor_shadow_stack;
  p.features.bus_lock_debug = p.features.shadow_stacks = p.features.branch_tracking = true;
  p.features.debugctl |= 1 << 2;
  p.features.lbr_ctl = 0x7f000f;
  return p;
}

// A Skylake-SP with a preemption timer that counts every TSC tick, UMIP, and no dual monitors.
CapabilityProfile server() {
  CapabilityProfile p = skylake_sp();
  p.name = "server";
  p.preemption_timer_shift = 0;
  p.dual_monitor = false;
  p.cr4_fixed1 |= cr4::UMIP;
  return p;
}

constexpr ProfileName kNames[] = {
    {"server", "the default: a Xeon of the Skylake-SP kind"},
    {"nehalem", "Xeon 5500 (Nehalem-EP)"},
    {"haswell", "Xeon E5 v3 (Haswell-EP)"},
    {"skylake-sp", "Xeon Scalable (Skylake-SP)"},
    {"ice-lake", "Xeon Scalable, 3rd generation (Ice Lake-SP)"},
    {"sapphire-rapids", "Xeon Scalable, 4th generation (Sapphire Rapids)"},
};
constexpr CapabilityProfile (*kMakers[])() = {server,     nehalem,  haswell,
                                              skylake_sp, ice_lake, sapphire_rapids};
static_assert(std::size(kNames) == std::size(kMakers));

}  // namespace

std::span<const ProfileName> profile_names() { return kNames; }

std::optional<CapabilityProfile> hardware_capabilities(std::string_view name) {
  for (size_t n = 0; n < std::size(kNames); ++n)
    if (name == kNames[n].name) return kMakers[n]();
  return std::nullopt;
}

std::optional<CapabilityProfile> capabilities(std::string_view name) {
  auto profile = hardware_capabilities(name);
  if (profile) profile = restricted_to(std::move(*profile), implemented());
  return profile;
}

CapabilityProfile server_capabilities() { return restricted_to(server(), implemented()); }

}  // namespace cupel::vtx
