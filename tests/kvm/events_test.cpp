// Interrupts, HLT and deadlines.
#include "tests/kvm/real_guest.h"

namespace cupel::kvm {
namespace {

using x86::ExitReason;
using x86::Gpr;

constexpr uint16_t kHandler = 0x2000;

class Events : public RealGuest {
 protected:
  void SetUp() override {
    RealGuest::SetUp();
    if (IsSkipped()) return;
    for (const uint8_t vector : {0x02, 0x20, 0x21}) {
      set_vector(vector, static_cast<uint16_t>(kHandler + vector * 0x10));
      // mov al,vector; out 0x80,al; iret
      put(kHandler + vector * 0x10u, {0xb0, vector, 0xe6, 0x80, 0xcf});
    }
  }
  // Real time passes at its own pace: the guest may need several slices to get to its HLT.
  void run_to_halt(Nanoseconds slice) {
    const Nanoseconds end = clock.now() + kLongEnough;
    do {
      const Nanoseconds until = clock.now() + slice;
      ASSERT_EQ(run(slice).reason, vm::StopReason::deadline);
      ASSERT_EQ(clock.now(), until);
    } while (state().activity != x86::Activity::hlt && clock.now() < end);
    ASSERT_EQ(state().activity, x86::Activity::hlt);
  }
  // That vector's handler ends the guest instead of returning: out 0xf4,al.
  void leave_after(uint8_t vector) { put(kHandler + vector * 0x10u + 4, {0xe6, 0xf4}); }
  std::vector<uint32_t> handled() const {
    std::vector<uint32_t> vectors;
    for (const auto& out : platform.outs) {
      if (out.port == 0x80) vectors.push_back(out.value);
    }
    return vectors;
  }
};

TEST_F(Events, PendingInterruptIsDeliveredOnceInterruptsAreOn) {
  platform.interrupts = {0x20};
  leave_after(0x20);
  load({0x90, 0xe6, 0x81, 0xfb, 0xeb, 0xfe});  // nop; out 0x81,al; sti; jmp $
  run_to_stop();
  ASSERT_EQ(platform.outs.size(), 3u);
  EXPECT_EQ(platform.outs[0].port, 0x81);  // not while IF was clear
  EXPECT_EQ(platform.outs[1], (PortAccess{0x80, 1, 0x20}));
}

TEST_F(Events, TwoPendingInterruptsAreDeliveredInOrder) {
  platform.interrupts = {0x20, 0x21};
  leave_after(0x21);
  load({0xfb, 0xeb, 0xfe});  // sti; jmp $
  run_to_stop();
  EXPECT_EQ(handled(), (std::vector<uint32_t>{0x20, 0x21}));
}

// KVM forgets an interrupt that is queued when an instruction ends in an exception.
TEST_F(Events, InterruptThatComesWithARefusedMsrIsNotLost) {
  if (!vcpu->machine().system().has_user_space_msrs) GTEST_SKIP() << "KVM cannot hand out MSRs";
  platform.interrupt_on_msr = 0x20;
  leave_after(0x20);
  set_vector(13, 0x3000);
  put(0x3000, {0xb0, 0x0d, 0xe6, 0x80, 0xfb, 0xeb, 0xfe});  // mov al,13; out 0x80,al; sti; jmp $
  load({0xfb, 0x66, 0xb9, 0xff, 0x02, 0, 0, 0x0f, 0x32});   // sti; mov ecx,0x2ff; rdmsr
  run_to_stop();
  EXPECT_EQ(handled(), (std::vector<uint32_t>{13, 0x20}));
}

TEST_F(Events, HaltSleepsUntilTheTimerInterrupt) {
  platform.interrupt_at = 30_ms;
  load({0xfb, 0xf4, 0xe6, 0xf4});  // sti; hlt; out 0xf4
  run_to_stop();
  EXPECT_GE(clock.now(), 30_ms);
  EXPECT_EQ(handled(), (std::vector<uint32_t>{0x20}));
  EXPECT_EQ(exits(ExitReason::hlt), 1u);
}

TEST_F(Events, HaltWithInterruptsOffLastsUntilTheDeadline) {
  platform.interrupts = {0x20};
  load({0xfa, 0xf4, 0xe6, 0xf4});  // cli; hlt; out 0xf4
  run_to_halt(20_ms);
  EXPECT_TRUE(platform.outs.empty());
}

TEST_F(Events, NmiWakesAHaltedGuestWithInterruptsOff) {
  load({0xfa, 0xf4, 0xe6, 0xf4});
  run_to_halt(5_ms);
  platform.nmis = 1;
  run_to_stop();
  EXPECT_EQ(handled(), (std::vector<uint32_t>{0x02}));
}

TEST_F(Events, DeadlineEndsAGuestThatSpinsWithInterruptsOff) {
  load({0xfa, 0xeb, 0xfe});  // cli; jmp $
  do {
    const Nanoseconds until = clock.now() + 50_ms;
    const auto stop = run(50_ms);
    ASSERT_EQ(stop.reason, vm::StopReason::deadline) << describe(stop.error);
    ASSERT_EQ(clock.now(), until);
  } while (state().rip == kCode && clock.now() < kLongEnough);
  EXPECT_EQ(state().rip, kCode + 1);
  EXPECT_GE(exits(ExitReason::preemption_timer), 1u);
}

TEST_F(Events, ShortSlicesStillMakeProgress) {
  // mov cx,200; loop $; out 0xf4
  load({0xb9, 0xc8, 0x00, 0xe2, 0xfe, 0xe6, 0xf4});
  vm::Stop stop;
  for (int slice = 0; slice < 20000 && stop.reason == vm::StopReason::deadline; ++slice) {
    stop = run(100_us);
  }
  EXPECT_EQ(stop.reason, vm::StopReason::stop_request);
}

TEST_F(Events, TimerInterruptBreaksIntoALoop) {
  platform.interrupt_at = 10_ms;
  leave_after(0x20);
  load({0xfb, 0xeb, 0xfe});  // sti; jmp $
  run_to_stop();
  EXPECT_GE(clock.now(), 10_ms);
}

}  // namespace
}  // namespace cupel::kvm
