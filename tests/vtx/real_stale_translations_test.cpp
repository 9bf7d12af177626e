// Hypervisors that forget an invalidation, and those that do not, in adversarial mode.
// SDM vol. 3C, "Guidelines for Use of the INVVPID Instruction", "... of the INVEPT Instruction".
#include "tests/vtx/real_rig.h"

namespace cupel::vtx::testing {
namespace {

class StaleTranslations : public RealRig {
 protected:
  static constexpr uint64_t kPage = 0xc00000, kOther = 0xa00000, kThird = 0x800000,
                            kSecondTables = 0x260000;
  void SetUp() override {
    RealRig::SetUp();
    vmx->keep_translations(true);
    memory->write<uint32_t>(Hpa(kPage), 0x111);
    memory->write<uint32_t>(Hpa(kOther), 0x222);
    // again: mov eax, [rdi]; vmcall; jmp again
    code({0x8b, 0x07, 0x0f, 0x01, 0xc1, 0xeb, 0xf9});
    regs[Gpr::rdi] = kPage;
  }
  uint32_t read_in_guest() {
    if (launched) skip();
    EXPECT_EQ(enter(), ExitReason::vmcall);
    return static_cast<uint32_t>(regs[Gpr::rax]);
  }
  void remap_by_ept() { put(kEptPd + 6 * 8, kOther | 7 | 6 << 3 | 1 << 7); }
  // Other guest tables in which 12 MiB leads to 10 MiB.
  void load_other_cr3() {
    put(kSecondTables, (kSecondTables + 0x1000) | 3);
    put(kSecondTables + 0x1000, (kSecondTables + 0x2000) | 3);
    for (uint64_t n = 0; n < 512; ++n) put(kSecondTables + 0x2000 + 8 * n, n << 21 | 0x83);
    put(kSecondTables + 0x2000 + 8 * 6, kOther | 0x83);
    set(F::guest_cr3, kSecondTables);
  }
  const std::vector<StaleUse>& stale() { return vmx->kept_translations()->stale_uses(); }
};

TEST_F(StaleTranslations, ForgottenInveptIsCaught) {
  EXPECT_EQ(read_in_guest(), 0x111u);
  remap_by_ept();
  processor->flush_tlb();  // even where the engine itself has forgotten
  EXPECT_EQ(read_in_guest(), 0x111u);
  ASSERT_EQ(stale().size(), 1u);
  EXPECT_EQ(stale()[0].kind, StaleUse::Kind::combined);
  EXPECT_TRUE(stale()[0].ept_differs);
  EXPECT_EQ(stale()[0].linear, Gva(kPage));
  EXPECT_EQ(stale()[0].used, Hpa(kPage));
  EXPECT_EQ(stale()[0].now, Hpa(kOther));
}

TEST_F(StaleTranslations, InveptInTimeIsNot) {
  for (const uint64_t type : {1u, 2u}) {
    put(kEptPd + 6 * 8, kPage | 7 | 6 << 3 | 1 << 7);
    ASSERT_EQ(vmx->invept(2, {}), VmxStatus::succeed);
    EXPECT_EQ(read_in_guest(), 0x111u);
    remap_by_ept();
    ASSERT_EQ(vmx->invept(type, {get(F::ept_pointer), 0}), VmxStatus::succeed);
    EXPECT_EQ(read_in_guest(), 0x222u);
  }
  EXPECT_TRUE(stale().empty());
}

TEST_F(StaleTranslations, InveptOfAnotherPointerIsOfNoUse) {
  EXPECT_EQ(read_in_guest(), 0x111u);
  remap_by_ept();
  ASSERT_EQ(vmx->invept(1, {get(F::ept_pointer) + kPageSize, 0}), VmxStatus::succeed);
  processor->flush_tlb();
  EXPECT_EQ(read_in_guest(), 0x111u);
  EXPECT_EQ(stale().size(), 1u);
}

// INVVPID drops the combined mapping; the guest-physical one is still there.
TEST_F(StaleTranslations, InvvpidDoesNotReplaceInvept) {
  EXPECT_EQ(read_in_guest(), 0x111u);
  remap_by_ept();
  ASSERT_EQ(vmx->invvpid(2, {}), VmxStatus::succeed);
  EXPECT_EQ(read_in_guest(), 0x111u);
  ASSERT_FALSE(stale().empty());
  EXPECT_EQ(stale()[0].kind, StaleUse::Kind::guest_physical);
}

TEST_F(StaleTranslations, ForgottenInvvpidIsCaught) {
  EXPECT_EQ(read_in_guest(), 0x111u);
  load_other_cr3();
  EXPECT_EQ(read_in_guest(), 0x111u);
  ASSERT_FALSE(stale().empty());
  EXPECT_FALSE(stale().back().ept_differs);
  EXPECT_EQ(stale().back().now, Hpa(kOther));
}

TEST_F(StaleTranslations, EveryTypeOfInvvpidWillDo) {
  for (uint64_t type = 0; type < 4; ++type) {
    EXPECT_EQ(read_in_guest(), 0x111u);
    load_other_cr3();
    ASSERT_EQ(vmx->invvpid(type, {1, kPage + 0x1234}), VmxStatus::succeed);
    EXPECT_EQ(read_in_guest(), 0x222u) << type;
    set(F::guest_cr3, kGuestPml4);
    ASSERT_EQ(vmx->invvpid(1, {1, 0}), VmxStatus::succeed);
  }
  EXPECT_TRUE(stale().empty());
}

TEST_F(StaleTranslations, OnlyGlobalPagesSurviveRetainingGlobals) {
  set(F::guest_cr4, cr4::PAE | cr4::PGE | cr4::VMXE);
  put(kGuestPml4 + 0x2000 + 8 * 6, kPage | 0x183);
  EXPECT_EQ(read_in_guest(), 0x111u);
  load_other_cr3();
  ASSERT_EQ(vmx->invvpid(3, {1, 0}), VmxStatus::succeed);
  EXPECT_EQ(read_in_guest(), 0x111u);
  EXPECT_EQ(stale().size(), 1u);
  ASSERT_EQ(vmx->invvpid(1, {1, 0}), VmxStatus::succeed);
  EXPECT_EQ(read_in_guest(), 0x222u);
}

TEST_F(StaleTranslations, AnotherVpidHasItsOwn) {
  EXPECT_EQ(read_in_guest(), 0x111u);
  load_other_cr3();
  set(F::vpid, 2);
  EXPECT_EQ(read_in_guest(), 0x222u);
  set(F::vpid, 1);
  set(F::guest_cr3, kGuestPml4);
  EXPECT_EQ(read_in_guest(), 0x111u);
  EXPECT_TRUE(stale().empty());
}

TEST_F(StaleTranslations, WithoutVpidEveryEntryInvalidates) {
  clear_bits(F::secondary_processor_controls, proc2::enable_vpid);
  EXPECT_EQ(read_in_guest(), 0x111u);
  load_other_cr3();
  EXPECT_EQ(read_in_guest(), 0x222u);
  EXPECT_TRUE(stale().empty());
}

TEST_F(StaleTranslations, GuestThatForgetsInvlpgIsCaught) {
  code({0x8b, 0x07, 0x4c, 0x89, 0x06, 0x8b, 0x07, 0x0f, 0x01, 0xc1,  // mov [rsi], r8 between reads
        0x0f, 0x01, 0x3f, 0x8b, 0x07, 0x0f, 0x01, 0xc1});            // invlpg [rdi]
  regs[Gpr::rsi] = kGuestPml4 + 0x2000 + 8 * 6;
  regs[Gpr::r8] = kOther | 0x83;
  ASSERT_EQ(enter(), ExitReason::vmcall);
  EXPECT_EQ(regs[Gpr::rax] & 0xfff, 0x111u);
  processor->flush_tlb();
  set(F::guest_rip, kCode + 5);
  ASSERT_EQ(enter(), ExitReason::vmcall);
  EXPECT_EQ(regs[Gpr::rax] & 0xfff, 0x111u);
  EXPECT_EQ(stale().size(), 1u);
  skip();
  ASSERT_EQ(enter(), ExitReason::vmcall);
  EXPECT_EQ(regs[Gpr::rax] & 0xfff, 0x222u);
  EXPECT_EQ(stale().size(), 1u);
}

// A hypervisor that harvests dirty flags and forgets INVEPT loses the next writes.
TEST_F(StaleTranslations, ClearedDirtyFlagWithoutInveptIsCaught) {
  set(F::ept_pointer, kPml4 | 64 | 3 << 3 | 6);
  code({0x89, 0x07, 0x0f, 0x01, 0xc1, 0xeb, 0xf9});  // again: mov [rdi], eax; vmcall; jmp again
  ASSERT_EQ(enter(), ExitReason::vmcall);
  const Hpa entry(kEptPd + 6 * 8);
  memory->write(entry, memory->read<uint64_t>(entry) & ~0x200ull);
  processor->flush_tlb();
  (void)read_in_guest();
  ASSERT_EQ(stale().size(), 1u);
  EXPECT_TRUE(stale()[0].dirty_missing);
  EXPECT_EQ(memory->read<uint64_t>(entry) & 0x200, 0u);
  ASSERT_EQ(vmx->invept(2, {}), VmxStatus::succeed);
  (void)read_in_guest();
  EXPECT_EQ(memory->read<uint64_t>(entry) & 0x200, 0x200u);
  EXPECT_EQ(stale().size(), 1u);
}

// Rights that have shrunk: the write goes through, and is reported.
TEST_F(StaleTranslations, RightsTakenAwayWithoutInveptAreCaught) {
  code({0x89, 0x07, 0x0f, 0x01, 0xc1, 0xeb, 0xf9});
  ASSERT_EQ(enter(), ExitReason::vmcall);
  put(kEptPd + 6 * 8, kPage | 1 | 6 << 3 | 1 << 7);
  processor->flush_tlb();
  (void)read_in_guest();
  ASSERT_EQ(stale().size(), 1u);
  EXPECT_FALSE(stale()[0].now.has_value());
  EXPECT_TRUE(stale()[0].ept_differs);
  ASSERT_EQ(vmx->invept(2, {}), VmxStatus::succeed);
  skip();
  EXPECT_EQ(enter(), ExitReason::ept_violation);
}

// Without the mode, pieces of a large page go with one INVLPG all the same.
TEST_F(StaleTranslations, InvlpgIsAboutTheWholeLargePage) {
  vmx->keep_translations(false);
  EXPECT_EQ(vmx->kept_translations(), nullptr);
  memory->write<uint32_t>(Hpa(kOther + 0x5000), 0x333);
  code({0x8b, 0x07, 0x4c, 0x89, 0x06,     // mov eax, [rdi]; mov [rsi], r8
        0x0f, 0x01, 0xbf, 0, 0x80, 0, 0,  // invlpg [rdi + 8000H]
        0x8b, 0x07, 0x0f, 0x01, 0xc1});   // mov eax, [rdi]; vmcall
  regs[Gpr::rdi] = kPage + 0x5000;
  regs[Gpr::rsi] = kGuestPml4 + 0x2000 + 8 * 6;
  regs[Gpr::r8] = kOther | 0x83;
  ASSERT_EQ(enter(), ExitReason::vmcall);
  EXPECT_EQ(regs[Gpr::rax], 0x333u);
}

}  // namespace
}  // namespace cupel::vtx::testing
