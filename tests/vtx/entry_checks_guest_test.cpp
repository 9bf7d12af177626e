#include "tests/vtx/check_cases.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

constexpr uint64_t kNonCanonical = 0x0000800000000000ull;

// Leaves IA-32e mode: 32-bit protected mode with paging.
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

#define V86_CASES(seg)                             \
  {"guest." #seg ".v86_base",                      \
   [](Rig& r) {                                    \
     v86_mode(r);                                  \
     r.set(F::guest_##seg##_base, 0);              \
   }},                                             \
      {"guest." #seg ".v86_limit",                 \
       [](Rig& r) {                                \
         v86_mode(r);                              \
         r.set(F::guest_##seg##_limit, 0xfffff);   \
       }},                                         \
  {                                                \
    "guest." #seg ".v86_rights", [](Rig& r) {      \
      v86_mode(r);                                 \
      r.set(F::guest_##seg##_access_rights, 0x93); \
    }                                              \
  }

#define COMMON_CASES(seg)                                                                     \
  {"guest." #seg ".s", [](Rig& r) { r.clear_bits(F::guest_##seg##_access_rights, 1 << 4); }}, \
      {"guest." #seg ".present",                                                              \
       [](Rig& r) { r.clear_bits(F::guest_##seg##_access_rights, 1 << 7); }},                 \
      {"guest." #seg ".reserved",                                                             \
       [](Rig& r) { r.set_bits(F::guest_##seg##_access_rights, 1 << 8); }},                   \
  {                                                                                           \
    "guest." #seg ".granularity", [](Rig& r) { r.set(F::guest_##seg##_limit, 0xfffff000); }   \
  }

#define DATA_CASES(seg)                                                                   \
  {"guest." #seg ".type", [](Rig& r) { r.set(F::guest_##seg##_access_rights, 0xc092); }}, \
      {"guest." #seg ".dpl",                                                              \
       [](Rig& r) {                                                                       \
         restricted(r);                                                                   \
         r.set(F::guest_##seg##_selector, 3);                                             \
       }},                                                                                \
      COMMON_CASES(seg)

const CheckCase kSegments[] = {
    {"guest.tr.selector_ti", [](Rig& r) { r.set(F::guest_tr_selector, 4); }},
    {"guest.ldtr.selector_ti",
     [](Rig& r) {
       r.set(F::guest_ldtr_access_rights, 0x82);
       r.set(F::guest_ldtr_selector, 4);
     }},
    {"guest.ss.selector_rpl",
     [](Rig& r) {
       restricted(r);
       r.set(F::guest_ss_selector, 3);
     }},
    V86_CASES(cs),
    V86_CASES(ss),
    V86_CASES(ds),
    V86_CASES(es),
    V86_CASES(fs),
    V86_CASES(gs),
    {"guest.tr.base", [](Rig& r) { r.set(F::guest_tr_base, kNonCanonical); }},
    {"guest.fs.base", [](Rig& r) { r.set(F::guest_fs_base, kNonCanonical); }},
    {"guest.gs.base", [](Rig& r) { r.set(F::guest_gs_base, kNonCanonical); }},
    {"guest.ldtr.base",
     [](Rig& r) {
       r.set(F::guest_ldtr_access_rights, 0x82);
       r.set(F::guest_ldtr_base, kNonCanonical);
     }},
    {"guest.cs.base", [](Rig& r) { r.set(F::guest_cs_base, 1ull << 32); }},
    {"guest.ss.base", [](Rig& r) { r.set(F::guest_ss_base, 1ull << 32); }},
    {"guest.ds.base", [](Rig& r) { r.set(F::guest_ds_base, 1ull << 32); }},
    {"guest.es.base", [](Rig& r) { r.set(F::guest_es_base, 1ull << 32); }},
    {"guest.cs.type",
     [](Rig& r) {
       restricted(r);
       r.set(F::guest_cs_access_rights, 0xa093);
     }},
    {"guest.cs.dpl", [](Rig& r) { r.set_bits(F::guest_cs_access_rights, 3 << 5); }},
    {"guest.cs.d", [](Rig& r) { r.set_bits(F::guest_cs_access_rights, 1 << 14); }},
    COMMON_CASES(cs),
    {"guest.ss.type", [](Rig& r) { r.set(F::guest_ss_access_rights, 0xc091); }},
    {"guest.ss.dpl",
     [](Rig& r) {
       restricted(r);
       r.set(F::guest_ss_access_rights, 0xc0f3);
     }},
    COMMON_CASES(ss),
    DATA_CASES(ds),
    DATA_CASES(es),
    DATA_CASES(fs),
    DATA_CASES(gs),
    {"guest.tr.type", [](Rig& r) { r.set(F::guest_tr_access_rights, 0x83); }},
    {"guest.tr.usable", [](Rig& r) { r.set_bits(F::guest_tr_access_rights, 1 << 16); }},
    {"guest.tr.s", [](Rig& r) { r.set(F::guest_tr_access_rights, 0x9b); }},
    {"guest.tr.present", [](Rig& r) { r.set(F::guest_tr_access_rights, 0x0b); }},
    {"guest.tr.reserved", [](Rig& r) { r.set(F::guest_tr_access_rights, 0x18b); }},
    {"guest.tr.granularity", [](Rig& r) { r.set(F::guest_tr_limit, 0x100000); }},
    {"guest.ldtr.type", [](Rig& r) { r.set(F::guest_ldtr_access_rights, 0x83); }},
    {"guest.ldtr.s", [](Rig& r) { r.set(F::guest_ldtr_access_rights, 0x92); }},
    {"guest.ldtr.present", [](Rig& r) { r.set(F::guest_ldtr_access_rights, 0x02); }},
    {"guest.ldtr.reserved", [](Rig& r) { r.set(F::guest_ldtr_access_rights, 0x182); }},
    {"guest.ldtr.granularity", [](Rig& r) { r.set(F::guest_ldtr_access_rights, 0x8082); }},
    {"guest.gdtr.base", [](Rig& r) { r.set(F::guest_gdtr_base, kNonCanonical); }},
    {"guest.gdtr.limit", [](Rig& r) { r.set(F::guest_gdtr_limit, 0x10000); }},
    {"guest.idtr.base", [](Rig& r) { r.set(F::guest_idtr_base, kNonCanonical); }},
    {"guest.idtr.limit", [](Rig& r) { r.set(F::guest_idtr_limit, 0x10000); }},
};

const CheckCase kState[] = {
    {"guest.cr0.fixed", [](Rig& r) { r.clear_bits(F::guest_cr0, cr0::NE); }},
    {"guest.cr0.pg_without_pe", [](Rig& r) { r.clear_bits(F::guest_cr0, cr0::PE); }},
    {"guest.cr4.fixed", [](Rig& r) { r.clear_bits(F::guest_cr4, cr4::VMXE); }},
    {"guest.debugctl.reserved", [](Rig& r) { r.set(F::guest_debugctl, 4); }},
    {"guest.ia32e.paging", [](Rig& r) { r.clear_bits(F::guest_cr4, cr4::PAE); }},
    {"guest.cr4.pcide",
     [](Rig& r) {
       protected_mode(r);
       r.set_bits(F::guest_cr4, cr4::PCIDE);
     }},
    {"guest.cr3.width", [](Rig& r) { r.set(F::guest_cr3, 1ull << 40); }},
    {"guest.dr7.high", [](Rig& r) { r.set(F::guest_dr7, 1ull << 32); }},
    {"guest.sysenter_esp.canonical", [](Rig& r) { r.set(F::guest_sysenter_esp, kNonCanonical); }},
    {"guest.sysenter_eip.canonical", [](Rig& r) { r.set(F::guest_sysenter_eip, kNonCanonical); }},
    {"guest.pat.types", [](Rig& r) { r.set(F::guest_pat, 3); }},
    {"guest.efer.reserved", [](Rig& r) { r.set_bits(F::guest_efer, 1 << 12); }},
    {"guest.efer.lma", [](Rig& r) { r.set(F::guest_efer, 0); }},
    {"guest.efer.lme", [](Rig& r) { r.set(F::guest_efer, efer::LMA); }},
    {"guest.rip", [](Rig& r) { r.set(F::guest_rip, kNonCanonical); }},
    {"guest.rflags.reserved", [](Rig& r) { r.set(F::guest_rflags, 0xa); }},
    {"guest.rflags.vm", [](Rig& r) { r.set_bits(F::guest_rflags, rflags::VM); }},
    {"guest.rflags.if_injection", [](Rig& r) { r.set(F::entry_interruption_info, 0x80000030); }},
    {"guest.activity.value", [](Rig& r) { r.set(F::guest_activity_state, 4); }},
    {"guest.activity.hlt_dpl",
     [](Rig& r) {
       r.set_bits(F::guest_ss_access_rights, 3 << 5);
       r.set_bits(F::guest_cs_access_rights, 3 << 5);
       r.set(F::guest_activity_state, 1);
     }},
    {"guest.activity.blocking",
     [](Rig& r) {
       r.set(F::guest_activity_state, 1);
       r.set(F::guest_interruptibility_state, interruptibility::mov_ss);
     }},
    {"guest.activity.injection",
     [](Rig& r) {
       r.set(F::guest_activity_state, 2);
       r.set(F::entry_interruption_info, 0x80000306);
     }},
    {"guest.interruptibility.reserved",
     [](Rig& r) { r.set(F::guest_interruptibility_state, 1 << 5); }},
    {"guest.interruptibility.sti_mov_ss",
     [](Rig& r) { r.set(F::guest_interruptibility_state, 3); }},
    {"guest.interruptibility.sti_if", [](Rig& r) { r.set(F::guest_interruptibility_state, 1); }},
    {"guest.interruptibility.injected_interrupt",
     [](Rig& r) {
       r.set(F::guest_rflags, 0x202);
       r.set(F::guest_interruptibility_state, 1);
       r.set(F::entry_interruption_info, 0x80000030);
     }},
    {"guest.interruptibility.injected_nmi",
     [](Rig& r) {
       r.set(F::guest_interruptibility_state, interruptibility::mov_ss);
       r.set(F::entry_interruption_info, 0x80000202);
     }},
    {"guest.interruptibility.smi",
     [](Rig& r) { r.set(F::guest_interruptibility_state, interruptibility::smi); }},
    {"guest.interruptibility.virtual_nmi",
     [](Rig& r) {
       r.set_bits(F::pin_based_controls, pin::virtual_nmis);
       r.set(F::guest_interruptibility_state, interruptibility::nmi);
       r.set(F::entry_interruption_info, 0x80000202);
     }},
    {"guest.interruptibility.enclave",
     [](Rig& r) { r.set(F::guest_interruptibility_state, interruptibility::enclave); }},
    {"guest.pending_debug.reserved",
     [](Rig& r) { r.set(F::guest_pending_debug_exceptions, 1 << 5); }},
    {"guest.pending_debug.bs",
     [](Rig& r) {
       r.set(F::guest_rflags, 0x102);
       r.set(F::guest_interruptibility_state, interruptibility::mov_ss);
     }},
    {"guest.link_pointer", [](Rig& r) { r.set(F::vmcs_link_pointer, kOtherVmcs.value()); }},
    {"guest.pdpte0.reserved",
     [](Rig& r) {
       pae_mode(r);
       r.set(F::guest_pdpte0, 3);
     }},
    {"guest.pdpte1.reserved",
     [](Rig& r) {
       pae_mode(r);
       r.set(F::guest_pdpte1, 5);
     }},
    {"guest.pdpte2.reserved",
     [](Rig& r) {
       pae_mode(r);
       r.set(F::guest_pdpte2, 0x21);
     }},
    {"guest.pdpte3.reserved",
     [](Rig& r) {
       pae_mode(r);
       r.set(F::guest_pdpte3, 1ull << 45 | 1);
     }},
    {"guest.pdptes.memory",
     [](Rig& r) {
       pae_mode(r);
       no_ept(r);
       r.memory->write<uint64_t>(Hpa(0x9008), 0x21);
     }},
};

TEST(GuestChecks, EachSegmentRowFailsWithExit33) {
  expect_each_fails(kSegments, CheckStage::guest);
}
TEST(GuestChecks, EachStateRowFailsWithExit33) { expect_each_fails(kState, CheckStage::guest); }
TEST(GuestChecks, EverySegmentRowHasACase) { expect_covered(guest_segment_checks(), kSegments); }
TEST(GuestChecks, EveryStateRowHasACase) { expect_covered(guest_checks(), kState); }

// One state for each mode a guest may be in passes.
TEST(GuestChecks, LegalModesPass) {
  const CheckCase modes[] = {
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
  for (const CheckCase& mode : modes) {
    SCOPED_TRACE(mode.id);
    Rig rig;
    mode.spoil(rig);
    EXPECT_EQ(rig.launch(), VmxStatus::succeed);
    EXPECT_EQ(rig.vmx.describe_entry_failures(), "");
    EXPECT_EQ(rig.reason(), 10u);
  }
}

TEST(GuestChecks, QualificationNamesLinkPointerAndPdptes) {
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

TEST(GuestChecks, EntryFailureLeavesLaunchStateAndInjectionAlone) {
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

TEST(GuestChecks, LinkPointerMayNameAnotherVmcs) {
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

}  // namespace
}  // namespace cupel::vtx::testing
