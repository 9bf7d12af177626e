#include "tests/vmx/vmx_fixture.h"

#include "hypervisor/vmx/exits/exit_table.h"
#include "hypervisor/vmx/exits/handlers.h"

namespace cupel::vmx::test {
namespace {

using Exits = VmxFixture;

TEST_F(Exits, TheTableCoversEveryReason) {
  for (const ExitRow& row : kExitTable) EXPECT_NE(row.handle, nullptr);
}

TEST_F(Exits, UnhandledReasonsStopWithReasonRipAndQualification) {
  for (const auto reason :
       {ExitReason::init_signal, ExitReason::task_switch, ExitReason::rsm, ExitReason::mov_dr,
        ExitReason::ept_misconfiguration, ExitReason::bus_lock, static_cast<ExitReason>(35),
        static_cast<ExitReason>(200)}) {
    SetUp();
    platform.stop = false;
    cpu.script.clear();
    cpu.then_exit(reason, 0x1234);
    const vm::Stop stop = run();
    EXPECT_EQ(stop.reason, vm::StopReason::error);
    EXPECT_EQ(stop.error.kind, ErrorKind::guest);
    EXPECT_NE(stop.error.message.find(to_string(reason)), std::string::npos);
    EXPECT_NE(stop.error.message.find("RIP 0x1000"), std::string::npos) << stop.error.message;
    EXPECT_NE(stop.error.message.find("0x1234"), std::string::npos);
  }
}

TEST_F(Exits, CpuidAnswersFromThePlatformOnce) {
  for (int n = 0; n < 2; ++n) {
    cpu.then([](FakeVmxCpu& c, GprFile& regs) {
      regs[Gpr::rax] = 0xffffffff00000004;
      regs[Gpr::rcx] = 2;
      c.exit(ExitReason::cpuid);
    });
  }
  const int before = platform.cpuid_calls;
  run_ok();
  EXPECT_EQ(platform.cpuid_calls, before + 1);
  EXPECT_EQ(state().gpr[Gpr::rax], 4u);
  EXPECT_EQ(state().gpr[Gpr::rbx], 2u);
  EXPECT_EQ(state().rip, 0x1004u);
}

TEST_F(Exits, CpuidShowsOsxsaveOfTheGuest) {
  CpuState s = state();
  s.cr4 |= cr4::OSXSAVE;
  apply(s);
  cpu.then([](FakeVmxCpu& c, GprFile& regs) {
    regs[Gpr::rax] = 1;
    c.exit(ExitReason::cpuid);
  });
  run_ok();
  EXPECT_EQ(state().gpr[Gpr::rcx], 0xcccc0000u | 1u << 27);
}

TEST_F(Exits, CpuidNeedsFewVmcsAccesses) {
  cpu.then_exit(ExitReason::cpuid);
  cpu.then([this](FakeVmxCpu& c, GprFile&) {
    c.reads = c.writes = 0;
    c.exit(ExitReason::cpuid);
  });
  cpu.then([this](FakeVmxCpu& c, GprFile&) {
    EXPECT_LE(c.reads, 5u);
    EXPECT_LE(c.writes, 2u);
    c.exit(ExitReason::cpuid);
  });
  run_ok();
}

TEST_F(Exits, InMergesIntoTheAccumulator) {
  CpuState s = state();
  s.gpr[Gpr::rax] = 0x1111111122222222;
  apply(s);
  cpu.then_exit(ExitReason::io_instruction, IoAccess{0x60, 1, true}.encode(), 1);
  run_ok();
  EXPECT_EQ(state().gpr[Gpr::rax], 0x11111111222222d4u);
  EXPECT_EQ(state().rip, 0x1001u);
}

TEST_F(Exits, ADwordInClearsTheUpperHalf) {
  CpuState s = state();
  s.gpr[Gpr::rax] = ~0ull;
  apply(s);
  cpu.then_exit(ExitReason::io_instruction, IoAccess{0xcfc, 4, true}.encode(), 1);
  run_ok();
  EXPECT_EQ(state().gpr[Gpr::rax], 0xa1b2c3d4u);
}

TEST_F(Exits, OutSendsTheOperandSize) {
  CpuState s = state();
  s.gpr[Gpr::rax] = 0x12345678;
  apply(s);
  cpu.then_exit(ExitReason::io_instruction, IoAccess{0x80, 2, false}.encode(), 1);
  run_ok();
  EXPECT_EQ(platform.outs, (std::vector<FakePlatform::Access>{{0x80, 2, 0x5678}}));
}

TEST_F(Exits, PlatformMsrsAreReadAndWritten) {
  platform.msrs[msr::APIC_BASE] = 0xfee00900'12345678;
  cpu.then([](FakeVmxCpu& c, GprFile& regs) {
    regs[Gpr::rcx] = msr::APIC_BASE;
    c.exit(ExitReason::rdmsr);
  });
  cpu.then([](FakeVmxCpu& c, GprFile& regs) {
    EXPECT_EQ(regs[Gpr::rax], 0x12345678u);
    EXPECT_EQ(regs[Gpr::rdx], 0xfee00900u);
    regs[Gpr::rax] = 7;
    regs[Gpr::rdx] = 1;
    c.exit(ExitReason::wrmsr);
  });
  run_ok();
  EXPECT_EQ(platform.msrs[msr::APIC_BASE], 0x100000007u);
}

TEST_F(Exits, UnknownMsrsAreGeneralProtection) {
  for (const auto reason : {ExitReason::rdmsr, ExitReason::wrmsr}) {
    platform.stop = false;
    cpu.then([=](FakeVmxCpu& c, GprFile& regs) {
      regs[Gpr::rcx] = 0x12345;
      c.exit(reason);
    });
    run_ok();
    EXPECT_EQ(last_entry().interruption_info, injected_exception(kGP));
    EXPECT_EQ(last_entry().rip, 0x1000u);
  }
}

TEST_F(Exits, WritingTheTscMovesOffsetAndAdjust) {
  cpu.tsc = 1000;
  cpu.then([](FakeVmxCpu& c, GprFile& regs) {
    regs[Gpr::rcx] = msr::TSC;
    regs[Gpr::rax] = 5000;
    regs[Gpr::rdx] = 0;
    c.exit(ExitReason::wrmsr);
  });
  cpu.then([](FakeVmxCpu& c, GprFile& regs) {
    regs[Gpr::rcx] = msr::TSC_ADJUST;
    c.exit(ExitReason::rdmsr);
  });
  run_ok();
  EXPECT_EQ(state().tsc_offset, 4000u);
  EXPECT_EQ(state().gpr[Gpr::rax], 4000u);
}

TEST_F(Exits, InstructionsTheGuestIsNotToldOfAreInvalid) {
  for (const auto reason : {ExitReason::vmcall, ExitReason::vmxon, ExitReason::vmread,
                            ExitReason::monitor, ExitReason::mwait, ExitReason::getsec}) {
    platform.stop = false;
    cpu.then_exit(reason);
    run_ok();
    EXPECT_EQ(last_entry().interruption_info, injected_exception(kUD)) << to_string(reason);
    EXPECT_EQ(last_entry().rip, 0x1000u);
  }
}

TEST_F(Exits, CacheInvalidationIsSkipped) {
  cpu.then_exit(ExitReason::wbinvd);
  cpu.then_exit(ExitReason::invd);
  run_ok();
  EXPECT_EQ(state().rip, 0x1004u);
}

TEST_F(Exits, XsetbvAcceptsWhatCpuidOffers) {
  cpu.then([](FakeVmxCpu& c, GprFile& regs) {
    regs[Gpr::rcx] = 0;
    regs[Gpr::rax] = 3;
    regs[Gpr::rdx] = 0;
    c.exit(ExitReason::xsetbv, 0, 3);
  });
  run_ok();
  EXPECT_EQ(state().xcr0, 3u);
  platform.stop = false;
  cpu.then([](FakeVmxCpu& c, GprFile& regs) {
    regs[Gpr::rax] = 7;
    c.exit(ExitReason::xsetbv, 0, 3);
  });
  run_ok();
  EXPECT_EQ(last_entry().interruption_info, injected_exception(kGP));
}

TEST_F(Exits, TripleFaultNamesTheRip) {
  cpu.then_exit(ExitReason::triple_fault);
  const vm::Stop stop = run();
  EXPECT_EQ(stop.reason, vm::StopReason::triple_fault);
  EXPECT_NE(stop.error.message.find("0x1000"), std::string::npos);
}

TEST_F(Exits, ATrapFlagTrapsAfterAnEmulatedInstruction) {
  CpuState s = state();
  s.rflags |= rflags::TF | rflags::RF;
  apply(s);
  cpu.then_exit(ExitReason::cpuid);
  run_ok();
  EXPECT_EQ(last_entry().interruption_info, injected_exception(kDB));
  EXPECT_EQ(last_entry().rip, 0x1002u);
  EXPECT_TRUE(cpu.dr[6] & 1 << 14);
  EXPECT_FALSE(state().rflags & rflags::RF);
}

TEST_F(Exits, AnEmulatedInstructionEndsTheStiShadow) {
  CpuState s = state();
  s.rflags |= rflags::IF;
  s.blocking_sti = true;
  apply(s);
  cpu.then_exit(ExitReason::cpuid);
  run_ok();
  EXPECT_FALSE(state().blocking_sti);
}

TEST_F(Exits, RipWrapsOutsideLongModeOnly) {
  CpuState s = state();
  s[Seg::cs].access = 0xc09b;
  s.rip = 0xffffffff;
  apply(s);
  cpu.then_exit(ExitReason::cpuid);
  run_ok();
  EXPECT_EQ(state().rip, 1u);
}

TEST_F(Exits, EntryFailuresSayWhy) {
  cpu.then([](FakeVmxCpu& c, GprFile&) {
    c.exit(ExitReason::entry_failure_guest_state, 2);
    c.set(Field32::exit_reason, 33 | kExitReasonEntryFailure);
  });
  const vm::Stop stop = run();
  EXPECT_EQ(stop.reason, vm::StopReason::error);
  EXPECT_NE(stop.error.message.find("PDPTEs"), std::string::npos) << stop.error.message;
}

TEST_F(Exits, AFailedEntryGivesItsNumberAndText) {
  cpu.answers["vmlaunch"] = VmxStatus::fail_valid;
  cpu.set(Field32::vm_instruction_error, 7);
  const vm::Stop stop = run();
  EXPECT_EQ(stop.reason, vm::StopReason::error);
  EXPECT_EQ(stop.error.kind, ErrorKind::internal);
  EXPECT_NE(stop.error.message.find("VMLAUNCH"), std::string::npos);
  EXPECT_NE(stop.error.message.find("7, VM entry with invalid control fields"), std::string::npos);
}

TEST_F(Exits, AFailedVmreadStopsBeforeTheNextEntry) {
  cpu.then([](FakeVmxCpu& c, GprFile&) {
    c.exit(ExitReason::cpuid);
    c.broken_field = static_cast<uint32_t>(Field32::exit_instruction_length);
  });
  const vm::Stop stop = run();
  EXPECT_EQ(stop.reason, vm::StopReason::error);
  EXPECT_NE(stop.error.message.find("VMREAD of field 0x440c"), std::string::npos);
  EXPECT_EQ(cpu.entries.size(), 1u);
}

}  // namespace
}  // namespace cupel::vmx::test
