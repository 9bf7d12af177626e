// TSC offset and multiplier, PAUSE-loop exiting.
// SDM vol. 3C, "Time-Stamp Counter Offset and Multiplier", "Controls for PAUSE-Loop Exiting".
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

CUPEL_GUEST(tm_rdtsc, "", "rdtsc", "");
CUPEL_GUEST(tm_pauses, "mov $2000, %ecx", "pause", "dec %ecx\n jnz tm_pauses_at");

uint64_t shown(const TestVm& vm) {
  return vm.regs[Gpr::rdx] << 32 | (vm.regs[Gpr::rax] & 0xffffffff);
}

void tsc(Tap& tap, Lab& lab) {
  const auto test = [&](const char* name, const Controls& controls, uint64_t multiplier,
                        uint64_t offset, uint64_t (*expected)(uint64_t)) {
    tap.test("time.tsc", name, [&](Report& report) {
      TestVm vm(lab, controls);
      if (!vm.ready(report)) return;
      if ((controls.secondary & proc2::tsc_scaling) != 0)
        vm.set(Field64::tsc_multiplier, multiplier);
      vm.set(Field64::tsc_offset, offset);
      const uint64_t before = rdtsc();
      if (!vm.run(report, tm_rdtsc.code, ExitReason::vmcall)) return;
      const uint64_t after = rdtsc();
      report.equal("not before", shown(vm) - expected(before) <= expected(after) - expected(before),
                   true);
    });
  };
  constexpr Controls scaled{.primary = proc::tsc_offsetting, .secondary = proc2::tsc_scaling};
  test("offset", {.primary = proc::tsc_offsetting}, 0, 1ull << 40,
       [](uint64_t t) -> uint64_t { return t + (1ull << 40); });
  test("half", scaled, 1ull << 47, 0, [](uint64_t t) -> uint64_t { return t >> 1; });
  test("four_times_and_offset", scaled, 1ull << 50, static_cast<uint64_t>(-5),
       [](uint64_t t) -> uint64_t { return 4 * t - 5; });
  test("multiplier_without_offsetting", {.secondary = proc2::tsc_scaling}, 1ull << 47, 77,
       [](uint64_t t) -> uint64_t { return t; });
}

void pause_loop(Tap& tap, Lab& lab) {
  const auto test = [&](const char* name, uint32_t gap, uint32_t window, ExitReason reason) {
    tap.test("time.pause_loop", name, [&](Report& report) {
      TestVm vm(lab, {.secondary = proc2::pause_loop_exiting});
      if (!vm.ready(report)) return;
      vm.set(Field32::ple_gap, gap);
      vm.set(Field32::ple_window, window);
      if (!vm.run(report, tm_pauses.code, reason) || reason != ExitReason::pause) return;
      report.equal("rip - instruction", vm.exit().rip - reinterpret_cast<uint64_t>(tm_pauses.at),
                   0u);
    });
  };
  test("window_exceeded", ~0u, 1, ExitReason::pause);
  test("every_pause_is_the_first", 0, 0, ExitReason::vmcall);
  test("window_not_exceeded", ~0u, ~0u, ExitReason::vmcall);
}

}  // namespace

void test_guest_time(Tap& tap, Lab& lab) {
  tsc(tap, lab);
  pause_loop(tap, lab);
}

}  // namespace cupel::metal
