#include "tests/kvm/real_guest.h"

namespace cupel::kvm {
namespace {

using x86::Gpr;
using x86::Seg;

// 64-bit mode at kCode, the first 2 MiB identity-mapped, the page tables at 0x10000.
class LongMode : public RealGuest {
 protected:
  void load64(const std::vector<uint8_t>& code) {
    put(kCode, code);
    const uint64_t tables[3][2] = {{0x10000, 0x11000 | 3}, {0x11000, 0x12000 | 3}, {0x12000, 0x83}};
    for (const auto& [at, entry] : tables) ASSERT_TRUE(memory->write(Gpa(at), entry));
    // The 2 MiB beyond RAM: at virtual 0x200000, physical 0xfe000000, uncached.
    const uint64_t device = 0xfe000000 | 0x83 | 0x18;
    ASSERT_TRUE(memory->write(Gpa(0x12008), device));
    auto s = x86::CpuState::after_reset();
    s[Seg::cs] = {0x08, 0xa09b, 0xffffffff, 0};
    for (const Seg seg : {Seg::ds, Seg::es, Seg::ss, Seg::fs, Seg::gs}) {
      s[seg] = {0x10, 0xc093, 0xffffffff, 0};
    }
    s.cr0 = x86::cr0::PE | x86::cr0::PG | x86::cr0::NE | x86::cr0::ET;
    s.cr3 = 0x10000;
    s.cr4 = x86::cr4::PAE | x86::cr4::OSFXSR;
    s.efer = x86::efer::LME | x86::efer::LMA;
    s.rip = kCode;
    s.gpr[Gpr::rsp] = kStack;
    const auto result = vcpu->set_state(s);
    ASSERT_TRUE(result.ok()) << describe(result.error());
  }
};

TEST_F(LongMode, ExecutesSixtyFourBitCode) {
  // mov r8, 0x1122334455667788; bswap r8; out 0xf4, al
  load64(
      {0x49, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x49, 0x0f, 0xc8, 0xe6, 0xf4});
  run_to_stop();
  EXPECT_EQ(state().gpr[Gpr::r8], 0x8877665544332211ull);
}

TEST_F(LongMode, EightByteMmioIsOneAccess) {
  // mov rax,[0x200010]; mov [0x200018],rax; out 0xf4,al
  load64({0x48, 0x8b, 0x04, 0x25, 0x10, 0x00, 0x20, 0x00, 0x48, 0x89, 0x04, 0x25, 0x18, 0x00, 0x20,
          0x00, 0xe6, 0xf4});
  run_to_stop();
  EXPECT_EQ(platform.reads, (std::vector<MmioAccess>{{0xfe000010, 8, 0x1122334411223344ull}}));
  EXPECT_EQ(platform.writes, (std::vector<MmioAccess>{{0xfe000018, 8, 0x1122334411223344ull}}));
}

TEST_F(LongMode, TripleFaultStopsAndSaysWhere) {
  load64({0x90, 0x0f, 0x0b});  // nop; ud2
  auto s = state();
  s.idtr = {0, 0};  // no vector can be delivered
  ASSERT_TRUE(vcpu->set_state(s).ok());
  const auto stop = run();
  EXPECT_EQ(stop.reason, vm::StopReason::triple_fault);
  EXPECT_EQ(stop.error.kind, ErrorKind::guest);
  const bool located = stop.error.message.find("0008:0x1001") != std::string::npos;
  const bool reset = stop.error.message.find("registers were reset") != std::string::npos;  // AMD
  EXPECT_TRUE(located || reset) << stop.error.message;
  EXPECT_EQ(exits(x86::ExitReason::triple_fault), 1u);
}

TEST_F(LongMode, StateShowsLongMode) {
  load64({0xe6, 0xf4});
  run_to_stop();
  const auto s = state();
  EXPECT_EQ(s.efer & x86::efer::LMA, x86::efer::LMA);
  EXPECT_TRUE(s[Seg::cs].long_mode());
  EXPECT_EQ(s.cr3, 0x10000u);
}

TEST_F(LongMode, SseStateSurvivesSaveAndRestore) {
  // movq xmm3, rax; out 0x80,al; movq rbx, xmm3; out 0xf4,al
  load64({0x66, 0x48, 0x0f, 0x6e, 0xd8, 0xe6, 0x80, 0x66, 0x48, 0x0f, 0x7e, 0xdb, 0xe6, 0xf4});
  auto s = state();
  s.gpr[Gpr::rax] = 0x0123456789abcdefull;
  ASSERT_TRUE(vcpu->set_state(s).ok());
  platform.stop_on_port = 0x80;
  const auto stop = run();
  if (stop.reason == vm::StopReason::error)
    GTEST_SKIP() << "this KVM has no SSE: " << stop.error.message;
  ASSERT_EQ(stop.reason, vm::StopReason::stop_request);
  platform.stop_on_port.reset();
  platform.stopped = false;
  ArchiveWriter out;
  vcpu->save(out);
  ASSERT_TRUE(vcpu->set_state(real_mode_state()).ok());
  ArchiveReader in(out.bytes());
  ASSERT_TRUE(vcpu->restore(in).ok());
  run_to_stop();
  EXPECT_EQ(state().gpr[Gpr::rbx], 0x0123456789abcdefull);
}

}  // namespace
}  // namespace cupel::kvm
