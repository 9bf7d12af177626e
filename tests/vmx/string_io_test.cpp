#include "tests/vmx/vmx_fixture.h"

namespace cupel::vmx::test {
namespace {

struct StringIo : VmxFixture {
  // address_size: 2, 4, 8.
  void then_string(IoAccess io, unsigned address_size = 8, Seg seg = Seg::ds) {
    const uint32_t code = address_size == 2 ? 0 : address_size == 4 ? 1 : 2;
    cpu.then([=](FakeVmxCpu& c, GprFile&) {
      c.exit(ExitReason::io_instruction, io.encode(), 2);
      c.set(Field32::exit_instruction_info, code << 7 | static_cast<uint32_t>(seg) << 15);
    });
  }
  IoAccess ins(uint8_t size, bool rep) { return {0x1f0, size, true, true, rep, false}; }
  IoAccess outs(uint8_t size, bool rep) { return {0x3f8, size, false, true, rep, false}; }
};

TEST_F(StringIo, RepOutsAcrossAPage) {
  const char text[] = "crossing";
  ASSERT_TRUE(memory->write(Gpa(0x2ffc), text));
  CpuState s = state();
  s.gpr[Gpr::rsi] = 0x2ffc;
  s.gpr[Gpr::rcx] = 8;
  apply(s);
  then_string(outs(1, true));
  run_ok();
  std::string sent;
  for (const auto& out : platform.outs) sent += static_cast<char>(out.value);
  EXPECT_EQ(sent, "crossing");
  EXPECT_EQ(state().gpr[Gpr::rsi], 0x3004u);
  EXPECT_EQ(state().gpr[Gpr::rcx], 0u);
  EXPECT_EQ(state().rip, 0x1002u);
}

TEST_F(StringIo, ADwordAcrossAPageIsOneAccess) {
  ASSERT_TRUE(memory->write(Gpa(0x2ffe), 0x44332211u));
  CpuState s = state();
  s.gpr[Gpr::rsi] = 0x2ffe;
  apply(s);
  then_string(outs(4, false));
  run_ok();
  EXPECT_EQ(platform.outs, (std::vector<FakePlatform::Access>{{0x3f8, 4, 0x44332211}}));
}

TEST_F(StringIo, InsDoesNotReadThePortWhenTheStoreFaults) {
  entry(kPdpt, 1, kTable | 7);
  entry(kTable, 0, 0x200085);  // read-only 2 MiB page
  CpuState s = state();
  s.gpr[Gpr::rdi] = 0x40000010;
  s.gpr[Gpr::rcx] = 4;
  apply(s);
  then_string(ins(2, true));
  run_ok();
  EXPECT_TRUE(platform.ins.empty());
  EXPECT_EQ(last_entry().interruption_info, injected_exception(kPF));
  EXPECT_EQ(last_entry().error_code, pf::P | pf::W);
  EXPECT_EQ(cpu.cr2, 0x40000010u);
  EXPECT_EQ(state().rip, 0x1000u);
}

TEST_F(StringIo, PartialProgressIsKept) {
  entry(kPdpt, 1, kTable | 7);
  entry(kTable, 0, 0x200087);  // 0x40000000 .. 0x401fffff is writable, the rest absent
  CpuState s = state();
  s.gpr[Gpr::rdi] = 0x40200000 - 4;
  s.gpr[Gpr::rcx] = 10;
  apply(s);
  then_string(ins(2, true));
  run_ok();
  EXPECT_EQ(platform.ins.size(), 2u);
  EXPECT_EQ(state().gpr[Gpr::rcx], 8u);
  EXPECT_EQ(state().gpr[Gpr::rdi], 0x40200000u);
  EXPECT_EQ(cpu.cr2, 0x40200000u);
  uint16_t stored = 0;
  ASSERT_TRUE(memory->read(Gpa(0x3ffffc), stored));
  EXPECT_EQ(stored, 0xc3d4u);  // low half of the first value the port gave
}

TEST_F(StringIo, DirectionFlagGoesDown) {
  CpuState s = state();
  s.rflags |= rflags::DF;
  s.gpr[Gpr::rsi] = 0x2004;
  s.gpr[Gpr::rcx] = 2;
  apply(s);
  then_string(outs(4, true));
  run_ok();
  EXPECT_EQ(state().gpr[Gpr::rsi], 0x1ffcu);
}

TEST_F(StringIo, RepWithZeroCountMovesOn) {
  CpuState s = state();
  s.gpr[Gpr::rcx] = 0;
  apply(s);
  then_string(outs(1, true));
  run_ok();
  EXPECT_TRUE(platform.outs.empty());
  EXPECT_EQ(state().rip, 0x1002u);
}

TEST_F(StringIo, AddressSizeCutsIndexAndCount) {
  CpuState s = state();
  s.gpr[Gpr::rsi] = 0xffffffff00002000;
  s.gpr[Gpr::rcx] = 0xffffffff00000001;
  apply(s);
  then_string(outs(1, true), 4);
  run_ok();
  EXPECT_EQ(platform.outs.size(), 1u);
  EXPECT_EQ(state().gpr[Gpr::rsi], 0x2001u);  // 32-bit results clear the upper half
  EXPECT_EQ(state().gpr[Gpr::rcx], 0u);
}

TEST_F(StringIo, ANonCanonicalAddressIsGeneralProtection) {
  CpuState s = state();
  s.gpr[Gpr::rsi] = 0x800000000000;
  apply(s);
  then_string(outs(1, false));
  run_ok();
  EXPECT_EQ(last_entry().interruption_info, injected_exception(kGP));
}

TEST_F(StringIo, RealModeUsesBaseAndLimit) {
  CpuState s = CpuState::after_reset();
  s[Seg::ds] = Segment{0x0200, 0x93, 0xffff, 0x2000};
  s.gpr[Gpr::rsi] = 0x10;
  apply(s);
  ASSERT_TRUE(memory->write(Gpa(0x2010), uint8_t{0x5a}));
  then_string(outs(1, false), 2);
  run_ok();
  EXPECT_EQ(platform.outs, (std::vector<FakePlatform::Access>{{0x3f8, 1, 0x5a}}));
}

TEST_F(StringIo, RealModeLimitFaultHasNoErrorCode) {
  CpuState s = CpuState::after_reset();
  s.gpr[Gpr::rsi] = 0xffff;
  apply(s);
  then_string(outs(2, false), 2);
  run_ok();
  EXPECT_EQ(last_entry().interruption_info, injected(kGP, EventType::hardware_exception));
}

}  // namespace
}  // namespace cupel::vmx::test
