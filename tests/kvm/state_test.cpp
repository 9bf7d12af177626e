// State in and out, between runs and in the middle of accesses.
#include <cstring>

#include "tests/kvm/real_guest.h"

namespace cupel::kvm {
namespace {

using x86::Gpr;
using x86::Seg;

TEST_F(RealGuest, StateRoundTrip) {
  auto s = real_mode_state();
  for (unsigned i = 0; i < 16; ++i) s.gpr.r[i] = 0x0123456789abcd00ull + i;
  s.rflags = x86::rflags::fixed1 | x86::rflags::CF | x86::rflags::IF;
  s[Seg::fs] = {0x1234, 0x93, 0xffff, 0x12340};
  s.gdtr = {0x5000, 0x27};
  s.idtr = {0x6000, 0x3ff};
  s.cr2 = 0xdeadbeef;
  s.cr8 = 5;
  s.star = 0x0023001000000000;
  s.lstar = 0xffffffff81000000;
  s.fmask = 0x47700;
  s.kernel_gs_base = 0xffff888000000000;
  s.sysenter_cs = 0x10;
  s.sysenter_eip = 0x81001000;  // AMD processors keep 32 bits
  s.pat = 0x0007040600070406;
  s.dr[0] = 0x1000;
  s.dr[7] = 0x401;
  s.blocking_nmi = true;
  s.fxsave[32] = 0x5a;   // ST0
  s.fxsave[160] = 0xa5;  // XMM0
  s.fxsave[4] = 0x80;    // tag of register 7: in use
  ASSERT_TRUE(vcpu->set_state(s).ok());
  const auto r = state();
  EXPECT_EQ(r.gpr.r, s.gpr.r);
  EXPECT_EQ(r.rip, s.rip);
  EXPECT_EQ(r.rflags, s.rflags);
  for (unsigned i = 0; i < x86::kSegmentCount; ++i) {
    EXPECT_EQ(r.seg[i].selector, s.seg[i].selector) << i;
    EXPECT_EQ(r.seg[i].base, s.seg[i].base) << i;
    EXPECT_EQ(r.seg[i].limit, s.seg[i].limit) << i;
  }
  EXPECT_EQ(r.gdtr, s.gdtr);
  EXPECT_EQ(r.idtr, s.idtr);
  EXPECT_EQ(r.cr2, s.cr2);
  EXPECT_EQ(r.cr8, s.cr8);
  EXPECT_EQ(r.star, s.star);
  EXPECT_EQ(r.lstar, s.lstar);
  EXPECT_EQ(r.fmask, s.fmask);
  EXPECT_EQ(r.kernel_gs_base, s.kernel_gs_base);
  EXPECT_EQ(r.sysenter_cs, s.sysenter_cs);
  EXPECT_EQ(r.sysenter_eip, s.sysenter_eip);
  EXPECT_EQ(r.pat, s.pat);
  EXPECT_EQ(r.dr, s.dr);
  EXPECT_TRUE(r.blocking_nmi);
  EXPECT_EQ(r.fxsave[32], 0x5a);
  EXPECT_EQ(r.fxsave[160], 0xa5);
}

TEST_F(RealGuest, HaltedStateRoundTrip) {
  auto s = real_mode_state();
  s.activity = x86::Activity::hlt;
  ASSERT_TRUE(vcpu->set_state(s).ok());
  EXPECT_EQ(state().activity, x86::Activity::hlt);
}

TEST_F(RealGuest, StateAfterAPortReadHasItCompleted) {
  load({0xe4, 0x71, 0x90, 0x90, 0xe6, 0xf4});  // in al,0x71: the guest is stopped in the middle
  platform.stop_on_in = true;
  ASSERT_EQ(run().reason, vm::StopReason::stop_request);
  const auto s = state();
  EXPECT_EQ(s.rip, kCode + 2);
  EXPECT_EQ(s.gpr[Gpr::rax] & 0xff, 0x44u);
}

TEST_F(RealGuest, RegistersSetAfterAnAccessSurviveTheNextEntry) {
  load({0xe4, 0x71, 0xe6, 0x80, 0xe6, 0xf4});  // in al,0x71; out 0x80,al; out 0xf4,al
  platform.stop_on_in = true;
  ASSERT_EQ(run().reason, vm::StopReason::stop_request);
  platform.stop_on_in = false;
  platform.stopped = false;
  auto s = state();
  s.gpr[Gpr::rax] = 0x77;
  ASSERT_TRUE(vcpu->set_state(s).ok());
  run_to_stop();
  ASSERT_EQ(platform.outs.size(), 2u);
  EXPECT_EQ(platform.outs[0], (PortAccess{0x80, 1, 0x77}));
}

TEST_F(RealGuest, SaveAndRestoreContinueAtTheSameInstruction) {
  // inc bx; out 0x80,al; inc bx; out 0xf4,al
  load({0x43, 0xe6, 0x80, 0x43, 0xe6, 0xf4});
  platform.stop_on_port = 0x80;
  ASSERT_EQ(run().reason, vm::StopReason::stop_request);
  platform.stop_on_port.reset();
  platform.stopped = false;
  ArchiveWriter out;
  vcpu->save(out);

  run_to_stop();
  EXPECT_EQ(state().gpr[Gpr::rbx] & 0xffff, 2u);
  platform.stopped = false;
  platform.outs.clear();

  ArchiveReader in(out.bytes());
  const auto restored = vcpu->restore(in);
  ASSERT_TRUE(restored.ok()) << describe(restored.error());
  EXPECT_EQ(state().rip, kCode + 3);
  EXPECT_EQ(state().gpr[Gpr::rbx] & 0xffff, 1u);
  run_to_stop();
  EXPECT_EQ(platform.outs, (std::vector<PortAccess>{{0xf4, 1, 0}}));
  EXPECT_EQ(state().gpr[Gpr::rbx] & 0xffff, 2u);
}

TEST_F(RealGuest, RestoreRefusesAForeignArchive) {
  ArchiveWriter out;
  out.section("model-vcpu", 1);
  ArchiveReader in(out.bytes());
  const auto restored = vcpu->restore(in);
  ASSERT_FALSE(restored.ok());
  EXPECT_EQ(restored.error().kind, ErrorKind::bad_input);
}

TEST_F(RealGuest, RestoreRefusesATruncatedArchive) {
  ArchiveWriter out;
  vcpu->save(out);
  for (const size_t size : {size_t{0}, size_t{20}, size_t{200}, out.bytes().size() - 1}) {
    ArchiveReader in(std::span(out.bytes()).first(size));
    EXPECT_FALSE(vcpu->restore(in).ok()) << size;
  }
}

TEST_F(RealGuest, DirtyLogNamesThePagesTheGuestWrote) {
  ASSERT_TRUE(vcpu->machine().log_dirty_pages(true).ok());
  load({0xc6, 0x06, 0x00, 0x50, 0x01, 0xe6, 0xf4});  // mov byte [0x5000],1; out 0xf4
  memory->take_dirty();
  run_to_stop();
  ASSERT_TRUE(vcpu->machine().collect_dirty().ok());
  EXPECT_TRUE(memory->is_dirty(Gpa(0x5000)));
  EXPECT_FALSE(memory->is_dirty(Gpa(0x9000)));
}

TEST_F(RealGuest, TscContinuesFromTheOffset) {
  auto s = real_mode_state();
  s.tsc_offset = 1ull << 40;
  ASSERT_TRUE(vcpu->set_state(s).ok());
  const uint64_t offset = state().tsc_offset;
  if (offset > 1ull << 41) GTEST_SKIP() << "this KVM does not let the TSC be set";
  EXPECT_GE(offset, 1ull << 40);
  EXPECT_LT(offset, (1ull << 40) + 100'000'000'000ull);
}

}  // namespace
}  // namespace cupel::kvm
