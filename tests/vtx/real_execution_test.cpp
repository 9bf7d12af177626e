// Guests that really execute: the VT-x model over the real processor.
#include "tests/vtx/real_rig.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

TEST_F(RealRig, CpuidLoop) {
  code({0x31, 0xdb,    // xor ebx, ebx
        0xff, 0xc1,    // again: inc ecx
        0x0f, 0xa2,    // cpuid
        0xeb, 0xfa});  // jmp again
  for (uint64_t n = 1; n <= 100; ++n) {
    ASSERT_EQ(enter(), ExitReason::cpuid);
    EXPECT_EQ(regs[Gpr::rcx], n);
    EXPECT_EQ(get(F::guest_rip), kCode + 4);
    EXPECT_EQ(get(F::exit_instruction_length), 2u);
    skip();
  }
}

TEST_F(RealRig, PortIoByBitmap) {
  memory->write<uint8_t>(Hpa(kIoA + 0x3f8 / 8), 1);
  code({0xba, 0xf8, 0x03, 0, 0,  // mov edx, 3F8H
        0xb0, 0x41,              // mov al, 'A'
        0xe6, 0x80,              // out 80H, al: no exit
        0xee,                    // out dx, al
        0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::io_instruction);
  const IoAccess io = IoAccess::decode(get(F::exit_qualification));
  EXPECT_EQ(io.port, 0x3f8);
  EXPECT_EQ(io.size, 1);
  EXPECT_FALSE(io.in);
  EXPECT_FALSE(io.immediate);
  EXPECT_EQ(regs[Gpr::rax] & 0xff, 0x41u);
  skip();
  EXPECT_EQ(enter(), ExitReason::cpuid);
}

TEST_F(RealRig, Hlt) {
  code({0xf4, 0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::hlt);
  EXPECT_EQ(get(F::guest_rip), kCode);
  skip();
  EXPECT_EQ(enter(), ExitReason::cpuid);
}

TEST_F(RealRig, EptViolationHasTheAddresses) {
  code({0xb8, 0x34, 0x12, 0xe0, 0x00,  // mov eax, E01234H
        0xc7, 0x00, 1, 0, 0, 0,        // mov dword [rax], 1
        0x0f, 0xa2});
  put(kEptPd + 7 * 8, 0);  // 14-16 MiB
  ASSERT_EQ(enter(), ExitReason::ept_violation);
  EXPECT_EQ(get(F::guest_physical_address), 0xe01234u);
  EXPECT_EQ(get(F::guest_linear_address), 0xe01234u);
  const auto v = EptViolation::decode(get(F::exit_qualification));
  EXPECT_TRUE(v.write);
  EXPECT_FALSE(v.read || v.readable || v.writable || v.executable);
  EXPECT_TRUE(v.translated && v.linear_valid);
  EXPECT_EQ(get(F::guest_rip), kCode + 5);
  put(kEptPd + 7 * 8, 7ull << 21 | 7 | 6 << 3 | 1 << 7);
  EXPECT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(memory->read<uint32_t>(Hpa(0xe01234)), 1u);
}

TEST_F(RealRig, EptDirtyFlagFollowsTheFirstWrite) {
  set(F::ept_pointer, kPml4 | 64 | 3 << 3 | 6);
  code({0xa1, 0,    0, 0x60, 0, 0, 0, 0, 0,  // mov eax, [600000H]
        0x0f, 0xa2,                          // cpuid
        0xa3, 0,    0, 0x60, 0, 0, 0, 0, 0,  // mov [600000H], eax
        0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(kEptPd + 3 * 8)) & 0x300, 0x100u);
  skip();
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(kEptPd + 3 * 8)) & 0x300, 0x300u);
}

TEST_F(RealRig, InjectedInterruptRunsTheHandler) {
  code({0xeb, 0xfe});                        // jmp self
  code({0x0f, 0xa2, 0x48, 0xcf}, 0x101000);  // cpuid; iretq
  gate(0x40, 0x101000);
  set(F::guest_rflags, 0x202);
  set(F::entry_interruption_info, 0x80000040);
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(get(F::guest_rip), 0x101000u);
  EXPECT_EQ(get(F::guest_rflags) & rflags::IF, 0u);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(get(F::guest_rsp))), kCode);  // return address
  EXPECT_EQ(get(F::entry_interruption_info) >> 31, 0u);
}

TEST_F(RealRig, FaultDuringDeliveryHasVectoringInformation) {
  code({0xeb, 0xfe});
  gate(0x40, 0x101000);
  set(F::guest_rsp, 0xe00800);
  put(kEptPd + 7 * 8, 0);  // the stack is not there
  set(F::guest_rflags, 0x202);
  set(F::entry_interruption_info, 0x80000040);
  ASSERT_EQ(enter(), ExitReason::ept_violation);
  EXPECT_EQ(get(F::idt_vectoring_info), 0x80000040u);
  EXPECT_EQ(get(F::guest_rip), kCode);
}

TEST_F(RealRig, PreemptionTimerStopsASpinningGuest) {
  code({0xeb, 0xfe});
  set(F::pin_based_controls, get(F::pin_based_controls) | pin::preemption_timer);
  set(F::preemption_timer_value, 100'000);
  const Nanoseconds start = clock.now();
  ASSERT_EQ(enter(), ExitReason::preemption_timer);
  EXPECT_GE((clock.now() - start).count(), 100'000);
  EXPECT_LT((clock.now() - start).count(), 101'000);
  EXPECT_EQ(get(F::guest_rip), kCode);
}

// SDM vol. 3C, "VMX-Preemption Timer": debug-trap exceptions take priority over it.
TEST_F(RealRig, PendingDebugExceptionComesBeforeThePreemptionTimer) {
  code({0xeb, 0xfe});
  set(F::pin_based_controls, get(F::pin_based_controls) | pin::preemption_timer);
  set(F::preemption_timer_value, 0);
  set(F::exception_bitmap, 1 << kDB);
  set(F::guest_pending_debug_exceptions, pending_debug::bs);
  ASSERT_EQ(enter(), ExitReason::exception_or_nmi);
  EXPECT_EQ(get(F::exit_interruption_info), 0x80000301u);
  EXPECT_EQ(get(F::exit_qualification), pending_debug::bs);
}

// SDM vol. 3C, "Loading Page-Directory-Pointer-Table Entries".
TEST_F(RealRig, PaeGuestWithoutEptGetsItsPdptesFromMemory) {
  constexpr uint64_t kPdpt = 0x230020, kDirectory = 0x231000;
  put(kPdpt, kDirectory | 1);
  for (uint64_t n = 0; n < 8; ++n) put(kDirectory + 8 * n, n << 21 | 0x83);
  code({0x0f, 0xa2});  // cpuid
  set(F::secondary_processor_controls,
      get(F::secondary_processor_controls) &
          ~uint64_t{proc2::enable_ept | proc2::unrestricted_guest});
  set(F::entry_controls, get(F::entry_controls) & ~uint64_t{entryctl::ia32e_mode_guest});
  set(F::guest_efer, 0);
  set(F::guest_cr3, kPdpt);
  set(F::guest_cs_access_rights, 0xc09b);
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(get(F::guest_rip), kCode);
}

TEST_F(RealRig, InterruptWindowOpensAfterSti) {
  code({0x90, 0xfb, 0x90, 0x90, 0xeb, 0xfe});  // nop; sti; nop; nop; jmp self
  set(F::primary_processor_controls, get(F::primary_processor_controls) | proc::interrupt_window);
  ASSERT_EQ(enter(), ExitReason::interrupt_window);
  EXPECT_GE(get(F::guest_rip), kCode + 3);  // not in the shadow of STI
  EXPECT_NE(get(F::guest_rflags) & rflags::IF, 0u);
}

TEST_F(RealRig, MaskedControlRegisterReadsTheShadow) {
  set(F::cr4_read_shadow, 0);
  code({0x0f, 0x20, 0xe0,  // mov rax, cr4
        0x0f, 0x22, 0xe0,  // mov cr4, rax: VMXE stays, as the guest cannot know
        0x0f, 0xa2});
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(regs[Gpr::rax], cr4::PAE);
  EXPECT_EQ(get(F::guest_cr4), cr4::PAE | cr4::VMXE);
}

TEST_F(RealRig, GuestPageFaultExitsByBitmap) {
  set(F::exception_bitmap, 1u << kPF);
  put(kGuestPml4 + 0x2000 + 8 * 100, 0);
  code({0xa1, 0, 0, 0x80, 0x0c, 0, 0, 0, 0});  // mov eax, [C800000H]
  ASSERT_EQ(enter(), ExitReason::exception_or_nmi);
  EXPECT_EQ(get(F::exit_interruption_info), 0x80000b0eu);
  EXPECT_EQ(get(F::exit_qualification), 0xc800000u);
  EXPECT_EQ(get(F::guest_rip), kCode);
}

// As a hypervisor with shadow paging needs it, whose guest's IDT may not be mapped yet.
TEST_F(RealRig, PageFaultExitsWhileAFaultIsDeliveredThatItWouldDouble) {
  set(F::exception_bitmap, 1u << kPF);
  put(kGuestPml4 + 0x2000 + 8 * 100, 0);
  set(F::guest_idtr_base, 0xc800000);
  for (const uint8_t vector : {kPF, kDF}) {
    set(F::entry_interruption_info, 0x80000b00u | vector);
    set(F::entry_exception_error_code, 0);
    ASSERT_EQ(enter(), ExitReason::exception_or_nmi) << int{vector};
    EXPECT_EQ(get(F::exit_interruption_info), 0x80000b0eu);
    EXPECT_EQ(get(F::exit_qualification), 0xc800000u + 16 * vector);
    EXPECT_EQ(get(F::idt_vectoring_info), 0x80000b00u | vector);
  }
}

TEST_F(RealRig, VmcallAndVmxInstructionsExit) {
  code({0x0f, 0x01, 0xc1,    // vmcall
        0x0f, 0x01, 0xc4});  // vmxoff
  ASSERT_EQ(enter(), ExitReason::vmcall);
  EXPECT_EQ(get(F::exit_instruction_length), 3u);
  skip();
  EXPECT_EQ(enter(), ExitReason::vmxoff);
}

TEST_F(RealRig, RealModeGuestWithUnrestrictedGuest) {
  set(F::entry_controls, get(F::entry_controls) & ~uint64_t{entryctl::ia32e_mode_guest});
  set(F::guest_efer, 0);
  set(F::guest_cr0, 0x30);
  set(F::guest_cr4, cr4::VMXE);
  for (unsigned n = 0; n < 6; ++n) {
    const auto at = [n](F first) { return static_cast<F>(static_cast<unsigned>(first) + n); };
    set(at(F::guest_es_selector), 0);
    set(at(F::guest_es_access_rights), 0x93);
    set(at(F::guest_es_limit), 0xffff);
  }
  set(F::guest_cs_access_rights, 0x9b);
  set(F::guest_idtr_base, 0);
  set(F::guest_idtr_limit, 0x3ff);
  set(F::guest_rip, 0x8000);
  set(F::guest_rsp, 0x9000);
  code({0xb8, 0x34, 0x12, 0xcd, 0x20}, 0x8000);  // mov ax, 1234H; int 20H
  code({0xf4}, 0x8100);
  memory->write<uint32_t>(Hpa(0x20 * 4), 0x8100);
  ASSERT_EQ(enter(), ExitReason::hlt);
  EXPECT_EQ(get(F::guest_rip), 0x8100u);
  EXPECT_EQ(regs[Gpr::rax] & 0xffff, 0x1234u);
  EXPECT_EQ(memory->read<uint16_t>(Hpa(0x8ffa)), 0x8005u);
}

TEST_F(RealRig, PaeGuestWithoutEptTakesItsPdptesFromMemoryAtEveryEntry) {
  constexpr uint64_t kPdpt = 0x230000, kOtherPage = 0x400000;
  set(F::secondary_processor_controls,
      get(F::secondary_processor_controls) &
          ~uint64_t{proc2::enable_ept | proc2::unrestricted_guest});
  set(F::entry_controls, get(F::entry_controls) & ~uint64_t{entryctl::ia32e_mode_guest});
  set(F::guest_efer, 0);
  set(F::guest_cr4, cr4::PAE | cr4::VMXE);
  set(F::guest_cr3, kPdpt);
  set(F::guest_cs_access_rights, 0xc09b);
  put(kPdpt, (kPdpt + 0x1000) | 1);
  put(kPdpt + 0x1000, 0x83);               // linear page 0: physical page 0
  put(kPdpt + 0x2000, kOtherPage | 0x83);  // in the other directory another one
  code({0x0f, 0xa2});
  code({0xf4}, kOtherPage + kCode);
  ASSERT_EQ(enter(), ExitReason::cpuid);
  put(kPdpt, (kPdpt + 0x2000) | 1);
  ASSERT_EQ(enter(), ExitReason::hlt);
  EXPECT_EQ(get(F::guest_rip), kCode);
}

TEST_F(RealRig, HltWithoutExitingEndsWithTheTimer) {
  set(F::primary_processor_controls,
      get(F::primary_processor_controls) & ~uint64_t{proc::hlt_exiting});
  set(F::pin_based_controls, get(F::pin_based_controls) | pin::preemption_timer);
  set(F::preemption_timer_value, 50'000);
  code({0xf4});
  ASSERT_EQ(enter(), ExitReason::preemption_timer);
  EXPECT_EQ(get(F::guest_activity_state), 1u);
  EXPECT_EQ(get(F::guest_rip), kCode + 1);
}

TEST_F(RealRig, NoTimerAndHltComesBackToTheHost) {
  set(F::primary_processor_controls,
      get(F::primary_processor_controls) & ~uint64_t{proc::hlt_exiting});
  code({0xf4});
  EXPECT_EQ(enter(), ExitReason::external_interrupt);
}

}  // namespace
}  // namespace cupel::vtx::testing
