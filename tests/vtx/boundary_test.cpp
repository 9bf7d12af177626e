#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

// The guest runs until a boundary makes it exit; `before` prepares the processor.
void run_to_boundary(Rig& rig, std::function<void(FakeProcessor&)> before = {}) {
  rig.cpu.script = [before](FakeProcessor& p) {
    if (before) before(p);
    if (!p.monitor->on_boundary()) p.trap(cpu::TrapKind::cpuid);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
}

void with_timer(Rig& rig, uint64_t value, bool save) {
  rig.set_bits(F::pin_based_controls, pin::preemption_timer);
  if (save) rig.set_bits(F::exit_controls, exitctl::save_preemption_timer);
  rig.set(F::preemption_timer_value, value);
}

TEST(PreemptionTimer, ExpiresAtItsTime) {
  Rig rig;
  with_timer(rig, 500, true);
  run_to_boundary(rig, [](FakeProcessor& p) {
    EXPECT_EQ(p.deadline, Nanoseconds(1500));
    p.tsc = 1500;
  });
  EXPECT_EQ(rig.reason(), 52u);
  EXPECT_EQ(rig.get(F::preemption_timer_value), 0u);
}

TEST(PreemptionTimer, SavedOnlyWhenAsked) {
  for (const bool save : {false, true}) {
    Rig rig;
    with_timer(rig, 500, save);
    rig.cpu.script = [](FakeProcessor& p) {
      p.tsc += 200;
      p.trap(cpu::TrapKind::cpuid);
    };
    EXPECT_EQ(rig.launch(), VmxStatus::succeed);
    EXPECT_EQ(rig.get(F::preemption_timer_value), save ? 300u : 500u);
  }
}

TEST(PreemptionTimer, RateAndTscFrequency) {
  CapabilityProfile profile = server_capabilities();
  profile.preemption_timer_shift = 5;
  Rig rig(profile);
  rig.cpu.hz = 3'000'000'000;
  rig.cpu.tsc = 33;
  with_timer(rig, 10, true);
  run_to_boundary(rig, [](FakeProcessor& p) {
    EXPECT_EQ(p.deadline, Nanoseconds(118));  // TSC 352 at 3 GHz, rounded up
    p.tsc = 352;
  });
  EXPECT_EQ(rig.reason(), 52u);
}

TEST(PreemptionTimer, ZeroExitsBeforeAnyInstruction) {
  Rig rig;
  with_timer(rig, 0, false);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 52u);
  EXPECT_EQ(rig.cpu.runs, 0);
}

TEST(PreemptionTimer, TurnedOffRemovesTheDeadline) {
  Rig rig;
  with_timer(rig, 500, false);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  rig.clear_bits(F::pin_based_controls, pin::preemption_timer);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.cpu.deadline, Nanoseconds::max());
}

TEST(InterruptWindow, ExitsAtOnceWhenOpen) {
  Rig rig;
  rig.set_bits(F::primary_processor_controls, proc::interrupt_window);
  rig.set(F::guest_rflags, 0x202);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 7u);
  EXPECT_EQ(rig.cpu.runs, 0);
}

TEST(InterruptWindow, WaitsForIfAndBlocking) {
  Rig rig;
  rig.set_bits(F::primary_processor_controls, proc::interrupt_window);
  run_to_boundary(rig, [](FakeProcessor& p) {
    EXPECT_TRUE(p.watching);
    p.raw().rflags |= rflags::IF;
    p.set_interruptibility(interruptibility::sti);
    EXPECT_FALSE(p.monitor->on_boundary());
    p.set_interruptibility(0);
  });
  EXPECT_EQ(rig.reason(), 7u);
}

TEST(InterruptWindow, InjectedEventGoesFirst) {
  Rig rig;
  rig.set_bits(F::primary_processor_controls, proc::interrupt_window);
  rig.set(F::guest_rflags, 0x202);
  rig.set(F::entry_interruption_info, 0x80000031);
  run_to_boundary(rig);
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.cpu.delivered[0].vector, 0x31);
  EXPECT_TRUE(rig.cpu.boundary_requested);
  EXPECT_EQ(rig.reason(), 7u);
  EXPECT_EQ(rig.get(F::entry_interruption_info) >> 31, 0u);
}

TEST(NmiWindow, ExitsWhenNmisAreOpen) {
  Rig rig;
  rig.set_bits(F::pin_based_controls, pin::virtual_nmis);
  rig.set_bits(F::primary_processor_controls, proc::nmi_window);
  rig.set(F::guest_interruptibility_state, interruptibility::nmi);
  run_to_boundary(rig, [](FakeProcessor& p) {
    EXPECT_FALSE(p.monitor->on_boundary());
    p.set_interruptibility(0);
  });
  EXPECT_EQ(rig.reason(), 8u);
}

TEST(ExternalInterrupt, ExitAcknowledgesWhenAsked) {
  Rig rig;
  rig.set_bits(F::exit_controls, exitctl::acknowledge_interrupt);
  rig.vmx.raise_external_interrupt(0x40);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 1u);
  EXPECT_EQ(rig.get(F::exit_interruption_info), 0x80000040u);
  EXPECT_FALSE(rig.vmx.acknowledge_external_interrupt().has_value());
}

TEST(ExternalInterrupt, StaysPendingWithoutAcknowledge) {
  Rig rig;
  rig.vmx.raise_external_interrupt(0x40);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 1u);
  EXPECT_EQ(rig.get(F::exit_interruption_info), 0u);
  EXPECT_EQ(rig.vmx.acknowledge_external_interrupt(), 0x40);
}

TEST(ExternalInterrupt, ReachesTheGuestWithoutExiting) {
  Rig rig;
  rig.clear_bits(F::pin_based_controls, pin::external_interrupt_exiting);
  rig.vmx.raise_external_interrupt(0x40);
  rig.set(F::guest_rflags, 0x202);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.cpu.delivered[0].vector, 0x40);
  EXPECT_EQ(rig.reason(), 10u);
}

TEST(Nmi, ExitsOrReachesTheGuest) {
  Rig rig;
  rig.vmx.raise_nmi();
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 0u);
  EXPECT_EQ(rig.get(F::exit_interruption_info), 0x80000202u);
  rig.clear_bits(F::pin_based_controls, pin::nmi_exiting);
  rig.vmx.raise_nmi();
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.cpu.delivered[0].type, EventType::nmi);
}

TEST(Init, Exits) {
  Rig rig;
  rig.vmx.raise_init();
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 3u);
}

TEST(Priority, TimerBeforeNmiBeforeWindowBeforeInterrupt) {
  Rig rig;
  with_timer(rig, 0, false);
  rig.set_bits(F::primary_processor_controls, proc::interrupt_window);
  rig.set(F::guest_rflags, 0x202);
  rig.vmx.raise_nmi();
  rig.vmx.raise_external_interrupt(0x40);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 52u);
  rig.set(F::preemption_timer_value, 1000);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 0u);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 7u);
  rig.clear_bits(F::primary_processor_controls, proc::interrupt_window);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 1u);
}

TEST(HaltedGuest, ThatNothingWakesComesBack) {
  Rig rig;
  rig.clear_bits(F::primary_processor_controls, proc::hlt_exiting);
  run_to_boundary(rig, [](FakeProcessor& p) { p.raw().activity = Activity::hlt; });
  EXPECT_EQ(rig.reason(), 1u);
  EXPECT_EQ(rig.get(F::exit_interruption_info), 0u);
  EXPECT_EQ(rig.get(F::guest_activity_state), 1u);
}

}  // namespace
}  // namespace cupel::vtx::testing
