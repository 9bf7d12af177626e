#include "hypervisor/vmx/preemption_timer.h"
#include "tests/vmx/vmx_fixture.h"

namespace cupel::vmx::test {
namespace {

using RunLoop = VmxFixture;

TEST(PreemptionTimerTest, RoundsUpAndNeverGivesZero) {
  const PreemptionTimer fine(1'000'000'000, 0);
  EXPECT_EQ(fine.value(0_ns, 1000_ns), 1000u);
  EXPECT_EQ(fine.value(5_ns, 5_ns), 1u);
  EXPECT_EQ(fine.value(9_ns, 5_ns), 1u);
  EXPECT_EQ(fine.value(0_ns, Nanoseconds::max()), UINT32_MAX);
  const PreemptionTimer coarse(2'000'000'000, 5);
  EXPECT_EQ(coarse.value(0_ns, 16_ns), 1u);
  EXPECT_EQ(coarse.value(0_ns, 17_ns), 2u);
  EXPECT_EQ(coarse.value(0_ns, 160_us), 10'000u);
  const PreemptionTimer odd(2'394'374'000, 0);
  EXPECT_NEAR(odd.value(0_ns, 1_s), 2'394'374'000.0, 1);
}

TEST_F(RunLoop, LaunchesOnceAndResumesThen) {
  cpu.then_exit(ExitReason::cpuid);
  run_ok();
  ASSERT_EQ(cpu.entries.size(), 2u);
  EXPECT_TRUE(cpu.entries[0].launch);
  EXPECT_FALSE(cpu.entries[1].launch);
}

TEST_F(RunLoop, AnEntryThatFailedLateIsLaunchedAgain) {
  cpu.then([](FakeVmxCpu& c, GprFile&) {
    c.exit(ExitReason::entry_failure_guest_state, 0);
    c.set(Field32::exit_reason, 33 | kExitReasonEntryFailure);
  });
  EXPECT_EQ(vcpu->run(1_s).reason, vm::StopReason::error);
  cpu.script.clear();
  run_ok();
  EXPECT_TRUE(cpu.entries.back().launch);
}

TEST_F(RunLoop, TheTimerFollowsTheNearestDeadline) {
  platform.deadline = 700_ns;
  cpu.then([this](FakeVmxCpu& c, GprFile&) {
    clock.set(300_ns);
    platform.deadline = 5_s;
    c.exit(ExitReason::cpuid);
  });
  cpu.then([this](FakeVmxCpu& c, GprFile&) {
    clock.set(1_us);
    c.exit(ExitReason::preemption_timer);
  });
  EXPECT_EQ(vcpu->run(1_us).reason, vm::StopReason::deadline);
  EXPECT_EQ(cpu.entries[0].timer, 700u);
  EXPECT_EQ(cpu.entries[1].timer, 700u);  // 1 us - 300 ns
  EXPECT_EQ(platform.advanced, 1_us);
  EXPECT_EQ(cpu.entries.size(), 2u);
}

TEST_F(RunLoop, DevicesStandAtTheTimeOfTheExit) {
  cpu.then([this](FakeVmxCpu& c, GprFile&) {
    clock.set(42_ns);
    c.exit(ExitReason::io_instruction, IoAccess{0x40, 1, true}.encode(), 1);
  });
  run_ok();
  EXPECT_EQ(platform.advanced, 42_ns);
}

TEST_F(RunLoop, HltWithNothingPendingReturnsAndWakesOnAnInterrupt) {
  CpuState s = state();
  s.rflags |= rflags::IF;
  apply(s);
  cpu.then_exit(ExitReason::hlt, 0, 1);
  EXPECT_EQ(vcpu->run(1_s).reason, vm::StopReason::halted);
  EXPECT_EQ(state().activity, Activity::hlt);
  EXPECT_EQ(state().rip, 0x1001u);
  EXPECT_EQ(vcpu->run(1_s).reason, vm::StopReason::halted);
  EXPECT_EQ(cpu.entries.size(), 1u);
  platform.interrupts = {0x30};
  run_ok();
  EXPECT_EQ(last_entry().interruption_info, injected(0x30, EventType::external_interrupt));
}

TEST_F(RunLoop, HltWithInterruptsOffWaitsForAnNmi) {
  cpu.then_exit(ExitReason::hlt, 0, 1);
  platform.interrupts = {0x30};
  EXPECT_EQ(vcpu->run(1_s).reason, vm::StopReason::halted);
  platform.nmi = true;
  run_ok();
  EXPECT_EQ(last_entry().interruption_info, injected(kNMI, EventType::nmi));
}

TEST_F(RunLoop, AMaskedInterruptComesThroughTheWindow) {
  platform.interrupts = {0x30};
  cpu.then([](FakeVmxCpu& c, GprFile&) {
    c.set(FieldN::guest_rflags, rflags::IF | 2);
    c.exit(ExitReason::interrupt_window);
  });
  run_ok();
  ASSERT_EQ(cpu.entries.size(), 2u);
  EXPECT_FALSE(cpu.entries[0].interruption_info >> 31);
  EXPECT_TRUE(cpu.entries[0].primary & proc::interrupt_window);
  EXPECT_EQ(cpu.entries[1].interruption_info, injected(0x30, EventType::external_interrupt));
  EXPECT_FALSE(cpu.entries[1].primary & proc::interrupt_window);
}

TEST_F(RunLoop, TheSecondInterruptAsksForAWindow) {
  CpuState s = state();
  s.rflags |= rflags::IF;
  apply(s);
  platform.interrupts = {0x31, 0x32};
  run_ok();
  EXPECT_EQ(last_entry().interruption_info, injected(0x31, EventType::external_interrupt));
  EXPECT_TRUE(last_entry().primary & proc::interrupt_window);
}

TEST_F(RunLoop, ABlockedNmiComesThroughItsWindow) {
  CpuState s = state();
  s.blocking_nmi = true;
  apply(s);
  platform.nmi = true;
  cpu.then([](FakeVmxCpu& c, GprFile&) {
    c.set(Field32::guest_interruptibility_state, 0);
    c.exit(ExitReason::nmi_window);
  });
  run_ok();
  EXPECT_TRUE(cpu.entries[0].primary & proc::nmi_window);
  EXPECT_EQ(cpu.entries[1].interruption_info, injected(kNMI, EventType::nmi));
  EXPECT_FALSE(cpu.entries[1].primary & proc::nmi_window);
}

struct Vectoring {
  const char* name;
  InterruptionInfo info;
  uint32_t error, length;
};

TEST_F(RunLoop, InterruptedDeliveriesAreInjectedAgain) {
  const Vectoring cases[] = {
      {"page fault", {kPF, EventType::hardware_exception, true, false, true}, 6, 0},
      {"interrupt", {0x40, EventType::external_interrupt, false, false, true}, 0, 0},
      {"INT n", {0x80, EventType::software_interrupt, false, false, true}, 0, 2},
      {"INT3", {kBP, EventType::software_exception, false, false, true}, 0, 1},
      {"NMI", {kNMI, EventType::nmi, false, false, true}, 0, 0},
  };
  for (const Vectoring& c : cases) {
    SCOPED_TRACE(c.name);
    platform.stop = false;
    cpu.then([=](FakeVmxCpu& f, GprFile&) {
      // A host NMI that arrived while the event was being delivered.
      f.exit(ExitReason::exception_or_nmi, 0, c.length);
      f.set(Field32::exit_interruption_info,
            InterruptionInfo{kNMI, EventType::nmi, false, false, true}.encode());
      f.set(Field32::idt_vectoring_info, c.info.encode());
      f.set(Field32::idt_vectoring_error_code, c.error);
      f.set(Field32::guest_interruptibility_state,
            c.info.type == EventType::nmi ? interruptibility::nmi : 0);
    });
    run_ok();
    EXPECT_EQ(last_entry().interruption_info, c.info.encode());
    if (c.info.error_code_valid) {
      EXPECT_EQ(last_entry().error_code, c.error);
    }
    if (c.length != 0) {
      EXPECT_EQ(last_entry().instruction_length, c.length);
    }
    EXPECT_FALSE(state().blocking_nmi);
  }
}

TEST_F(RunLoop, DeliveryThroughMmioIsAGuestError) {
  cpu.then([](FakeVmxCpu& c, GprFile&) {
    c.exit(ExitReason::ept_violation,
           EptViolation{.write = true, .linear_valid = true, .translated = true}.encode(), 0);
    c.set(Field64::guest_physical_address, kMmio);
    c.set(Field32::idt_vectoring_info, injected_exception(kPF));
  });
  const vm::Stop stop = run();
  EXPECT_EQ(stop.reason, vm::StopReason::error);
  EXPECT_NE(stop.error.message.find("event delivery"), std::string::npos) << stop.error.message;
}

TEST_F(RunLoop, ThePlatformCanStopIt) {
  platform.stop_port = 0xf4;
  cpu.then_exit(ExitReason::io_instruction, IoAccess{0xf4, 1, false}.encode(), 1);
  EXPECT_EQ(vcpu->run(1_s).reason, vm::StopReason::stop_request);
  EXPECT_EQ(cpu.entries.size(), 1u);
}

TEST_F(RunLoop, CountsExitsByReason) {
  cpu.then_exit(ExitReason::cpuid);
  cpu.then_exit(ExitReason::cpuid);
  run_ok();
  EXPECT_EQ(vcpu->exits().total, 3u);
  EXPECT_EQ(vcpu->exits().by_reason[10], 2u);
  EXPECT_EQ(vcpu->exits().by_reason[52], 1u);
}

}  // namespace
}  // namespace cupel::vmx::test
