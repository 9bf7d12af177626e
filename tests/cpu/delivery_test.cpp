#include "tests/cpu/machine.h"

namespace cupel::cpu {
namespace {

using testing::Machine;
using x86::EventType;
using x86::Gpr;
using x86::Seg;

TEST(Delivery, RealModeInterruptUsesTheVectorTable) {
  Machine m;
  m.load(Machine::kCode, {0xcd, 0x21, 0xf4});  // int 0x21; hlt
  m.load(0x9000, {0xb8, 0x34, 0x12, 0xcf});    // mov ax, 0x1234; iret
  m.poke<uint32_t>(0x21 * 4, 0x9000);
  auto s = m.real_mode();
  s.idtr = {0, 0x3ff};
  m.cpu->set_state(s);
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rax] & 0xffff, 0x1234u);
  EXPECT_EQ(m.cpu->rip(), Machine::kCode + 2);
}

TEST(Delivery, ProtectedModeExceptionPushesErrorCode) {
  Machine m;
  m.load(Machine::kCode,
         {0xb8, 0x77, 0, 0, 0, 0x8e, 0xd8});  // mov eax, 0x77; mov ds, ax -> #GP(0x74)
  m.load(0x9000, {0x5b, 0x59, 0xf4});         // pop ebx; pop ecx; hlt
  auto s = m.protected_mode();
  m.gate32(13, 0x9000);
  s.gdtr.limit = 0x6f;
  m.cpu->set_state(s);
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rbx], 0x74u);
  EXPECT_EQ(m.cpu->gpr()[Gpr::rcx], Machine::kCode + 5);
}

TEST(Delivery, LongModeInterruptFromUserSwitchesStackAndReturns) {
  Machine m;
  m.load(Machine::kCode, {0xff, 0xc6, 0xeb, 0xfc});  // inc esi; jmp
  m.load(0x9000, {0xff, 0xc7, 0x48, 0xcf});          // inc edi; iretq
  auto s = m.long_mode();
  m.gate64(0x30, 0x9000);
  m.poke<uint64_t>(Machine::kTss + 4, 0x6000);
  s[Seg::cs] = {0x4b, 0xa0fb, 0xffffffff, 0};
  s[Seg::ss] = {0x43, 0xc0f3, 0xffffffff, 0};
  s.rflags = 0x202;
  m.cpu->set_state(s);
  m.cpu->set_deadline(1_us);
  m.cpu->run();
  m.cpu->inject({0x30, EventType::external_interrupt, false, 0, 0});
  m.cpu->set_deadline(2_us);
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rdi], 1u);
  EXPECT_EQ(m.peek<uint64_t>(0x6000 - 40), Machine::kCode);  // RIP
  EXPECT_EQ(m.peek<uint64_t>(0x6000 - 32), 0x4bu);           // CS
  EXPECT_EQ(m.peek<uint64_t>(0x6000 - 8), 0x43u);            // SS
  EXPECT_EQ(m.cpu->segment(Seg::ss).dpl(), 3u);
  EXPECT_GT(m.cpu->gpr()[Gpr::rsi], 900u);
}

TEST(Delivery, InterruptStackTableIsUsed) {
  Machine m;
  m.load(Machine::kCode, {0x0f, 0x0b});  // ud2
  m.load(0x9000, {0xf4});
  auto s = m.long_mode();
  m.gate64(6, 0x9000, 0x8e, 3);
  m.poke<uint64_t>(Machine::kTss + 36 + 16, 0x5008);
  m.cpu->set_state(s);
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  EXPECT_EQ(m.cpu->gpr()[Gpr::rsp], 0x5000u - 40);
  EXPECT_EQ(m.peek<uint64_t>(0x5000 - 40), Machine::kCode);
  EXPECT_NE(m.peek<uint64_t>(0x5000 - 24) & x86::rflags::RF, 0u);
}

TEST(Delivery, FaultInDeliveryBecomesDoubleFault) {
  Machine m;
  m.load(Machine::kCode, {0x8a, 0x04, 0x25, 0, 0, 0x20, 0x40});  // #PF
  m.load(0x9000, {0xf4});
  auto s = m.long_mode();
  m.gate64(14, 0x9100, 0x0e);  // not present: #NP while delivering #PF
  m.gate64(8, 0x9000);
  m.cpu->set_state(s);
  m.monitor.exit_on = {TrapKind::hlt};
  m.cpu->run();
  ASSERT_EQ(m.monitor.traps.size(), 4u);  // the last is HLT
  EXPECT_EQ(m.monitor.traps[0].vector, x86::kPF);
  EXPECT_EQ(m.monitor.traps[1].vector, x86::kNP);  // may exit before the two become one
  EXPECT_EQ(m.monitor.traps[2].vector, x86::kDF);
  EXPECT_EQ(m.cpu->rip(), 0x9000u);
  EXPECT_EQ(m.peek<uint64_t>(m.cpu->gpr()[Gpr::rsp]), 0u);  // error code of #DF
}

TEST(Delivery, EmptyIdtEndsInTripleFault) {
  Machine m;
  m.load(Machine::kCode, {0x0f, 0x0b});
  auto s = m.long_mode();
  s.idtr.limit = 0;
  m.cpu->set_state(s);
  EXPECT_EQ(m.cpu->run(), Processor::Park::exit);
  EXPECT_EQ(m.monitor.traps.back().kind, TrapKind::triple_fault);
}

TEST(Delivery, NestedFaultShowsTheEventBeingDelivered) {
  Machine m;
  m.load(Machine::kCode, {0x0f, 0x0b});
  auto s = m.long_mode();
  m.gate64(6, 0x9000, 0x0e);  // not present
  m.cpu->set_state(s);
  m.monitor.exit_on = {TrapKind::triple_fault};
  m.cpu->run();
  // #UD -> #NP -> (contributory after benign is serial) -> #NP's gate absent -> #DF -> shutdown
  ASSERT_GE(m.monitor.traps.size(), 2u);
  EXPECT_EQ(m.monitor.traps[1].vector, x86::kNP);
  EXPECT_EQ(m.monitor.traps[1].error_code, 6u * 8 + 2 + 1);
}

TEST(Delivery, NmiBlocksFurtherNmisUntilIret) {
  Machine m;
  m.load(Machine::kCode, {0x90, 0xeb, 0xfd});
  m.load(0x9000, {0x0f, 0xa2, 0x48, 0xcf});  // cpuid; iretq
  auto s = m.long_mode();
  m.gate64(2, 0x9000);
  m.cpu->set_state(s);
  m.monitor.exit_on = {TrapKind::cpuid};
  m.cpu->inject({2, EventType::nmi, false, 0, 0});
  m.cpu->run();
  EXPECT_EQ(m.cpu->interruptibility() & x86::interruptibility::nmi, x86::interruptibility::nmi);
  m.cpu->set_rip(0x9002);
  m.cpu->set_deadline(1_us);
  m.cpu->run();
  EXPECT_EQ(m.cpu->interruptibility() & x86::interruptibility::nmi, 0u);
}

TEST(Delivery, InterruptWindowOpensExactlyAfterTheStiShadow) {
  Machine m;
  m.load(Machine::kCode, {0x90, 0xfb, 0xff, 0xc0, 0xff, 0xc0, 0xf4});  // nop; sti; inc; inc; hlt
  auto s = m.long_mode();
  m.cpu->set_state(s);
  m.cpu->watch_windows(true, false);
  m.cpu->run();
  EXPECT_EQ(m.monitor.boundaries, 1);
  EXPECT_EQ(m.cpu->rip(), Machine::kCode + 4);  // one instruction after STI
}

TEST(Delivery, NmiWindowOpensAtTheIretThatEndsTheHandler) {
  Machine m;
  m.load(Machine::kCode, {0x90, 0xeb, 0xfd});
  m.load(0x9000, {0x90, 0x48, 0xcf});  // nop; iretq
  auto s = m.long_mode();              // IF = 0 throughout
  m.gate64(2, 0x9000);
  m.cpu->set_state(s);
  m.cpu->watch_windows(false, true);
  m.cpu->inject({2, EventType::nmi, false, 0, 0});
  m.cpu->run();
  EXPECT_EQ(m.monitor.boundaries, 1);
  EXPECT_EQ(m.cpu->rip(), Machine::kCode);
}

TEST(Delivery, SyscallAndSysretSwitchPrivilege) {
  Machine m;
  m.load(Machine::kCode, {0x0f, 0x05, 0xf4});      // syscall; (hlt at CPL 3: #GP)
  m.load(0x9000, {0x0f, 0xa2, 0x48, 0x0f, 0x07});  // cpuid; sysretq
  auto s = m.long_mode();
  s.star = 0x0038001800000000ull;
  s.lstar = 0x9000;
  s.fmask = 0x200;
  s[Seg::cs] = {0x4b, 0xa0fb, 0xffffffff, 0};
  s[Seg::ss] = {0x43, 0xc0f3, 0xffffffff, 0};
  s.rflags = 0x202;
  m.cpu->set_state(s);
  m.monitor.exit_on = {TrapKind::cpuid, TrapKind::exception};
  m.cpu->run();
  EXPECT_EQ(m.cpu->rip(), 0x9000u);
  EXPECT_EQ(m.cpu->gpr()[Gpr::rcx], Machine::kCode + 2);
  EXPECT_EQ(m.cpu->gpr()[Gpr::r11], 0x202u);
  EXPECT_EQ(m.cpu->rflags() & 0x200, 0u);
  EXPECT_EQ(m.cpu->segment(Seg::cs).selector, 0x18);
  m.cpu->set_rip(0x9002);
  m.cpu->run();
  EXPECT_EQ(m.monitor.traps.back().vector, x86::kGP);
  EXPECT_EQ(m.cpu->rip(), Machine::kCode + 2);
  EXPECT_EQ(m.cpu->segment(Seg::ss).dpl(), 3u);
}

}  // namespace
}  // namespace cupel::cpu
