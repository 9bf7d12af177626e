// VMFUNC and virtualization exceptions of guests that really execute.
// SDM vol. 3C, "VM Functions", "Virtualization Exceptions".
#include "tests/vtx/real_rig.h"

namespace cupel::vtx::testing {
namespace {

// A second set of EPT tables differs from the first in one 2-MByte page: 12 MiB leads to 10 MiB.
class VmFunctions : public RealRig {
 protected:
  static constexpr uint64_t kPage = 0xc00000, kOther = 0xa00000, kList = 0x240000,
                            kInformation = 0x241000, kSecondPml4 = 0x242000,
                            kEptp = kPml4 | 3 << 3 | 6, kSecondEptp = kSecondPml4 | 3 << 3 | 6;
  void SetUp() override {
    RealRig::SetUp();
    put(kSecondPml4, (kSecondPml4 + 0x1000) | 7);
    put(kSecondPml4 + 0x1000, (kSecondPml4 + 0x2000) | 7);
    for (uint64_t n = 0; n < 8; ++n)
      put(kSecondPml4 + 0x2000 + 8 * n, (n == 6 ? kOther : n << 21) | 7 | 6 << 3 | 1 << 7);
    put(kList, kEptp);
    put(kList + 8, kSecondEptp);
    put(kList + 16, kSecondEptp | 7);
    memory->write<uint32_t>(Hpa(kPage), 0x111);
    memory->write<uint32_t>(Hpa(kOther), 0x222);
    set_bits(F::secondary_processor_controls, proc2::enable_vmfunc);
    set(F::vm_function_controls, vmfunc::eptp_switching);
    set(F::eptp_list_address, kList);
    gate(kUD, 0x101000);
    gate(kVE, 0x102000);
    code({0xf4}, 0x101000);
  }
  // Reads at 12 MiB, executes VMFUNC(0, ECX), reads again.
  void switching_code() {
    code({0x8b, 0x1f,        // mov ebx, [rdi]
          0x0f, 0x01, 0xd4,  // vmfunc
          0x8b, 0x17,        // mov edx, [rdi]
          0x0f, 0x01, 0xc1}  // vmcall
    );
    regs[Gpr::rdi] = kPage;
    regs[Gpr::rax] = 0;
  }
};

TEST_F(VmFunctions, SwitchesTheEptPointer) {
  switching_code();
  regs[Gpr::rcx] = 1;
  ASSERT_EQ(enter(), ExitReason::vmcall);
  EXPECT_EQ(regs[Gpr::rbx], 0x111u);
  EXPECT_EQ(regs[Gpr::rdx], 0x222u);
  EXPECT_EQ(get(F::ept_pointer), kSecondEptp);
  EXPECT_EQ(get(F::eptp_index), 1u);
  regs[Gpr::rcx] = 0;
  set(F::guest_rip, kCode);
  ASSERT_EQ(enter(), ExitReason::vmcall);  // entered with the second one
  EXPECT_EQ(regs[Gpr::rbx], 0x222u);
  EXPECT_EQ(regs[Gpr::rdx], 0x111u);
  EXPECT_EQ(get(F::ept_pointer), kEptp);
}

TEST_F(VmFunctions, InvlpgUnderOnePointerIsForAll) {
  const uint64_t pde = kGuestPml4 + 0x2000 + 6 * 8;
  code({0x8b, 0x1f,          // mov ebx, [rdi]
        0x0f, 0x01, 0xd4,    // vmfunc
        0x8b, 0x1f,          // mov ebx, [rdi]
        0x4c, 0x89, 0x06,    // mov [rsi], r8: the page goes to 8 MiB
        0x0f, 0x01, 0x3f,    // invlpg [rdi]
        0x31, 0xc9,          // xor ecx, ecx
        0x0f, 0x01, 0xd4,    // vmfunc
        0x8b, 0x17,          // mov edx, [rdi]
        0x0f, 0x01, 0xc1});  // vmcall
  memory->write<uint32_t>(Hpa(0x800000), 0x333);
  regs[Gpr::rdi] = kPage;
  regs[Gpr::rsi] = pde;
  regs[Gpr::r8] = 0x800000 | 0x83;
  regs[Gpr::rcx] = 1;
  regs[Gpr::rax] = 0;
  ASSERT_EQ(enter(), ExitReason::vmcall);
  EXPECT_EQ(regs[Gpr::rbx], 0x222u);
  EXPECT_EQ(regs[Gpr::rdx], 0x333u);
}

TEST_F(VmFunctions, WhatIsNotEnabledExitsOrIsUndefined) {
  switching_code();
  regs[Gpr::rcx] = 1;
  regs[Gpr::rax] = 1;  // function 1
  ASSERT_EQ(enter(), ExitReason::vmfunc);
  EXPECT_EQ(get(F::exit_instruction_length), 3u);
  EXPECT_EQ(get(F::guest_rip), kCode + 2);
  for (const uint64_t index : {2u, 512u, 3u}) {  // not valid, beyond the list, 0
    regs[Gpr::rax] = 0;
    regs[Gpr::rcx] = index;
    ASSERT_EQ(enter(), ExitReason::vmfunc) << index;
    EXPECT_EQ(get(F::ept_pointer), kEptp);
  }
  regs[Gpr::rax] = 64;
  ASSERT_EQ(enter(), ExitReason::hlt);
  EXPECT_EQ(get(F::guest_rip), 0x101000u);
  clear_bits(F::secondary_processor_controls, proc2::enable_vmfunc);
  set(F::guest_rip, kCode + 2);
  regs[Gpr::rax] = 0;
  ASSERT_EQ(enter(), ExitReason::hlt);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(get(F::guest_rsp))), kCode + 2);
}

class VirtualizationExceptions : public VmFunctions {
 protected:
  void SetUp() override {
    VmFunctions::SetUp();
    set_bits(F::secondary_processor_controls, proc2::ept_violation_ve);
    set(F::ve_information_address, kInformation);
    set(F::eptp_index, 0x77);
    put(kEptPd + 6 * 8, kPage | 1 | 6 << 3 | 1 << 7);  // read-only
    code({0xc7, 0x07, 1, 0, 0, 0, 0x0f, 0xa2});        // mov dword [rdi], 1; cpuid
    code({0x0f, 0x01, 0xc1, 0x48, 0xcf}, 0x102000);    // vmcall; iretq
    regs[Gpr::rdi] = kPage + 0x123;
  }
  uint64_t information(unsigned offset) {
    return memory->read<uint64_t>(Hpa(kInformation + offset));
  }
  static constexpr uint64_t kQualification = 2 | 1 << 3 | 1 << 7 | 1 << 8;
};

TEST_F(VirtualizationExceptions, ComeInPlaceOfTheExit) {
  ASSERT_EQ(enter(), ExitReason::vmcall);
  EXPECT_EQ(get(F::guest_rip), 0x102000u);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(get(F::guest_rsp))), kCode);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(get(F::guest_rsp) + 16)) & rflags::RF, rflags::RF);
  EXPECT_EQ(information(0), 0xffffffff00000030u);
  EXPECT_EQ(information(8), kQualification);
  EXPECT_EQ(information(16), kPage + 0x123);
  EXPECT_EQ(information(24), kPage + 0x123);
  EXPECT_EQ(information(32) & 0xffff, 0x77u);
  // The area is busy: the next one exits.
  skip();
  ASSERT_EQ(enter(), ExitReason::ept_violation);
  EXPECT_EQ(get(F::guest_rip), kCode);
  EXPECT_EQ(get(F::exit_qualification), kQualification);
  memory->write<uint32_t>(Hpa(kInformation + 4), 0);
  ASSERT_EQ(enter(), ExitReason::vmcall);
}

TEST_F(VirtualizationExceptions, SuppressedByBit63) {
  put(kEptPd + 6 * 8, kPage | 1 | 6 << 3 | 1 << 7 | 1ull << 63);
  EXPECT_EQ(enter(), ExitReason::ept_violation);
  EXPECT_EQ(information(0), 0u);
}

TEST_F(VirtualizationExceptions, AreSubjectToTheExceptionBitmap) {
  set(F::exception_bitmap, 1u << kVE);
  ASSERT_EQ(enter(), ExitReason::exception_or_nmi);
  EXPECT_EQ(get(F::exit_interruption_info), 0x80000314u);
  EXPECT_EQ(get(F::guest_rip), kCode);
  EXPECT_EQ(information(0), 0xffffffff00000030u);
}

TEST_F(VirtualizationExceptions, NotWhileAnEventIsDelivered) {
  set(F::guest_rsp, kPage + 0x1000);  // the stack is read-only
  set(F::guest_rflags, 0x202);
  set(F::entry_interruption_info, 0x80000040);
  gate(0x40, 0x101000);
  ASSERT_EQ(enter(), ExitReason::ept_violation);
  EXPECT_EQ(get(F::idt_vectoring_info), 0x80000040u);
}

TEST_F(VirtualizationExceptions, AnInstructionThatTheMonitorCompletesConverts) {
  set_bits(F::secondary_processor_controls, proc2::vmcs_shadowing);
  const uint64_t shadow = 0x250000, bitmap = 0x251000;
  memory->write<uint32_t>(Hpa(shadow), vmx->capabilities().revision | 1u << 31);
  set(F::vmcs_link_pointer, shadow);
  set(F::vmread_bitmap, bitmap);
  set(F::vmwrite_bitmap, bitmap);
  code({0x0f, 0x78, 0x07});  // vmread [rdi], rax
  regs[Gpr::rax] = 0x681e;
  ASSERT_EQ(enter(), ExitReason::vmcall);
  EXPECT_EQ(get(F::guest_rip), 0x102000u);
  EXPECT_EQ(information(24), kPage + 0x123);
}

}  // namespace
}  // namespace cupel::vtx::testing
