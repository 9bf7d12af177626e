// EPT under guests that really execute.
#include "tests/vtx/real_rig.h"

namespace cupel::vtx::testing {
namespace {

// 12 to 14 MiB in 4-KByte pages.
class RealEpt : public RealRig {
 protected:
  static constexpr uint64_t kPages = 0xc00000, kR = 1, kW = 2, kX = 4, kWb = 6 << 3,
                            kUserX = 1 << 10, kLog = 0x230000;
  void SetUp() override {
    RealRig::SetUp();
    put(kEptPd + 6 * 8, kEptPt | 7 | kUserX);
    for (uint64_t n = 0; n < 512; ++n) page(n, 7);
  }
  void page(uint64_t n, uint64_t rights) {
    put(kEptPt + 8 * n, (kPages + n * kPageSize) | rights | kWb);
  }
  EptViolation violation() { return EptViolation::decode(get(F::exit_qualification)); }
};

TEST_F(RealEpt, ExecuteOnlyPageRunsAndIsNotRead) {
  page(1, kX);
  code({0xb8, 0x00, 0x10, 0xc0, 0x00, 0xff, 0xe0});  // mov eax, C01000H; jmp rax
  code({0x0f, 0xa2,                                  // cpuid
        0xa1, 0x00, 0x10, 0xc0, 0, 0, 0, 0, 0},      // mov eax, [C01000H]
       kPages + 0x1000);
  ASSERT_EQ(enter(), ExitReason::cpuid);
  skip();
  ASSERT_EQ(enter(), ExitReason::ept_violation);
  EXPECT_EQ(get(F::exit_qualification), (1u | 1u << 5 | 1u << 7 | 1u << 8));
  EXPECT_EQ(get(F::guest_physical_address), kPages + 0x1000);
  EXPECT_EQ(get(F::guest_rip), kPages + 0x1002);
  page(1, kR | kX);
  ASSERT_EQ(vmx->invept(2, {}), VmxStatus::succeed);
  code({0x0f, 0xa2}, kPages + 0x100b);
  EXPECT_EQ(enter(), ExitReason::cpuid);
}

TEST_F(RealEpt, ModeBasedExecuteLooksAtThePageNotAtTheCpl) {
  set_bits(F::secondary_processor_controls, proc2::mode_based_execute);
  for (const uint64_t at : {kPml4, uint64_t{0x11000}})
    put(at, memory->read<uint64_t>(Hpa(at)) | kUserX);
  page(1, kR | kUserX);
  code({0xb8, 0x00, 0x10, 0xc0, 0x00, 0xff, 0xe0});  // mov eax, C01000H; jmp rax
  code({0x0f, 0xa2}, kPages + 0x1000);
  ASSERT_EQ(enter(), ExitReason::ept_violation);  // a supervisor page
  EXPECT_EQ(get(F::exit_qualification), (4u | 1u << 3 | 1u << 6 | 1u << 7 | 1u << 8));
  // The page becomes a user page: CPL 0 may fetch from it, SMEP being off.
  put(kGuestPml4, (kGuestPml4 + 0x1000) | 7);
  put(kGuestPml4 + 0x1000, (kGuestPml4 + 0x2000) | 7);
  put(kGuestPml4 + 0x2000 + 8 * 6, kPages | 0x87);
  ASSERT_EQ(vmx->invvpid(2, {}), VmxStatus::succeed);
  EXPECT_EQ(enter(), ExitReason::cpuid);
}

TEST_F(RealEpt, PageModificationLogHasTheOrderOfWrites) {
  set(F::ept_pointer, kPml4 | 64 | 3 << 3 | 6);
  set_bits(F::secondary_processor_controls, proc2::enable_pml);
  set(F::pml_address, kLog);
  set(F::pml_index, 511);
  code({0xa3, 0,   0x50, 0xc0, 0, 0, 0, 0, 0,  // mov [C05000H], eax
        0xa1, 0,   0x60, 0xc0, 0, 0, 0, 0, 0,  // mov eax, [C06000H]
        0xa3, 0,   0x20, 0xc0, 0, 0, 0, 0, 0,  // mov [C02000H], eax
        0xa3, 0,   0x50, 0xc0, 0, 0, 0, 0, 0,  // mov [C05000H], eax
        0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::cpuid);
  std::vector<uint64_t> pages;
  for (uint64_t n = 511; n > get(F::pml_index); --n)
    pages.push_back(memory->read<uint64_t>(Hpa(kLog + 8 * n)));
  std::erase_if(pages, [](uint64_t p) { return p < kPages; });  // guest paging structures
  EXPECT_EQ(pages, (std::vector<uint64_t>{kPages + 0x5000, kPages + 0x2000}));
}

TEST_F(RealEpt, FullPageModificationLogStopsTheWrite) {
  set(F::ept_pointer, kPml4 | 64 | 3 << 3 | 6);
  code({0x0f, 0xa2, 0xa3, 0, 0x50, 0xc0, 0, 0, 0, 0, 0, 0x0f, 0xa2});  // cpuid; mov [C05000H], eax
  ASSERT_EQ(enter(), ExitReason::cpuid);
  skip();
  set_bits(F::secondary_processor_controls, proc2::enable_pml);
  set(F::pml_address, kLog);
  set(F::pml_index, 0xffff);
  memory->write<uint32_t>(Hpa(kPages + 0x5000), 0x5a5a5a5a);
  ASSERT_EQ(enter(), ExitReason::page_modification_log_full);
  EXPECT_EQ(get(F::guest_rip), kCode + 2);
  EXPECT_EQ(memory->read<uint32_t>(Hpa(kPages + 0x5000)), 0x5a5a5a5au);
  set(F::pml_index, 511);
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_NE(memory->read<uint32_t>(Hpa(kPages + 0x5000)), 0x5a5a5a5au);
}

// "Those loads of guest PDPTEs are treated as reads", and no linear address is valid.
// SDM vol. 3C, "Accessed and Dirty Flags for EPT"; "Exit Qualification for EPT Violations".
TEST_F(RealEpt, PdptesAreLoadedThroughEptAsReads) {
  set(F::ept_pointer, kPml4 | 64 | 3 << 3 | 6);
  clear_bits(F::entry_controls, entryctl::ia32e_mode_guest);
  set(F::guest_efer, 0);
  set(F::guest_cs_access_rights, 0xc09b);
  set(F::guest_pdpte0, (kGuestPml4 + 0x2000) | 1);
  code({0xb8, 0, 0x30, 0xc0, 0, 0x0f, 0x22, 0xd8, 0x0f, 0xa2});  // mov eax, C03000H; mov cr3, eax
  put(kPages + 0x3000, (kGuestPml4 + 0x2000) | 1);
  page(3, 0);
  ASSERT_EQ(enter(), ExitReason::ept_violation);
  EXPECT_EQ(get(F::exit_qualification), 1u);
  EXPECT_EQ(get(F::guest_physical_address), kPages + 0x3000);
  EXPECT_EQ(get(F::guest_cr3), kGuestPml4);
  page(3, kR);
  ASSERT_EQ(vmx->invept(2, {}), VmxStatus::succeed);
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(get(F::guest_cr3), kPages + 0x3000);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(kEptPt + 3 * 8)) & 0x300, 0x100u);
}

// SDM vol. 3C, "Information About NMI Unblocking Due to IRET".
TEST_F(RealEpt, IretThatFaultsHasUnblockedNmis) {
  set_bits(F::pin_based_controls, pin::virtual_nmis);
  set(F::guest_interruptibility_state, interruptibility::nmi);
  set(F::guest_rsp, kPages + 0x4800);
  page(4, 0);
  code({0x48, 0xcf});  // iretq
  ASSERT_EQ(enter(), ExitReason::ept_violation);
  EXPECT_TRUE(violation().nmi_unblocking_by_iret);
  EXPECT_EQ(get(F::guest_interruptibility_state), 0u);
  code({0x0f, 0xb6, 0x04, 0x24});  // movzx eax, byte [rsp]
  set(F::guest_interruptibility_state, interruptibility::nmi);
  ASSERT_EQ(enter(), ExitReason::ept_violation);
  EXPECT_FALSE(violation().nmi_unblocking_by_iret);
}

}  // namespace
}  // namespace cupel::vtx::testing
