// Border states of the checks on the host-state area.
#include "tests/vtx/check_cases.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;
using B = CheckBench&;

constexpr F kExit = F::exit_controls;

template <F field>
void last_canonical(B b) {
  b.set(field, b.non_canonical() - 1);
}
template <F field>
void first_non_canonical(B b) {
  b.set(field, b.non_canonical());
}
#define CANONICAL_CASE(id, field) \
  { id, last_canonical<field>, first_non_canonical<field> }
#define SELECTOR_CASES(seg)                                                         \
  {"host." #seg ".selector", [](B b) { b.set(F::host_##seg##_selector, 0xfff8); },  \
   [](B b) { b.set(F::host_##seg##_selector, 0xfffc); }},                           \
  {                                                                                 \
    "host." #seg ".selector", [](B b) { b.set(F::host_##seg##_selector, 0xfff8); }, \
        [](B b) { b.set(F::host_##seg##_selector, 0xfffb); }                        \
  }

void cet(B b) { b.set_bits(kExit, exitctl::load_cet); }
void cet_32(B b) {
  host_32(b);
  cet(b);
}
void fred(B b) {
  b.set_bits(kExit, exitctl::secondary_controls);
  b.set_bits(F::secondary_exit_controls, exitctl2::load_fred);
}

#define FRED_CASES(name, alignment)                                                    \
  {"host.fred_" #name,                                                                 \
   [](B b) {                                                                           \
     fred(b);                                                                          \
     b.set(F::host_fred_##name, b.non_canonical() - (alignment));                      \
   },                                                                                  \
   first_non_canonical<F::host_fred_##name>},                                          \
  {                                                                                    \
    "host.fred_" #name, fred, [](B b) { b.set(F::host_fred_##name, (alignment) / 2); } \
  }

const CheckCase kCases[] = {
    {"host.cr0.fixed", [](B b) { b.set_bits(F::host_cr0, cr0::NW | cr0::CD); },
     [](B b) { b.clear_bits(F::host_cr0, cr0::NE); }},
    {"host.cr0.fixed", nothing, [](B b) { b.set_bits(F::host_cr0, 1ull << 32); }},
    {"host.cr4.fixed", [](B b) { b.set(F::host_cr4, b.profile.cr4_fixed1 & ~cr4::CET); },
     [](B b) { b.clear_bits(F::host_cr4, cr4::VMXE); }},
    {"host.cr4.fixed", nothing, [](B b) { b.set_bits(F::host_cr4, 1ull << 63); }},
    {"host.cr4.cet",
     [](B b) {
       b.needs((b.profile.cr4_fixed1 & cr4::CET) != 0);
       b.set_bits(F::host_cr4, cr4::CET);
     },
     [](B b) { b.clear_bits(F::host_cr0, cr0::WP); }},
    {"host.cr3.width", [](B b) { b.set(F::host_cr3, b.beyond() - 1); },
     [](B b) { b.set(F::host_cr3, b.beyond()); }},
    {"host.cr3.width",  // LAM
     [](B b) {
       b.profile.features.address_masking = true;
       b.set(F::host_cr3, 3ull << 61);
     },
     [](B b) { b.set(F::host_cr3, 1ull << 63); }},
    CANONICAL_CASE("host.sysenter_esp.canonical", F::host_sysenter_esp),
    CANONICAL_CASE("host.sysenter_eip.canonical", F::host_sysenter_eip),
    {"host.perf_global_ctrl.reserved",
     [](B b) {
       b.set_bits(kExit, exitctl::load_perf_global_ctrl);
       b.set(F::host_perf_global_ctrl, b.profile.features.perf_global_ctrl);
     },
     [](B b) { b.set(F::host_perf_global_ctrl, 1ull << 62); }},
    {"host.pat.types",
     [](B b) {
       b.set_bits(kExit, exitctl::load_pat);
       b.set(F::host_pat, 0x0706050401000706);
     },
     [](B b) { b.set(F::host_pat, 0x0706050401000702); }},
    {"host.pat.types", [](B b) { b.set_bits(kExit, exitctl::load_pat); },
     [](B b) { b.set(F::host_pat, 0x0800000000000000); }},
    {"host.efer.reserved", [](B b) { b.set(F::host_efer, 0xd01); },
     [](B b) { b.set_bits(F::host_efer, 2); }},
    {"host.efer.address_space_size", nothing, [](B b) { b.clear_bits(F::host_efer, efer::LME); }},
    {"host.efer.address_space_size", nothing, [](B b) { b.clear_bits(F::host_efer, efer::LMA); }},
    {"host.efer.address_space_size", host_32, [](B b) { b.set(F::host_efer, efer::LME); }},
    {"host.s_cet.reserved",
     [](B b) {
       cet(b);
       b.set(F::host_s_cet, 0x43f);
     },
     [](B b) { b.set(F::host_s_cet, 0x40); }},
    {"host.s_cet.reserved",  // tracking bits on a processor with shadow stacks only
     [](B b) {
       cet(b);
       b.profile.features.shadow_stacks = true;
       b.profile.features.branch_tracking = false;
       b.set(F::host_s_cet, 3);
     },
     [](B b) { b.set(F::host_s_cet, 4); }},
    {"host.s_cet.tracker",
     [](B b) {
       cet(b);
       b.set(F::host_s_cet, 0x800);
     },
     [](B b) { b.set(F::host_s_cet, 0xc00); }},
    {"host.interrupt_ssp_table.canonical",
     [](B b) {
       cet(b);
       last_canonical<F::host_interrupt_ssp_table>(b);
     },
     first_non_canonical<F::host_interrupt_ssp_table>},
    {"host.ssp.alignment",
     [](B b) {
       cet(b);
       b.set(F::host_ssp, 0x1004);
     },
     [](B b) { b.set(F::host_ssp, 0x1002); }},
    {"host.pkrs.high",
     [](B b) {
       b.set_bits(kExit, exitctl::load_pkrs);
       b.set(F::host_pkrs, 0xffffffff);
     },
     [](B b) { b.set(F::host_pkrs, 0x100000000); }},
    {"host.fred_config",
     [](B b) {
       fred(b);
       b.set(F::host_fred_config, (b.non_canonical() - 0x1000) | 0x7cb);
     },
     first_non_canonical<F::host_fred_config>},
    {"host.fred_config", fred, [](B b) { b.set(F::host_fred_config, 1 << 11); }},
    FRED_CASES(rsp1, 64),
    FRED_CASES(rsp2, 64),
    FRED_CASES(rsp3, 64),
    FRED_CASES(ssp1, 8),
    FRED_CASES(ssp2, 8),
    FRED_CASES(ssp3, 8),

    SELECTOR_CASES(es),
    SELECTOR_CASES(cs),
    SELECTOR_CASES(ss),
    SELECTOR_CASES(ds),
    SELECTOR_CASES(fs),
    SELECTOR_CASES(gs),
    SELECTOR_CASES(tr),
    {"host.cs.null", nothing, [](B b) { b.set(F::host_cs_selector, 0); }},
    {"host.tr.null", nothing, [](B b) { b.set(F::host_tr_selector, 0); }},
    {"host.ss.null", host_32, [](B b) { b.set(F::host_ss_selector, 0); }},
    CANONICAL_CASE("host.fs_base.canonical", F::host_fs_base),
    CANONICAL_CASE("host.gs_base.canonical", F::host_gs_base),
    CANONICAL_CASE("host.gdtr_base.canonical", F::host_gdtr_base),
    CANONICAL_CASE("host.idtr_base.canonical", F::host_idtr_base),
    CANONICAL_CASE("host.tr_base.canonical", F::host_tr_base),

    {"host.address_space_size.outside_ia32e", host_32,
     [](B b) {
       b.set_bits(kExit, exitctl::host_address_space_size);
       if ((b.get(kExit) & exitctl::load_efer) != 0) b.set(F::host_efer, efer::LMA | efer::LME);
     }},
    {"host.address_space_size.inside_ia32e", host_32,
     [](B b) {
       b.host.efer = efer::LMA | efer::LME;
       b.changed_host();
     }},
    {"host.address_space_size.guest",  // one of the two rows above cannot but fail with it
     host_32,
     [](B b) {
       b.set_bits(F::entry_controls, entryctl::ia32e_mode_guest);
       if ((b.get(F::entry_controls) & entryctl::load_efer) != 0)
         b.set(F::guest_efer, efer::LMA | efer::LME);
       b.set_bits(F::guest_cr4, cr4::PAE);
     },
     {"host.address_space_size.outside_ia32e"}},
    {"host.cr4.pcide", host_32,
     [](B b) {
       b.needs((b.profile.cr4_fixed1 & cr4::PCIDE) != 0);
       b.set_bits(F::host_cr4, cr4::PCIDE);
     }},
    {"host.cr4.fred", host_32,
     [](B b) {
       b.needs((b.profile.cr4_fixed1 & cr4::FRED) != 0);
       b.set_bits(F::host_cr4, cr4::FRED);
     }},
    {"host.rip.high", host_32, [](B b) { b.set(F::host_rip, 0x100000000); }},
    {"host.s_cet.high",
     [](B b) {
       cet_32(b);
       b.set(F::host_s_cet, 0xfffff000);
     },
     [](B b) { b.set(F::host_s_cet, 0x100000000); }},
    {"host.ssp.high",
     [](B b) {
       cet_32(b);
       b.set(F::host_ssp, 0xfffffffc);
     },
     [](B b) { b.set(F::host_ssp, 0x100000000); }},
    {"host.cr4.pae", nothing, [](B b) { b.clear_bits(F::host_cr4, cr4::PAE); }},
    {"host.rip.canonical", [](B b) { b.set(F::host_rip, (1ull << 47) - 1); },
     [](B b) { b.set(F::host_rip, 1ull << 47); }},
    {"host.rip.canonical",  // CR4.LA57 of the host-state area decides
     [](B b) {
       b.needs((b.profile.cr4_fixed1 & cr4::LA57) != 0);
       b.set_bits(F::host_cr4, cr4::LA57);
       b.set(F::host_rip, 1ull << 47);
     },
     [](B b) { b.clear_bits(F::host_cr4, cr4::LA57); }},
    {"host.s_cet.canonical",
     [](B b) {
       cet(b);
       b.set(F::host_s_cet, (b.non_canonical() - 0x1000));
     },
     [](B b) { b.set(F::host_s_cet, b.non_canonical()); }},
    {"host.ssp.canonical",
     [](B b) {
       cet(b);
       b.set(F::host_ssp, b.non_canonical() - 4);
     },
     [](B b) { b.set(F::host_ssp, b.non_canonical()); }},
};

}  // namespace

std::span<const CheckCase> host_cases() { return kCases; }

}  // namespace cupel::vtx::testing
