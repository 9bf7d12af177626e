#include "tests/vtx/check_cases.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

constexpr uint64_t kNonCanonical = 0x0000800000000000ull;

const CheckCase kCases[] = {
    {"host.cr0.fixed", [](Rig& r) { r.set(F::host_cr0, 0x80050013); }},  // NE 0
    {"host.cr4.fixed", [](Rig& r) { r.clear_bits(F::host_cr4, cr4::VMXE); }},
    {"host.cr3.width", [](Rig& r) { r.set(F::host_cr3, 1ull << 40); }},
    {"host.sysenter_esp.canonical", [](Rig& r) { r.set(F::host_sysenter_esp, kNonCanonical); }},
    {"host.sysenter_eip.canonical", [](Rig& r) { r.set(F::host_sysenter_eip, kNonCanonical); }},
    {"host.pat.types", [](Rig& r) { r.set(F::host_pat, 0x0007040600070402ull); }},
    {"host.efer.reserved", [](Rig& r) { r.set_bits(F::host_efer, 2); }},
    {"host.efer.address_space_size", [](Rig& r) { r.clear_bits(F::host_efer, efer::LME); }},
    {"host.es.selector", [](Rig& r) { r.set(F::host_es_selector, 3); }},
    {"host.cs.selector", [](Rig& r) { r.set(F::host_cs_selector, 0xb); }},
    {"host.ss.selector", [](Rig& r) { r.set(F::host_ss_selector, 0x14); }},
    {"host.ds.selector", [](Rig& r) { r.set(F::host_ds_selector, 1); }},
    {"host.fs.selector", [](Rig& r) { r.set(F::host_fs_selector, 2); }},
    {"host.gs.selector", [](Rig& r) { r.set(F::host_gs_selector, 4); }},
    {"host.tr.selector", [](Rig& r) { r.set(F::host_tr_selector, 0x1c); }},
    {"host.cs.null", [](Rig& r) { r.set(F::host_cs_selector, 0); }},
    {"host.tr.null", [](Rig& r) { r.set(F::host_tr_selector, 0); }},
    {"host.ss.null",
     [](Rig& r) {
       r.clear_bits(F::exit_controls, exitctl::host_address_space_size);
       r.set(F::host_ss_selector, 0);
     }},
    {"host.fs_base.canonical", [](Rig& r) { r.set(F::host_fs_base, kNonCanonical); }},
    {"host.gs_base.canonical", [](Rig& r) { r.set(F::host_gs_base, kNonCanonical); }},
    {"host.gdtr_base.canonical", [](Rig& r) { r.set(F::host_gdtr_base, kNonCanonical); }},
    {"host.idtr_base.canonical", [](Rig& r) { r.set(F::host_idtr_base, kNonCanonical); }},
    {"host.tr_base.canonical", [](Rig& r) { r.set(F::host_tr_base, kNonCanonical); }},
    {"host.address_space_size.mode",
     [](Rig& r) { r.clear_bits(F::exit_controls, exitctl::host_address_space_size); }},
    {"host.address_space_size.guest",
     [](Rig& r) { r.clear_bits(F::exit_controls, exitctl::host_address_space_size); }},
    {"host.cr4.pcide",
     [](Rig& r) {
       r.clear_bits(F::exit_controls, exitctl::host_address_space_size);
       r.set_bits(F::host_cr4, cr4::PCIDE);
     }},
    {"host.cr4.pae", [](Rig& r) { r.clear_bits(F::host_cr4, cr4::PAE); }},
    {"host.rip", [](Rig& r) { r.set(F::host_rip, kNonCanonical); }},
};

TEST(HostChecks, EachRowFailsWithError8) { expect_each_fails(kCases, CheckStage::host); }
TEST(HostChecks, EveryRowHasACase) { expect_covered(host_checks(), kCases); }

TEST(HostChecks, A32BitHostMayNotEnterWith64BitAddressSpace) {
  Rig rig;
  rig.vmx.host_state().efer = 0;
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  EXPECT_TRUE(rig.failed("host.address_space_size.mode"));
}

TEST(HostChecks, Cr4BitsThatCpuidDoesNotShowAreReserved) {
  Rig rig;
  rig.set_bits(F::host_cr4, cr4::UMIP);  // not in the fake's leaf 7
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  EXPECT_TRUE(rig.failed("host.cr4.fixed"));
}

}  // namespace
}  // namespace cupel::vtx::testing
