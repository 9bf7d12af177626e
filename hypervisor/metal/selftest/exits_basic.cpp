// Instructions that cause VM exits unconditionally or by a control bit.
// SDM vol. 3C, "Instructions That Cause VM Exits".
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using x86::ExitReason;

CUPEL_GUEST(guest_cpuid, "mov $1, %eax", "cpuid", "");

}  // namespace

void test_exits_basic(Tap& tap, Lab& lab) {
  tap.test("exit", "cpuid", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    if (!vm.run(report, guest_cpuid.code, ExitReason::cpuid)) return;
    const ExitRecord exit = vm.exit();
    report.equal("instruction length", exit.length, guest_cpuid.length());
    report.equal("rip - instruction", exit.rip - reinterpret_cast<uint64_t>(guest_cpuid.at), 0ul);
    vm.skip_instruction();
    vm.run_on(report, ExitReason::vmcall);
  });
}

}  // namespace cupel::metal
