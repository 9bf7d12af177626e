// What failed checks lead to: the VM-instruction error or exit, and what the developer is told.
#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

void protected_mode(Rig& r) {
  r.clear_bits(F::entry_controls, entryctl::ia32e_mode_guest);
  r.set(F::guest_efer, 0);
  r.set(F::guest_cs_access_rights, 0xc09b);
  r.set(F::guest_cr4, cr4::VMXE);
}

void v86_mode(Rig& r) {
  protected_mode(r);
  r.set_bits(F::guest_rflags, rflags::VM);
  for (unsigned n = 0; n < 6; ++n) {
    const auto at = [n](F first) { return static_cast<F>(static_cast<unsigned>(first) + n); };
    r.set(at(F::guest_es_selector), 0x1000 + n);
    r.set(at(F::guest_es_base), (0x1000 + n) << 4);
    r.set(at(F::guest_es_limit), 0xffff);
    r.set(at(F::guest_es_access_rights), 0xf3);
  }
}
void pae_mode(Rig& r) {
  protected_mode(r);
  r.set_bits(F::guest_cr4, cr4::PAE);
}
void restricted(Rig& r) {
  r.clear_bits(F::secondary_processor_controls, proc2::unrestricted_guest);
}
void no_ept(Rig& r) {
  r.clear_bits(F::secondary_processor_controls, proc2::unrestricted_guest | proc2::enable_ept);
}

struct Mode {
  const char* id;
  void (*spoil)(Rig&);
};

TEST(EntryCheckOutcomes, AllFailuresAreCollectedAndDescribed) {
  Rig rig;
  rig.set(F::cr3_target_count, 9);
  rig.set(F::vpid, 0);
  rig.set(F::host_cs_selector, 0);
  rig.set(F::guest_rflags, 0);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.last_error(), VmxError::entry_controls);
  for (const char* id :
       {"control.cr3_target_count", "control.vpid.zero", "host.cs.null", "guest.rflags.reserved"})
    EXPECT_TRUE(rig.failed(id)) << id;
  EXPECT_EQ(rig.vmx.entry_failures().size(), 4u);
  const std::string text = rig.vmx.describe_entry_failures();
  EXPECT_NE(text.find("cr3_target_count (400aH) = 0x9"), std::string::npos) << text;
  EXPECT_NE(text.find("VM-Execution Control Fields"), std::string::npos) << text;
}

TEST(EntryCheckOutcomes, AFailureStaysUntilItsFieldIsMended) {
  Rig rig;
  rig.set(F::vpid, 0);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  rig.set(F::guest_rip, 0x2000);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  EXPECT_TRUE(rig.failed("control.vpid.zero"));
  rig.set(F::vpid, 3);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_TRUE(rig.vmx.entry_failures().empty());
}

TEST(EntryCheckOutcomes, A32BitHostMayNotEnterWith64BitAddressSpace) {
  Rig rig;
  rig.vmx.host_state().efer = 0;
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  EXPECT_TRUE(rig.failed("host.address_space_size.outside_ia32e"));
}

TEST(EntryCheckOutcomes, Cr4BitsThatCpuidDoesNotShowAreReserved) {
  Rig rig;
  rig.set_bits(F::host_cr4, cr4::UMIP);  // not in the fake's leaf 7
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  EXPECT_TRUE(rig.failed("host.cr4.fixed"));
}

TEST(EntryCheckOutcomes, LegalModesPass) {
  const Mode modes[] = {
      {"protected", protected_mode},
      {"virtual-8086", v86_mode},
      {"PAE", pae_mode},
      {"PAE without EPT",
       [](Rig& r) {
         pae_mode(r);
         no_ept(r);
       }},
      {"64-bit without unrestricted guest", restricted},
      {"real mode, unrestricted",
       [](Rig& r) {
         protected_mode(r);
         r.set(F::guest_cr0, 0x30);
         r.set(F::guest_cs_access_rights, 0x93);
         r.set(F::guest_cs_limit, 0xffff);
       }},
      {"HLT with #DB injected",
       [](Rig& r) {
         r.set(F::guest_activity_state, 1);
         r.set(F::entry_interruption_info, 0x80000301);
       }},
      {"high canonical RIP", [](Rig& r) { r.set(F::guest_rip, 0xffffffff81000000ull); }},
  };
  for (const Mode& mode : modes) {
    SCOPED_TRACE(mode.id);
    Rig rig;
    mode.spoil(rig);
    EXPECT_EQ(rig.launch(), VmxStatus::succeed);
    EXPECT_EQ(rig.vmx.describe_entry_failures(), "");
    EXPECT_EQ(rig.reason(), 10u);
  }
}

TEST(EntryCheckOutcomes, QualificationNamesLinkPointerAndPdptes) {
  Rig link;
  link.set(F::vmcs_link_pointer, 0x123);
  EXPECT_EQ(link.launch(), VmxStatus::succeed);
  EXPECT_EQ(link.get(F::exit_qualification), 4u);
  Rig pdpte;
  pae_mode(pdpte);
  pdpte.set(F::guest_pdpte0, 3);
  EXPECT_EQ(pdpte.launch(), VmxStatus::succeed);
  EXPECT_EQ(pdpte.get(F::exit_qualification), 2u);
}

TEST(EntryCheckOutcomes, EntryFailureLeavesLaunchStateAndInjectionAlone) {
  Rig rig;
  rig.set(F::entry_interruption_info, 0x80000306);
  rig.set(F::guest_rflags, 0);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 0x80000021u);
  EXPECT_EQ(rig.get(F::entry_interruption_info), 0x80000306u);
  EXPECT_EQ(rig.resume(), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.last_error(), VmxError::vmresume_not_launched);
  rig.set(F::guest_rflags, 2);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 10u);
}

TEST(EntryCheckOutcomes, LinkPointerMayNameAnotherVmcs) {
  Rig rig;
  rig.memory->write(kOtherVmcs, rig.vmx.capabilities().revision);
  rig.set(F::vmcs_link_pointer, kOtherVmcs.value());
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 10u);
  // The check is repeated: it depends on memory.
  rig.memory->write<uint32_t>(kOtherVmcs, 0);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 0x80000021u);
}

TEST(EntryCheckOutcomes, TheStageOfTheFirstFailureDecides) {
  Rig rig;
  rig.set(F::guest_rflags, 0);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 0x80000021u);
  rig.set(F::host_cs_selector, 0);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.last_error(), VmxError::entry_host_state);
  rig.set(F::vpid, 0);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.last_error(), VmxError::entry_controls);
  EXPECT_EQ(rig.cpu.runs, 0);
}

// The link's region was good when the entry was refused for another reason.
TEST(EntryCheckOutcomes, RowsOnMemoryAreLookedAtAgainAfterAFailedEntry) {
  Rig rig;
  rig.memory->write(kOtherVmcs, rig.vmx.capabilities().revision);
  rig.set(F::vmcs_link_pointer, kOtherVmcs.value());
  rig.set(F::vpid, 0);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  rig.set(F::vpid, 1);
  rig.memory->write<uint32_t>(kOtherVmcs, 0);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 0x80000021u);
  EXPECT_TRUE(rig.failed("guest.link_pointer.revision"));
}

}  // namespace
}  // namespace cupel::vtx::testing
