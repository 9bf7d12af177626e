// TSC offset and multiplier; PAUSE-loop exiting.
#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

TEST(TscScaling, MultipliesBeforeItAdds) {
  Rig rig;
  rig.set_bits(F::primary_processor_controls, proc::tsc_offsetting);
  rig.set_bits(F::secondary_processor_controls, proc2::tsc_scaling);
  rig.set(F::tsc_offset, static_cast<uint64_t>(-1000));
  struct Row {
    uint64_t multiplier, tsc, shown;
  };
  const Row rows[] = {
      {1ull << 48, 5000, 4000},
      {3ull << 47, 5000, 6500},
      {1ull << 47, 5001, 1500},
      {1, 1ull << 50, 4 - 1000ull},
      // The product needs 128 bits, and its upper bits are lost.
      {~0ull, 1ull << 63, 0xffffffffffff8000 - 1000},
      {1ull << 63, (1ull << 50) + 2, (2ull << 15) - 1000},
  };
  for (const Row& row : rows) {
    rig.set(F::tsc_multiplier, row.multiplier);
    uint64_t shown = 0;
    rig.cpu.script = [&](FakeProcessor& p) {
      shown = p.monitor->visible_tsc(row.tsc);
      p.trap(cpu::TrapKind::cpuid);
    };
    EXPECT_EQ(std::exchange(rig.launched, true) ? rig.resume() : rig.launch(), VmxStatus::succeed);
    EXPECT_EQ(shown, row.shown) << std::hex << row.multiplier;
  }
}

TEST(TscScaling, NeedsTscOffsetting) {
  Rig rig;
  rig.clear_bits(F::primary_processor_controls, proc::tsc_offsetting);
  rig.set_bits(F::secondary_processor_controls, proc2::tsc_scaling);
  rig.set(F::tsc_multiplier, 1ull << 50);
  uint64_t shown = 0;
  rig.cpu.script = [&](FakeProcessor& p) {
    shown = p.monitor->visible_tsc(777);
    p.trap(cpu::TrapKind::cpuid);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(shown, 777u);
  EXPECT_EQ(rig.vmx.rdtsc(), rig.cpu.tsc);  // the host's own
}

struct PleRig : Rig {
  PleRig() {
    set_bits(F::secondary_processor_controls, proc2::pause_loop_exiting);
    set(F::ple_gap, 100);
    set(F::ple_window, 1000);
  }
  // PAUSEs until one exits or the limit; how many there were.
  int pauses(uint64_t gap, int limit) {
    int count = 0;
    cpu.script = [&](FakeProcessor& p) {
      while (count < limit) {
        ++count;
        if (p.trap(cpu::TrapKind::pause)) return;
        p.tsc += gap;
      }
      p.trap(cpu::TrapKind::cpuid);
    };
    EXPECT_EQ(std::exchange(launched, true) ? resume() : launch(), VmxStatus::succeed);
    return count;
  }
};

TEST(PauseLoop, ExitsWhenTheWindowIsExceeded) {
  PleRig rig;
  EXPECT_EQ(rig.pauses(100, 1000), 12);  // 1100 after the first
  EXPECT_EQ(rig.reason(), 40u);
  EXPECT_EQ(rig.get(F::exit_instruction_length), 2u);
  EXPECT_EQ(rig.pauses(100, 1000), 12);  // VM entry starts a new loop
}

TEST(PauseLoop, GapStartsANewLoop) {
  PleRig rig;
  EXPECT_EQ(rig.pauses(101, 1000), 1000);
  EXPECT_EQ(rig.reason(), 10u);
}

TEST(PauseLoop, IsForCpl0Only) {
  PleRig rig;
  rig.set(F::guest_cs_selector, 0x1b);
  rig.set(F::guest_cs_access_rights, 0xa0fb);
  rig.set(F::guest_ss_selector, 0x23);
  rig.set(F::guest_ss_access_rights, 0xc0f3);
  EXPECT_EQ(rig.pauses(10, 1000), 1000);
  rig.set_bits(F::primary_processor_controls, proc::pause_exiting);
  EXPECT_EQ(rig.pauses(10, 1000), 1);
}

}  // namespace
}  // namespace cupel::vtx::testing
