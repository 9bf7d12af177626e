// Guest code that uses a virtualized APIC, on the real processor.
#include "hw_models/vtx/virtual_apic.h"
#include "tests/vtx/real_rig.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

// Guest-physical 7FF000H is the APIC-access page; RBX points to it.
class RealApic : public RealRig {
 protected:
  static constexpr uint64_t kApic = 0x7ff000, kAccessPage = 0xa00000, kPage = 0xa01000,
                            kHandler = 0x101000;

  void SetUp() override {
    RealRig::SetUp();
    put(kEptPd + 3 * 8, kEptPt | 7);
    for (uint64_t n = 0; n < 512; ++n) put(kEptPt + 8 * n, 0x600000 | n << 12 | 7 | 6 << 3);
    put(kEptPt + 8 * 511, kAccessPage | 7 | 6 << 3);
    set(F::virtual_apic_address, kPage);
    set(F::apic_access_address, kAccessPage);
    set(F::primary_processor_controls, get(F::primary_processor_controls) | proc::tpr_shadow);
    regs[Gpr::rbx] = kApic;
    for (uint32_t n = 0; n < 4096; n += 4) memory->write(Hpa(kAccessPage + n), 0xdeadbeef);
  }
  void secondary(uint32_t bits) {
    set(F::secondary_processor_controls, get(F::secondary_processor_controls) | bits);
  }
  uint32_t apic(uint32_t offset) { return memory->read<uint32_t>(Hpa(kPage + offset)); }
  void set_apic(uint32_t offset, uint32_t value) { memory->write(Hpa(kPage + offset), value); }
  static constexpr uint32_t kAccesses = proc2::virtualize_apic_accesses,
                            kRegisters = proc2::apic_register_virtualization,
                            kDelivery = proc2::virtual_interrupt_delivery;
};

TEST_F(RealApic, Cr8IsTheShadow) {
  set_apic(apic::tpr, 0x9a);
  code({0x44, 0x0f, 0x20, 0xc0,  // mov rax, cr8
        0xb9, 5, 0, 0, 0,        // mov ecx, 5
        0x44, 0x0f, 0x22, 0xc1,  // mov cr8, rcx
        0x44, 0x0f, 0x20, 0xc2,  // mov rdx, cr8
        0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(regs[Gpr::rax], 9u);
  EXPECT_EQ(regs[Gpr::rdx], 5u);
  EXPECT_EQ(apic(apic::tpr), 0x50u);
  EXPECT_EQ(processor->cr(8), 0u);
}

TEST_F(RealApic, Cr8BelowTheThresholdExitsBehindTheInstruction) {
  set_apic(apic::tpr, 0x90);
  set(F::tpr_threshold, 6);
  code({0xb9, 5, 0, 0, 0, 0x44, 0x0f, 0x22, 0xc1, 0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::tpr_below_threshold);
  EXPECT_EQ(get(F::guest_rip), kCode + 9);
  EXPECT_EQ(get(F::exit_qualification), 0u);
  set(F::tpr_threshold, 5);
  EXPECT_EQ(enter(), ExitReason::cpuid);
}

TEST_F(RealApic, Cr8WithReservedBitsFaults) {
  set(F::exception_bitmap, 1u << kGP);
  code({0xb9, 16, 0, 0, 0, 0x44, 0x0f, 0x22, 0xc1, 0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::exception_or_nmi);
  EXPECT_EQ(get(F::exit_interruption_info) & 0xff, uint64_t{kGP});
  EXPECT_EQ(apic(apic::tpr), 0u);
}

TEST_F(RealApic, WithoutTprShadowEveryAccessExits) {
  set(F::primary_processor_controls,
      get(F::primary_processor_controls) & ~uint64_t{proc::tpr_shadow});
  secondary(kAccesses);
  code({0x8b, 0x83, 0x80, 0, 0, 0,  // mov eax, [rbx+80H]
        0x89, 0x83, 0xb0, 0, 0, 0,  // mov [rbx+B0H], eax
        0xff, 0xe3});               // jmp rbx
  ASSERT_EQ(enter(), ExitReason::apic_access);
  EXPECT_EQ(get(F::exit_qualification), 0x0080u);
  EXPECT_EQ(get(F::guest_rip), kCode);
  set(F::guest_rip, kCode + 6);
  ASSERT_EQ(enter(), ExitReason::apic_access);
  EXPECT_EQ(get(F::exit_qualification), 0x10b0u);
  EXPECT_NE(get(F::guest_rflags) & rflags::RF, 0u);
  set(F::guest_rip, kCode + 12);
  ASSERT_EQ(enter(), ExitReason::apic_access);
  EXPECT_EQ(get(F::exit_qualification), 0x2000u);
  EXPECT_EQ(get(F::guest_rip), kApic);
}

TEST_F(RealApic, TprThroughThePage) {
  secondary(kAccesses);
  set_apic(apic::tpr, 0x30);
  code({0x8b, 0x83, 0x80, 0,    0, 0,        // mov eax, [rbx+80H]
        0xc7, 0x83, 0x80, 0,    0, 0,        // mov dword [rbx+80H], 12345640H
        0x40, 0x56, 0x34, 0x12,              //
        0x8b, 0x8b, 0x80, 0,    0, 0,        // mov ecx, [rbx+80H]
        0x80, 0x83, 0x80, 0,    0, 0, 0x20,  // add byte [rbx+80H], 20H
        0x8b, 0x93, 0x80, 0,    0, 0,        // mov edx, [rbx+80H]
        0x8b, 0xb3, 0x20, 0,    0, 0});      // mov esi, [rbx+20H]: exits
  ASSERT_EQ(enter(), ExitReason::apic_access);
  EXPECT_EQ(get(F::guest_rip), kCode + 35);
  EXPECT_EQ(regs[Gpr::rax], 0x30u);
  EXPECT_EQ(regs[Gpr::rcx], 0x40u);
  EXPECT_EQ(regs[Gpr::rdx], 0x60u);
  EXPECT_EQ(apic(apic::tpr), 0x60u);
  EXPECT_EQ(get(F::guest_rflags) & rflags::TF, 0u);
  EXPECT_EQ(memory->read<uint32_t>(Hpa(kAccessPage + 0x80)), 0xdeadbeefu);
}

TEST_F(RealApic, TprWriteBelowTheThreshold) {
  secondary(kAccesses);
  set_apic(apic::tpr, 0x70);
  set(F::tpr_threshold, 3);
  code({0xc6, 0x83, 0x80, 0, 0, 0, 0x20,  // mov byte [rbx+80H], 20H
        0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::tpr_below_threshold);
  EXPECT_EQ(get(F::guest_rip), kCode + 7);
  EXPECT_EQ(get(F::guest_rflags), 2u);
  EXPECT_EQ(get(F::guest_pending_debug_exceptions), 0u);
}

// The exit takes the place of the single-step exception, which stays pending.
TEST_F(RealApic, SingleStepStaysPendingBehindAnExit) {
  secondary(kAccesses);
  set_apic(apic::tpr, 0x70);
  set(F::tpr_threshold, 3);
  set(F::guest_rflags, 2 | rflags::TF);
  set(F::exception_bitmap, 1u << kDB);
  code({0xc6, 0x83, 0x80, 0, 0, 0, 0x20, 0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::tpr_below_threshold);
  EXPECT_EQ(get(F::guest_pending_debug_exceptions), 1u << 14);
  EXPECT_EQ(get(F::guest_rflags), 2 | rflags::TF);
}

TEST_F(RealApic, SingleStepWithoutExitIsTaken) {
  secondary(kAccesses);
  set(F::guest_rflags, 2 | rflags::TF);
  set(F::exception_bitmap, 1u << kDB);
  code({0xc6, 0x83, 0x80, 0, 0, 0, 0x20, 0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::exception_or_nmi);
  EXPECT_EQ(get(F::exit_qualification), 1u << 14);
  EXPECT_EQ(get(F::guest_rip), kCode + 7);
  EXPECT_EQ(apic(apic::tpr), 0x20u);
}

TEST_F(RealApic, ReadModifyWriteForms) {
  secondary(kAccesses);
  set_apic(apic::tpr, 0x10);
  code({0xb8, 0x20, 0,    0,    0,              // mov eax, 20H
        0x87, 0x83, 0x80, 0,    0,    0,        // xchg [rbx+80H], eax
        0xf0, 0x81, 0x83, 0x80, 0,    0, 0,     // lock add dword [rbx+80H], 10H
        0x10, 0,    0,    0,                    //
        0xf0, 0x0f, 0xc1, 0x83, 0x80, 0, 0, 0,  // lock xadd [rbx+80H], eax
        0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(regs[Gpr::rax], 0x30u);
  EXPECT_EQ(apic(apic::tpr), 0x40u);
}

TEST_F(RealApic, StringMove) {
  secondary(kAccesses | kRegisters);
  set_apic(0x20, 0x05000000);
  set_apic(0x30, 0x00050014);
  regs[Gpr::rsi] = kApic + 0x20;
  regs[Gpr::rdi] = 0x300000;
  regs[Gpr::rcx] = 4;
  code({0xf3, 0xa5});  // rep movsd: offset 24H is no register
  ASSERT_EQ(enter(), ExitReason::apic_access);
  EXPECT_EQ(get(F::exit_qualification), 0x0024u);
  EXPECT_EQ(regs[Gpr::rcx], 3u);
  EXPECT_EQ(memory->read<uint32_t>(Hpa(0x300000)), 0x05000000u);
  EXPECT_EQ(get(F::guest_rip), kCode);
}

TEST_F(RealApic, WideAndUnalignedAccessesExit) {
  secondary(kAccesses | kRegisters);
  code({0x48, 0x8b, 0x83, 0x80, 0, 0, 0});                 // mov rax, [rbx+80H]
  code({0x8b, 0x83, 0x82, 0, 0, 0}, kCode + 16);           // mov eax, [rbx+82H]
  code({0x89, 0x83, 0xfd, 0x0f, 0, 0}, kCode + 32);        // mov [rbx+FFDH], eax
  code({0x8b, 0x83, 0xfd, 0xff, 0xff, 0xff}, kCode + 48);  // mov eax, [rbx-3]: ends on the page
  uint64_t at = kCode;
  for (const uint64_t qualification : {0x0080u, 0x0082u, 0x1ffdu, 0x0000u}) {
    set(F::guest_rip, at);
    ASSERT_EQ(enter(), ExitReason::apic_access);
    EXPECT_EQ(get(F::exit_qualification), qualification);
    at += 16;
  }
}

TEST_F(RealApic, ApicWriteExitBehindTheInstruction) {
  secondary(kAccesses | kRegisters);
  code({0xc7, 0x83, 0xf0, 0, 0, 0, 0xff, 1, 0, 0,  // mov dword [rbx+F0H], 1FFH
        0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::apic_write);
  EXPECT_EQ(get(F::exit_qualification), 0xf0u);
  EXPECT_EQ(get(F::guest_rip), kCode + 10);
  EXPECT_EQ(apic(0xf0), 0x1ffu);
  EXPECT_EQ(enter(), ExitReason::cpuid);
}

// PUSHF by way of the hidden step: the guest's own TF is what it stores.
TEST_F(RealApic, PushfdToThePageHidesTheStep) {
  secondary(kAccesses | kRegisters);
  regs[Gpr::rcx] = kApic + 0xf4;
  // 66 9C in 64-bit mode pushes 16 bits.
  code({0x48, 0x89, 0xcc,     // mov rsp, rcx
        0x48, 0x83, 0xec, 2,  // sub rsp, 2: F2H
        0x66, 0x9c,           // pushfw
        0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::apic_write);
  EXPECT_EQ(get(F::exit_qualification), 0xf0u);
  EXPECT_EQ(apic(0xf0) & 0x100, 0u);
  EXPECT_EQ(apic(0xf0) & 2, 2u);
}

TEST_F(RealApic, SelfIpiRunsTheHandlerAndEoiEndsIt) {
  secondary(kAccesses | kDelivery);
  gate(0x40, kHandler);
  code({0xfb,                                      // sti
        0xc7, 0x83, 0, 3, 0, 0, 0x40, 0, 0x04, 0,  // mov dword [rbx+300H], 40040H
        0x0f, 0xa2});
  code({0x31, 0xc0,                     // xor eax, eax
        0x89, 0x83, 0xb0, 0, 0, 0,      // mov [rbx+B0H], eax
        0xbe, 7, 0, 0, 0, 0x48, 0xcf},  // mov esi, 7; iretq
       kHandler);
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(regs[Gpr::rsi], 7u);
  EXPECT_EQ(get(F::guest_rip), kCode + 11);
  EXPECT_EQ(get(F::guest_interrupt_status), 0u);
  EXPECT_EQ(apic(apic::ppr), 0u);
  EXPECT_EQ(apic(apic::isr + 0x20), 0u);
}

TEST_F(RealApic, InterruptHeldBackByStiShadow) {
  secondary(kDelivery);
  gate(0x40, kHandler);
  set(F::guest_interrupt_status, 0x40);
  set_apic(apic::irr + 0x20, 1);
  code({0xfb, 0x90, 0x90, 0x90});
  code({0x0f, 0xa2}, kHandler);
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(get(F::guest_rip), kHandler);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(get(F::guest_rsp))), kCode + 2);
  EXPECT_EQ(get(F::guest_interrupt_status), 0x4000u);
}

TEST_F(RealApic, HltWaitsForAVirtualInterrupt) {
  secondary(kDelivery);
  set(F::primary_processor_controls,
      get(F::primary_processor_controls) & ~uint64_t{proc::hlt_exiting});
  gate(0x40, kHandler);
  set_apic(apic::tpr, 0x50);
  set(F::guest_interrupt_status, 0x40);
  set_apic(apic::irr + 0x20, 1);
  code({0x31, 0xc9,              // xor ecx, ecx
        0x44, 0x0f, 0x22, 0xc1,  // mov cr8, rcx: recognized, but IF is 0
        0xfb, 0xf4});            // sti; hlt
  code({0x0f, 0xa2}, kHandler);
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(get(F::guest_rsp))), kCode + 8);
}

TEST_F(RealApic, X2apicMsrs) {
  secondary(proc2::virtualize_x2apic | kRegisters | kDelivery);
  set_apic(0x20, 0x11223344);
  gate(0x41, kHandler);
  code({0xb9, 2,    8,    0,    0,   0x0f, 0x32,  // rdmsr 802H
        0x89, 0xc6,                               // mov esi, eax
        0xb9, 0x3f, 8,    0,    0,                // ecx = 83FH
        0xb8, 0x41, 0,    0,    0,   0x31, 0xd2,  // eax = 41H, edx = 0
        0xfb, 0x0f, 0x30, 0x0f, 0xa2});           // sti; wrmsr
  code({0xb9, 0x0b, 8, 0, 0,                      // ecx = 80BH
        0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30,       // wrmsr 0
        0xbf, 9, 0, 0, 0, 0x48, 0xcf},            // mov edi, 9; iretq
       kHandler);
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(regs[Gpr::rsi], 0x11223344u);
  EXPECT_EQ(regs[Gpr::rdi], 9u);
  EXPECT_EQ(get(F::guest_interrupt_status), 0u);
}

TEST_F(RealApic, EoiExitBehindTheInstruction) {
  secondary(proc2::virtualize_x2apic | kDelivery);
  set(F::guest_interrupt_status, 0x4100);
  set_apic(apic::isr + 0x20, 2);
  set(F::eoi_exit_bitmap_1, 2);
  code({0xb9, 0x0b, 8, 0, 0, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30, 0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::virtualized_eoi);
  EXPECT_EQ(get(F::exit_qualification), 0x41u);
  EXPECT_EQ(get(F::guest_rip), kCode + 11);
}

TEST_F(RealApic, EventDeliveryThroughThePageExits) {
  secondary(kAccesses | kRegisters);
  gate(0x40, kHandler);
  set(F::guest_rsp, kApic + 0x100);
  set(F::guest_rflags, 0x202);
  set(F::entry_interruption_info, 0x80000040);
  code({0x90});
  ASSERT_EQ(enter(), ExitReason::apic_access);
  EXPECT_EQ(get(F::exit_qualification) >> 12, 3u);
  EXPECT_EQ(get(F::idt_vectoring_info), 0x80000040u);
}

TEST_F(RealApic, PagingStructureOnThePageExits) {
  secondary(kAccesses | kRegisters);
  put(kGuestPml4 + 0x2000 + 8 * 100, kApic | 3);  // a page table of the guest
  code({0xa1, 0, 0, 0x80, 0x0c, 0, 0, 0, 0});     // mov eax, [C800000H]
  ASSERT_EQ(enter(), ExitReason::apic_access);
  EXPECT_EQ(get(F::exit_qualification), 0xf000u);
}

TEST_F(RealApic, TurningTheControlOffMakesItMemory) {
  secondary(kAccesses);
  code({0x8b, 0x83, 0x80, 0, 0, 0, 0x8b, 0x83, 0x80, 0, 0, 0, 0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(regs[Gpr::rax], 0u);
  set(F::secondary_processor_controls, get(F::secondary_processor_controls) & ~uint64_t{kAccesses});
  set(F::guest_rip, kCode);
  regs[Gpr::rbx] = kApic;  // CPUID is left as it exits
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(regs[Gpr::rax], 0xdeadbeefu);
  secondary(kAccesses);
  set(F::guest_rip, kCode);
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(regs[Gpr::rax], 0u);
}

}  // namespace
}  // namespace cupel::vtx::testing
