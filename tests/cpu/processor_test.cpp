#include "tests/cpu/machine.h"

namespace cupel::cpu {
namespace {

using testing::Machine;
using x86::Gpr;
using x86::Seg;

TEST(Processor, CpuidTrapsWithExactRipAndResumesAfterIt) {
  Machine m;
  m.load(Machine::kCode, {0x0f, 0xa2, 0x90, 0xf4});  // cpuid; nop; hlt
  m.cpu->set_state(m.long_mode());
  m.monitor.exit_on = {TrapKind::cpuid, TrapKind::hlt};
  EXPECT_EQ(m.cpu->run(), Processor::Park::exit);
  EXPECT_EQ(m.cpu->rip(), Machine::kCode);
  ASSERT_EQ(m.monitor.traps.size(), 1u);
  EXPECT_EQ(m.monitor.traps[0].length, 2);
  m.cpu->set_rip(Machine::kCode + 2);
  EXPECT_EQ(m.cpu->run(), Processor::Park::exit);
  EXPECT_EQ(m.cpu->rip(), Machine::kCode + 3);
}

TEST(Processor, CpuidWithoutExitAnswersFromTheProfile) {
  Machine m;
  m.load(Machine::kCode, {0x0f, 0xa2, 0xf4});
  m.cpu->set_state(m.long_mode());
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rbx], 0x756e6547u);
}

TEST(Processor, RealModeArithmeticAndIo) {
  Machine m;
  // mov ax, 7; add ax, 5; mov dx, 0x5aa5; out dx, al; hlt
  m.load(Machine::kCode, {0xb8, 7, 0, 0x83, 0xc0, 5, 0xba, 0xa5, 0x5a, 0xee, 0xf4});
  m.cpu->set_state(m.real_mode());
  m.monitor.exit_on = {TrapKind::io, TrapKind::hlt};
  EXPECT_EQ(m.cpu->run(), Processor::Park::exit);
  ASSERT_EQ(m.monitor.traps.size(), 1u);
  const Trap& t = m.monitor.traps[0];
  EXPECT_EQ(t.io.port, 0x5aa5);
  EXPECT_EQ(t.io.size, 1);
  EXPECT_FALSE(t.io.in);
  EXPECT_EQ(t.length, 1);
  EXPECT_EQ(m.cpu->rip(), Machine::kCode + 9);
  EXPECT_EQ(m.cpu->gpr()[Gpr::rax] & 0xffff, 12u);
}

TEST(Processor, SelfModifyingCodeIsSeenEveryTime) {
  Machine m;
  // Three times: patch the immediate of `mov al, imm8` below and execute it, adding to ebx.
  // xor ebx,ebx; mov ecx,3; L: mov byte [0x9001], cl; call 0x9000; add bl, al; dec ecx; jnz L; hlt
  m.load(Machine::kCode, {0x31, 0xdb, 0xb9, 3,    0, 0, 0,    0x88, 0x0c, 0x25, 0x01, 0x90, 0,
                          0,    0xe8, 0xed, 0x0f, 0, 0, 0x00, 0xc3, 0xff, 0xc9, 0x75, 0xee, 0xf4});
  m.load(0x9000, {0xb0, 0, 0xc3});
  m.cpu->set_state(m.long_mode());
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rbx], 6u);
}

TEST(Processor, CodeWrittenFromOutsideIsSeenAfterInvalidation) {
  Machine m;
  m.load(Machine::kCode, {0xb8, 1, 0, 0, 0, 0xf4, 0xeb, 0xf8});
  m.cpu->set_state(m.long_mode());
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rax], 1u);
  m.poke<uint8_t>(Machine::kCode + 1, 2);
  m.cpu->invalidate_code(Hpa(Machine::kCode), 16);
  m.cpu->set_rip(Machine::kCode);
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rax], 2u);
}

TEST(Processor, DeadlineStopsASpinAtAnExactVirtualTime) {
  Nanoseconds first;
  for (int repeat = 0; repeat < 2; ++repeat) {
    Machine m;
    m.load(Machine::kCode, {0xff, 0xc0, 0xeb, 0xfc});  // inc eax; jmp
    m.cpu->set_state(m.long_mode());
    m.cpu->set_deadline(1_ms);
    EXPECT_EQ(m.cpu->run(), Processor::Park::exit);
    EXPECT_GE(m.clock.now(), 1_ms);
    EXPECT_LT(m.clock.now(), 1_ms + 10_ns);
    EXPECT_EQ(m.cpu->rip(), Machine::kCode);
    EXPECT_EQ(m.cpu->gpr()[Gpr::rax], 1'000'000u);
    m.cpu->set_deadline(2_ms);
    m.cpu->run();
    EXPECT_EQ(m.cpu->gpr()[Gpr::rax], 2'000'000u);
  }
}

TEST(Processor, PauseTakesTimeSoThatSpinningGuestsReachTheirDeadline) {
  Machine m;
  m.load(Machine::kCode, {0xff, 0xc0, 0xf3, 0x90, 0xeb, 0xfa});  // inc eax; pause; jmp
  m.cpu->set_state(m.long_mode());
  m.cpu->set_deadline(1_ms);
  m.cpu->run();
  EXPECT_GE(m.clock.now(), 1_ms);
  EXPECT_NEAR(static_cast<double>(m.cpu->gpr()[Gpr::rax]), 1'000'000 / 45.0, 1000);
}

TEST(Processor, PageFaultReachesTheMonitorWithAddressAndErrorCode) {
  Machine m;
  // mov byte [0x40200000], al : beyond the 1 GiB identity map
  m.load(Machine::kCode, {0x88, 0x04, 0x25, 0, 0, 0x20, 0x40, 0xf4});
  m.cpu->set_state(m.long_mode());
  m.monitor.exit_on = {TrapKind::exception};
  m.cpu->run();
  ASSERT_EQ(m.monitor.traps.size(), 1u);
  EXPECT_EQ(m.monitor.traps[0].vector, x86::kPF);
  EXPECT_EQ(m.monitor.traps[0].address, 0x40200000u);
  EXPECT_EQ(m.monitor.traps[0].error_code, x86::pf::W);
  EXPECT_EQ(m.cpu->rip(), Machine::kCode);
}

TEST(Processor, SecondDimensionFaultNamesTheGuestPhysicalAddress) {
  Machine m;
  m.load(Machine::kCode, {0x8a, 0x04, 0x25, 0x34, 0x02, 0x40, 0, 0xf4});  // mov al, [0x400234]
  m.cpu->set_state(m.long_mode());
  m.monitor.hole_start = 0x400000;
  m.cpu->run();
  ASSERT_EQ(m.monitor.refused.size(), 1u);
  EXPECT_EQ(m.monitor.refused[0].gpa, Gpa(0x400234));
  EXPECT_FALSE(m.monitor.refused[0].paging_structure);
  EXPECT_EQ(m.cpu->rip(), Machine::kCode);
}

TEST(Processor, AccessedAndDirtyFlagsAreSetByUse) {
  Machine m;
  m.load(Machine::kCode, {0x8a, 0x04, 0x25, 0, 0, 0x40, 0, 0x88, 0x04, 0x25, 0, 0, 0x60, 0, 0xf4});
  m.cpu->set_state(m.long_mode());
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.peek<uint64_t>(Machine::kPml4 + 0x2000 + 16) & 0x60, 0x20u);
  EXPECT_EQ(m.peek<uint64_t>(Machine::kPml4 + 0x2000 + 24) & 0x60, 0x60u);
}

TEST(Processor, ControlRegistersRoundTripAndEnterLongMode) {
  Machine m;
  auto s = m.long_mode();
  s.cr0 &= ~x86::cr0::PG;
  s.efer = 0;
  s[Seg::cs] = {8, 0xc09b, 0xffffffff, 0};
  // mov ecx, 0xc0000080; mov eax, 0x100; xor edx, edx; wrmsr; mov eax, cr0; or eax, 1<<31;
  // mov cr0, eax; jmp far 0x18:target; target (64-bit): mov rax, cr3; hlt
  m.load(Machine::kCode, {0xb9, 0x80, 0,    0,    0xc0, 0xb8, 0,    1, 0,    0,    0x31, 0xd2,
                          0x0f, 0x30, 0x0f, 0x20, 0xc0, 0x0d, 0,    0, 0,    0x80, 0x0f, 0x22,
                          0xc0, 0xea, 0x20, 0x80, 0,    0,    0x18, 0, 0x0f, 0x20, 0xd8, 0xf4});
  m.cpu->set_state(s);
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rax], Machine::kPml4);
  EXPECT_EQ(m.cpu->efer(), x86::efer::LME | x86::efer::LMA);
  EXPECT_TRUE(m.cpu->segment(Seg::cs).long_mode());
}

TEST(Processor, MovToCr3KeepsGlobalTranslationsOnly) {
  Machine m;
  // mov eax, [0x400000]; mov ebx, [0x600000]; cpuid; mov rcx, cr3; mov cr3, rcx; again; hlt
  m.load(Machine::kCode,
         {0x8b, 0x04, 0x25, 0,    0,    0x40, 0,    0x8b, 0x1c, 0x25, 0,    0,    0x60,
          0,    0x0f, 0xa2, 0x0f, 0x20, 0xd9, 0x0f, 0x22, 0xd9, 0x8b, 0x04, 0x25, 0,
          0,    0x40, 0,    0x8b, 0x1c, 0x25, 0,    0,    0x60, 0,    0xf4});
  auto s = m.long_mode();
  s.cr4 |= x86::cr4::PGE;
  m.poke<uint32_t>(0x400000, 0x11);
  m.poke<uint32_t>(0x600000, 0x22);
  m.poke<uint32_t>(0x800000, 0x33);
  m.poke<uint64_t>(Machine::kPml4 + 0x2000 + 8 * 2, 0x400000 | 0x187);  // global
  m.cpu->set_state(s);
  m.monitor.exit_on = {TrapKind::cpuid, TrapKind::hlt};
  m.cpu->run();
  // Both entries change behind the TLB's back; only MOV to CR3 follows.
  m.poke<uint64_t>(Machine::kPml4 + 0x2000 + 8 * 2, 0x800000 | 0x187);
  m.poke<uint64_t>(Machine::kPml4 + 0x2000 + 8 * 3, 0x800000 | 0x87);
  m.cpu->set_rip(m.cpu->rip() + 2);
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rax], 0x11u);
  EXPECT_EQ(m.cpu->gpr()[Gpr::rbx], 0x33u);
}

TEST(Processor, ALoadedTaskRegisterIsBusy) {
  Machine m;
  auto s = m.long_mode();
  s[Seg::tr] = {};
  m.load(Machine::kCode, {0x66, 0xb8, 0x28, 0, 0x0f, 0x00, 0xd8, 0xf4});  // mov ax, 28h; ltr; hlt
  m.cpu->set_state(s);
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.cpu->segment(Seg::tr).selector, 0x28);
  EXPECT_EQ(m.cpu->segment(Seg::tr).access, 0x8bu);
  EXPECT_EQ(m.peek<uint8_t>(Machine::kGdt + 0x2d), 0x8b);
}

TEST(Processor, StateRoundTripsIncludingFpu) {
  Machine m;
  auto s = m.long_mode();
  for (unsigned i = 0; i < 16; ++i) s.gpr.r[i] = 0x1111111111111111ull * i;
  s.lstar = 0xffffffff80001000ull;
  s.kernel_gs_base = 0x1234;
  s.fxsave[160] = 0xaa;  // XMM0
  s.fxsave[2] = 0;
  s.fxsave[3] = 0x30;  // TOP = 6
  s.fxsave[4] = 0xc0;  // two registers in use
  for (int i = 0; i < 10; ++i) s.fxsave[32 + i] = static_cast<uint8_t>(i + 1);
  m.cpu->set_state(s);
  const auto back = m.cpu->state();
  EXPECT_EQ(back.gpr.r, s.gpr.r);
  EXPECT_EQ(back.seg, s.seg);
  EXPECT_EQ(back.lstar, s.lstar);
  EXPECT_EQ(back.kernel_gs_base, s.kernel_gs_base);
  EXPECT_EQ(back.fxsave[160], 0xaa);
  EXPECT_EQ(back.fxsave[3] & 0x38, 0x30);
  EXPECT_EQ(back.fxsave[32], 1);
  EXPECT_EQ(back.fxsave[41], 10);
  EXPECT_EQ(back.cr3, s.cr3);
}

TEST(Processor, LtrLeavesABusyTssInTheRegister) {
  Machine m;
  m.load(Machine::kCode, {0x66, 0xb8, 0x28, 0, 0x0f, 0x00, 0xd8, 0xf4});  // mov ax, 0x28; ltr ax
  auto s = m.long_mode();
  s[Seg::tr] = {0, 0x8b, 0x67, 0};
  m.cpu->set_state(s);
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.cpu->segment(Seg::tr).selector, 0x28);
  EXPECT_EQ(m.cpu->segment(Seg::tr).access, 0x8bu);
  EXPECT_EQ(m.cpu->segment(Seg::tr).base, Machine::kTss);
}

TEST(Processor, StringOutputReportsOperandAndPrefix) {
  Machine m;
  m.load(Machine::kCode, {0xf3, 0x6e});  // rep outsb
  auto s = m.long_mode();
  s.gpr[Gpr::rcx] = 5;
  s.gpr[Gpr::rsi] = 0x5000;
  s.gpr[Gpr::rdx] = 0x3f8;
  m.cpu->set_state(s);
  m.monitor.exit_on = {TrapKind::io};
  m.cpu->run();
  const Trap& t = m.monitor.traps.at(0);
  EXPECT_TRUE(t.io.string && t.io.rep && !t.io.in);
  EXPECT_EQ(t.io_linear, 0x5000u);
  EXPECT_EQ(t.length, 2);
}

TEST(Processor, VmxInstructionsAreNamed) {
  Machine m;
  m.load(Machine::kCode, {0x0f, 0x01, 0xc1});                     // vmcall
  m.load(Machine::kCode + 0x10, {0x0f, 0x78, 0x44, 0x91, 0x10});  // vmread [rcx+rdx*4+16], rax
  m.cpu->set_state(m.long_mode());
  m.monitor.exit_on = {TrapKind::vmcall, TrapKind::vmx_instruction};
  m.cpu->run();
  EXPECT_EQ(m.monitor.traps.at(0).kind, TrapKind::vmcall);
  m.cpu->set_rip(Machine::kCode + 0x10);
  m.cpu->run();
  EXPECT_EQ(m.monitor.traps.at(1).vmx, VmxInstruction::vmread);
  EXPECT_EQ(m.monitor.traps.at(1).displacement, 16u);
  EXPECT_EQ(m.monitor.traps.at(1).instruction_info,
            2u | 2u << 7 | 3u << 15 | 2u << 18 | 1u << 23 | 0u << 28);
}

TEST(Processor, ManyProcessorsRunInTurnIndependently) {
  std::vector<std::unique_ptr<Machine>> machines;
  for (int i = 0; i < 4; ++i) {
    auto m = std::make_unique<Machine>();
    m->load(Machine::kCode, {0xff, 0xc0, 0x0f, 0xa2, 0xeb, 0xfa});  // inc eax; cpuid; jmp
    m->load(Machine::kCode, {0xff, 0xc6, 0x0f, 0xa2, 0xeb, 0xfa});  // inc esi; cpuid; jmp
    m->cpu->set_state(m->long_mode());
    m->monitor.exit_on = {TrapKind::cpuid};
    machines.push_back(std::move(m));
  }
  for (int round = 0; round < 100; ++round) {
    for (auto& m : machines) {
      m->cpu->run();
      m->cpu->set_rip(m->cpu->rip() + 2);
    }
  }
  for (auto& m : machines) EXPECT_EQ(m->cpu->gpr()[Gpr::rsi], 100u);
}

}  // namespace
}  // namespace cupel::cpu
