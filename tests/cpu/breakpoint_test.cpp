#include "tests/cpu/machine.h"

namespace cupel::cpu {
namespace {

using testing::Machine;
using x86::Gpr;

// DR7 for breakpoint 0, globally enabled: kind 0 execute, 1 write, 3 read/write; length code.
uint64_t dr7(unsigned kind, unsigned length) { return 0x400 | 2 | kind << 16 | length << 18; }

struct Watched {
  Machine m;
  explicit Watched(uint64_t address, uint64_t control) {
    auto s = m.long_mode();
    s.dr[0] = address;
    s.dr[7] = control;
    m.cpu->set_state(s);
    m.monitor.exit_on = {TrapKind::exception, TrapKind::hlt};
  }
  const Trap& last() { return m.monitor.traps.back(); }
};

TEST(Breakpoint, DataWriteTrapsBehindTheInstruction) {
  Watched w(0x400010, dr7(1, 3));
  // mov [0x400000], eax; mov eax, [0x400010]; mov [0x400012], al; hlt
  w.m.load(Machine::kCode, {0x89, 0x04, 0x25, 0,    0,    0x40, 0,    0x8b, 0x04, 0x25, 0x10,
                            0,    0x40, 0,    0x88, 0x04, 0x25, 0x12, 0,    0x40, 0,    0xf4});
  w.m.cpu->run();
  EXPECT_EQ(w.last().vector, x86::kDB);
  EXPECT_EQ(w.last().debug_status & 0xf, 1u);
  EXPECT_EQ(w.last().debug_status >> 14 & 1, 0u);
  EXPECT_EQ(w.m.cpu->rip(), Machine::kCode + 21);  // the write has been done
  EXPECT_EQ(w.m.cpu->rflags() & x86::rflags::TF, 0u);
  w.m.cpu->run();
  EXPECT_EQ(w.last().kind, TrapKind::hlt);
}

TEST(Breakpoint, ReadWriteWatchesReadsToo) {
  Watched w(0x400010, dr7(3, 0));
  w.m.load(Machine::kCode,
           {0x8a, 0x04, 0x25, 0x11, 0, 0x40, 0, 0x8a, 0x04, 0x25, 0x10, 0, 0x40, 0, 0xf4});
  w.m.cpu->run();
  EXPECT_EQ(w.last().vector, x86::kDB);
  EXPECT_EQ(w.m.cpu->rip(), Machine::kCode + 14);
}

TEST(Breakpoint, InstructionFaultsBeforeItAndResumeFlagPassesIt) {
  Watched w(Machine::kCode + 4, dr7(0, 0));
  w.m.load(Machine::kCode, {0xff, 0xc6, 0xff, 0xc6, 0xff, 0xc7, 0xf4});  // inc esi x2; inc edi; hlt
  w.m.cpu->run();
  EXPECT_EQ(w.last().vector, x86::kDB);
  EXPECT_EQ(w.last().debug_status & 0xf, 1u);
  EXPECT_EQ(w.m.cpu->rip(), Machine::kCode + 4);
  EXPECT_EQ(w.m.cpu->gpr()[Gpr::rsi], 2u);
  w.m.cpu->set_rflags(w.m.cpu->rflags() | x86::rflags::RF);
  w.m.cpu->run();
  EXPECT_EQ(w.last().kind, TrapKind::hlt);
  EXPECT_EQ(w.m.cpu->gpr()[Gpr::rdi], 1u);
}

TEST(Breakpoint, SteppingIsHiddenFromPushedFlags) {
  Watched w(Machine::kCode + 3, dr7(0, 0));
  w.m.load(Machine::kCode, {0x9c, 0x5b, 0x90, 0xf4});  // pushfq; pop rbx; nop; hlt (watched)
  w.m.cpu->run();
  EXPECT_EQ(w.last().vector, x86::kDB);
  EXPECT_EQ(w.m.cpu->gpr()[Gpr::rbx] & x86::rflags::TF, 0u);
}

TEST(Breakpoint, DisabledOnesCostAndDoNothing) {
  Watched w(0x400010, 0x400);
  w.m.load(Machine::kCode, {0x88, 0x04, 0x25, 0x10, 0, 0x40, 0, 0xf4});
  w.m.cpu->run();
  EXPECT_EQ(w.last().kind, TrapKind::hlt);
}

}  // namespace
}  // namespace cupel::cpu
