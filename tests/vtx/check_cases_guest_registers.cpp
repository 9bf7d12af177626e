// Border states of the checks on the guest's control registers, debug registers and MSRs.
#include "tests/vtx/check_cases.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;
using B = CheckBench&;

constexpr F kEntry = F::entry_controls;

template <uint32_t control>
void load(B b) {
  b.set_bits(kEntry, control);
}
template <F field>
void last_canonical(B b) {
  b.set(field, b.non_canonical() - 1);
}
template <F field>
void first_non_canonical(B b) {
  b.set(field, b.non_canonical());
}
bool unrestricted(B b) { return b.profile.proc2.offers(proc2::unrestricted_guest); }
bool cr4_has(B b, uint64_t bit) { return (b.profile.cr4_fixed1 & bit) != 0; }

#define FRED_CASES(name, alignment)                                \
  {"guest.fred_" #name,                                            \
   [](B b) {                                                       \
     load<entryctl::load_fred>(b);                                 \
     b.set(F::guest_fred_##name, b.non_canonical() - (alignment)); \
   },                                                              \
   first_non_canonical<F::guest_fred_##name>},                     \
  {                                                                \
    "guest.fred_" #name, load<entryctl::load_fred>,                \
        [](B b) { b.set(F::guest_fred_##name, (alignment) / 2); }  \
  }

const CheckCase kCases[] = {
    {"guest.cr0.fixed", [](B b) { b.set_bits(F::guest_cr0, cr0::NW | cr0::CD); },
     [](B b) { b.clear_bits(F::guest_cr0, cr0::NE); }},
    {"guest.cr0.fixed",  // PG is free for an unrestricted guest only
     [](B b) {
       b.needs(unrestricted(b));
       protected_mode(b);
       b.clear_bits(F::guest_cr0, cr0::PG);
     },
     restricted},
    {"guest.cr0.pg_without_pe", [](B b) { b.needs(unrestricted(b)); },
     [](B b) { b.clear_bits(F::guest_cr0, cr0::PE); }},
    {"guest.cr0.pg_without_pe",  // PE is fixed to 1 where no guest is unrestricted
     [](B b) { restricted(b); },
     [](B b) { b.clear_bits(F::guest_cr0, cr0::PE); },
     {"guest.cr0.fixed"}},
    {"guest.cr4.fixed", nothing, [](B b) { b.clear_bits(F::guest_cr4, cr4::VMXE); }},
    {"guest.cr4.fixed", [](B b) { b.set(F::guest_cr4, b.profile.cr4_fixed1 & ~cr4::CET); },
     [](B b) { b.set_bits(F::guest_cr4, 1ull << 63); }},
    {"guest.cr4.cet",
     [](B b) {
       b.needs(cr4_has(b, cr4::CET));
       b.set_bits(F::guest_cr4, cr4::CET);
       b.set_bits(F::guest_cr0, cr0::WP);
     },
     [](B b) { b.clear_bits(F::guest_cr0, cr0::WP); }},
    {"guest.debugctl.reserved", [](B b) { b.set(F::guest_debugctl, b.profile.features.debugctl); },
     [](B b) { b.set(F::guest_debugctl, 8); }},
    {"guest.debugctl.reserved",  // not looked at unless it is loaded
     [](B b) {
       b.clear_bits(kEntry, entryctl::load_debug_controls);
       b.set(F::guest_debugctl, 8);
     },
     load<entryctl::load_debug_controls>},
    {"guest.ia32e.paging", nothing, [](B b) { b.clear_bits(F::guest_cr4, cr4::PAE); }},
    {"guest.ia32e.paging", [](B b) { b.needs(unrestricted(b)); },
     [](B b) { b.clear_bits(F::guest_cr0, cr0::PG); }},
    {"guest.cr4.pcide", protected_mode,
     [](B b) {
       b.needs(cr4_has(b, cr4::PCIDE));
       b.set_bits(F::guest_cr4, cr4::PCIDE);
     }},
    {"guest.cr4.fred", protected_mode,
     [](B b) {
       b.needs(cr4_has(b, cr4::FRED));
       b.set_bits(F::guest_cr4, cr4::FRED);
     }},
    {"guest.cr3.width", [](B b) { b.set(F::guest_cr3, b.beyond() - 1); },
     [](B b) { b.set(F::guest_cr3, b.beyond()); }},
    {"guest.cr3.width",  // LAM
     [](B b) {
       b.profile.features.address_masking = true;
       b.set(F::guest_cr3, 3ull << 61);
     },
     [](B b) { b.set(F::guest_cr3, 1ull << 63); }},
    {"guest.dr7.high", [](B b) { b.set(F::guest_dr7, 0xffffffff); },
     [](B b) { b.set(F::guest_dr7, 0x100000400); }},
    {"guest.sysenter_esp.canonical", last_canonical<F::guest_sysenter_esp>,
     first_non_canonical<F::guest_sysenter_esp>},
    {"guest.sysenter_eip.canonical", last_canonical<F::guest_sysenter_eip>,
     first_non_canonical<F::guest_sysenter_eip>},
    {"guest.s_cet.canonical",
     [](B b) {
       load<entryctl::load_cet>(b);
       b.set(F::guest_s_cet, b.non_canonical() - 0x1000);
     },
     first_non_canonical<F::guest_s_cet>},
    {"guest.interrupt_ssp_table.canonical",
     [](B b) {
       load<entryctl::load_cet>(b);
       last_canonical<F::guest_interrupt_ssp_table>(b);
     },
     first_non_canonical<F::guest_interrupt_ssp_table>},
    {"guest.perf_global_ctrl.reserved",
     [](B b) {
       load<entryctl::load_perf_global_ctrl>(b);
       b.set(F::guest_perf_global_ctrl, b.profile.features.perf_global_ctrl);
     },
     [](B b) { b.set(F::guest_perf_global_ctrl, 1ull << 62); }},
    {"guest.pat.types",
     [](B b) {
       load<entryctl::load_pat>(b);
       b.set(F::guest_pat, 0x0706050401000706);
     },
     [](B b) { b.set(F::guest_pat, 3); }},
    {"guest.pat.types", load<entryctl::load_pat>,
     [](B b) { b.set(F::guest_pat, 0x0800000000000000); }},
    {"guest.efer.reserved",
     [](B b) {
       load<entryctl::load_efer>(b);
       b.set(F::guest_efer, 0xd01);
     },
     [](B b) { b.set_bits(F::guest_efer, 1 << 12); }},
    {"guest.efer.lma", load<entryctl::load_efer>, [](B b) { b.set(F::guest_efer, 0); }},
    {"guest.efer.lma",
     [](B b) {
       protected_mode(b);
       load<entryctl::load_efer>(b);
       b.set(F::guest_efer, 0);
     },
     [](B b) { b.set(F::guest_efer, efer::LMA | efer::LME); }},
    {"guest.efer.lme", load<entryctl::load_efer>, [](B b) { b.set(F::guest_efer, efer::LMA); }},
    {"guest.efer.lme",  // free without paging
     [](B b) {
       b.needs(unrestricted(b));
       protected_mode(b);
       load<entryctl::load_efer>(b);
       b.clear_bits(F::guest_cr0, cr0::PG);
       b.set(F::guest_efer, efer::LME);
     },
     [](B b) { b.set_bits(F::guest_cr0, cr0::PG); }},
    {"guest.bndcfgs.reserved",
     [](B b) {
       load<entryctl::load_bndcfgs>(b);
       b.set(F::guest_bndcfgs, 0x1003);
     },
     [](B b) { b.set(F::guest_bndcfgs, 0x800); }},
    {"guest.bndcfgs.canonical",
     [](B b) {
       load<entryctl::load_bndcfgs>(b);
       b.set(F::guest_bndcfgs, b.non_canonical() - 0x1000);
     },
     first_non_canonical<F::guest_bndcfgs>},
    {"guest.rtit_ctl.reserved",
     [](B b) {
       load<entryctl::load_rtit_ctl>(b);
       b.set(F::guest_rtit_ctl, b.profile.features.rtit_ctl);
     },
     [](B b) { b.set(F::guest_rtit_ctl, 1ull << 63); }},
    {"guest.s_cet.reserved",
     [](B b) {
       load<entryctl::load_cet>(b);
       b.set(F::guest_s_cet, 0x43f);
     },
     [](B b) { b.set(F::guest_s_cet, 0x200); }},
    {"guest.s_cet.tracker",
     [](B b) {
       load<entryctl::load_cet>(b);
       b.set(F::guest_s_cet, 0x800);
     },
     [](B b) { b.set(F::guest_s_cet, 0xc00); }},
    {"guest.lbr_ctl.reserved",
     [](B b) {
       load<entryctl::load_lbr_ctl>(b);
       b.set(F::guest_lbr_ctl, b.profile.features.lbr_ctl);
     },
     [](B b) { b.set(F::guest_lbr_ctl, 1ull << 63); }},
    {"guest.pkrs.high",
     [](B b) {
       load<entryctl::load_pkrs>(b);
       b.set(F::guest_pkrs, 0xffffffff);
     },
     [](B b) { b.set(F::guest_pkrs, 0x100000000); }},
    {"guest.uinv.reserved",
     [](B b) {
       load<entryctl::load_uinv>(b);
       b.set(F::guest_uinv, 0xff);
     },
     [](B b) { b.set(F::guest_uinv, 0x100); }},
    {"guest.fred_config",
     [](B b) {
       load<entryctl::load_fred>(b);
       b.set(F::guest_fred_config, (b.non_canonical() - 0x1000) | 0x7cb);
     },
     first_non_canonical<F::guest_fred_config>},
    {"guest.fred_config", load<entryctl::load_fred>, [](B b) { b.set(F::guest_fred_config, 4); }},
    FRED_CASES(rsp1, 64),
    FRED_CASES(rsp2, 64),
    FRED_CASES(rsp3, 64),
    FRED_CASES(ssp1, 8),
    FRED_CASES(ssp2, 8),
    FRED_CASES(ssp3, 8),
};

}  // namespace

std::span<const CheckCase> guest_register_cases() { return kCases; }

}  // namespace cupel::vtx::testing
