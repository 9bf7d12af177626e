#include "tests/vmx/vmx_fixture.h"

namespace cupel::vmx::test {
namespace {

using Accesses = std::vector<FakePlatform::Access>;
using MmioExit = VmxFixture;

TEST_F(MmioExit, ALoadReadsThePlatformAndMovesOn) {
  code({0x8b, 0x03});  // mov eax, [rbx]
  CpuState s = state();
  s.gpr[Gpr::rbx] = kMmio + 0x20;
  s.gpr[Gpr::rax] = ~0ull;
  apply(s);
  then_mmio(kMmio + 0x20, false);
  run_ok();
  EXPECT_EQ(platform.reads, (Accesses{{kMmio + 0x20, 4, 0}}));
  EXPECT_EQ(state().gpr[Gpr::rax], 0x55667788u);
  EXPECT_EQ(state().rip, 0x1002u);
}

TEST_F(MmioExit, AStoreWritesItsOperandSize) {
  code({0x66, 0x89, 0x0b});  // mov [rbx], cx
  CpuState s = state();
  s.gpr[Gpr::rbx] = kMmio;
  s.gpr[Gpr::rcx] = 0xdeadbeef;
  apply(s);
  then_mmio(kMmio, true);
  run_ok();
  EXPECT_EQ(platform.writes, (Accesses{{kMmio, 2, 0xbeef}}));
  EXPECT_EQ(state().rip, 0x1003u);
}

TEST_F(MmioExit, ReadModifyWriteSetsFlags) {
  code({0x83, 0x23, 0x00});  // and dword [rbx], 0
  CpuState s = state();
  s.gpr[Gpr::rbx] = kMmio;
  apply(s);
  then_mmio(kMmio, true);
  run_ok();
  EXPECT_EQ(platform.reads.size(), 1u);
  EXPECT_EQ(platform.writes, (Accesses{{kMmio, 4, 0}}));
  EXPECT_TRUE(state().rflags & rflags::ZF);
}

TEST_F(MmioExit, TheStackPointerCanBeAnOperand) {
  code({0x8b, 0x23});  // mov esp, [rbx]
  CpuState s = state();
  s.gpr[Gpr::rbx] = kMmio;
  apply(s);
  then_mmio(kMmio, false);
  run_ok();
  EXPECT_EQ(state().gpr[Gpr::rsp], 0x55667788u);
}

TEST_F(MmioExit, RepMovsFromRamGoesDwordByDword) {
  code({0xf3, 0xa5});  // rep movsd
  const uint32_t data[] = {1, 2, 3};
  ASSERT_TRUE(memory->write(Gpa(0x2000), data));
  CpuState s = state();
  s.gpr[Gpr::rsi] = 0x2000;
  s.gpr[Gpr::rdi] = kMmio;
  s.gpr[Gpr::rcx] = 3;
  apply(s);
  then_mmio(kMmio, true);
  run_ok();
  EXPECT_EQ(platform.writes, (Accesses{{kMmio, 4, 1}, {kMmio + 4, 4, 2}, {kMmio + 8, 4, 3}}));
  EXPECT_EQ(state().gpr[Gpr::rcx], 0u);
  EXPECT_EQ(state().gpr[Gpr::rsi], 0x200cu);
  EXPECT_EQ(state().gpr[Gpr::rdi], kMmio + 12);
  EXPECT_EQ(state().rip, 0x1002u);
}

TEST_F(MmioExit, RepMovsThatFaultsStopsAtTheIteration) {
  code({0xf3, 0xa4});  // rep movsb
  CpuState s = state();
  s.gpr[Gpr::rsi] = 0x40000000 - 2;  // the next GiB is not mapped
  s.gpr[Gpr::rdi] = kMmio;
  s.gpr[Gpr::rcx] = 5;
  apply(s);
  then_mmio(kMmio, true);
  run_ok();
  EXPECT_EQ(platform.writes.size(), 2u);
  EXPECT_EQ(cpu.cr2, 0x40000000u);
  EXPECT_EQ(last_entry().interruption_info, injected_exception(kPF));
  EXPECT_EQ(last_entry().error_code, 0u);
  EXPECT_EQ(state().gpr[Gpr::rcx], 3u);
  EXPECT_EQ(state().rip, 0x1000u);
}

TEST_F(MmioExit, ALongRepLetsInterruptsInBetween) {
  code({0xf3, 0xaa});  // rep stosb
  CpuState s = state();
  s.gpr[Gpr::rdi] = kMmio;
  s.gpr[Gpr::rcx] = 1500;
  apply(s);
  then_mmio(kMmio, true);
  run_ok();
  EXPECT_EQ(platform.writes.size(), 1024u);
  EXPECT_EQ(state().gpr[Gpr::rcx], 1500u - 1024);
  EXPECT_EQ(state().rip, 0x1000u);  // the instruction is not done
}

TEST_F(MmioExit, AnAccessFromRamIntoMmioIsSplit) {
  code({0x48, 0x89, 0x0b});  // mov [rbx], rcx, three bytes in RAM's last page
  // Map the page behind RAM's last one to MMIO.
  const uint64_t last = kRam - kPageSize;
  entry(kPdLow, 511, kTable | 7);
  entry(kTable, 0, last | 7);
  entry(kTable, 1, kMmio | 7);
  const uint64_t linear = (511ull << 21) + 0xffd;
  CpuState s = state();
  s.gpr[Gpr::rbx] = linear;
  s.gpr[Gpr::rcx] = 0x8877665544332211;
  apply(s);
  cpu.then([=](FakeVmxCpu& c, GprFile&) {
    c.exit(ExitReason::ept_violation,
           EptViolation{.write = true, .linear_valid = true, .translated = true}.encode(), 0);
    c.set(Field64::guest_physical_address, kMmio);
    c.set(FieldN::guest_linear_address, (511ull << 21) + 0x1000);
  });
  run_ok();
  std::array<uint8_t, 3> low{};
  ASSERT_TRUE(memory->read(Gpa(last + 0xffd), low));
  EXPECT_EQ(low, (std::array<uint8_t, 3>{0x11, 0x22, 0x33}));
  ASSERT_EQ(platform.writes.size(), 5u);
  EXPECT_EQ(platform.writes[0], (FakePlatform::Access{kMmio, 1, 0x44}));
  EXPECT_EQ(platform.writes[4], (FakePlatform::Access{kMmio + 4, 1, 0x88}));
}

TEST_F(MmioExit, AnUnknownInstructionStopsLoudlyWithItsBytes) {
  code({0x0f, 0x10, 0x03});  // movups xmm0, [rbx]
  CpuState s = state();
  s.gpr[Gpr::rbx] = kMmio;
  apply(s);
  then_mmio(kMmio, false);
  const vm::Stop stop = run();
  EXPECT_EQ(stop.reason, vm::StopReason::error);
  EXPECT_EQ(stop.error.kind, ErrorKind::guest);
  EXPECT_NE(stop.error.message.find("0f 10 03"), std::string::npos) << stop.error.message;
  EXPECT_NE(stop.error.message.find("0xfee00000"), std::string::npos);
  EXPECT_NE(stop.error.message.find("RIP 0x1000"), std::string::npos);
}

TEST_F(MmioExit, ExecutingOutsideRamIsAGuestError) {
  cpu.then([](FakeVmxCpu& c, GprFile&) {
    c.exit(ExitReason::ept_violation,
           EptViolation{.fetch = true, .linear_valid = true, .translated = true}.encode(), 0);
    c.set(Field64::guest_physical_address, kMmio);
  });
  const vm::Stop stop = run();
  EXPECT_EQ(stop.reason, vm::StopReason::error);
  EXPECT_NE(stop.error.message.find("executes outside its RAM"), std::string::npos);
}

TEST_F(MmioExit, AViolationInsideRamIsOurFault) {
  then_mmio(0x5000, true);
  const vm::Stop stop = run();
  EXPECT_EQ(stop.reason, vm::StopReason::error);
  EXPECT_EQ(stop.error.kind, ErrorKind::internal);
}

TEST_F(MmioExit, AHoleInRamIsMmio) {
  const GpaRange holes[] = {{Gpa(0xa0000), 0x20000}};
  VmxVcpuConfig config;
  config.holes = holes;
  create(config);
  set_long_mode();
  code({0x8a, 0x03});  // mov al, [rbx]
  CpuState s = state();
  s.gpr[Gpr::rbx] = 0xa0010;
  apply(s);
  then_mmio(0xa0010, false);
  run_ok();
  EXPECT_EQ(platform.reads, (Accesses{{0xa0010, 1, 0}}));
}

}  // namespace
}  // namespace cupel::vmx::test
