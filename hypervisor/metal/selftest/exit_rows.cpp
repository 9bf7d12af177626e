#include "hypervisor/metal/selftest/exit_rows.h"

namespace cupel::metal {
namespace {

constexpr uint32_t kValid = 1u << 31;

void check(Report& report, TestVm& vm, const ExitRow& row) {
  const ExitRecord exit = vm.exit();
  report.equal("qualification", exit.qualification, row.qualification);
  report.equal("rip - instruction", exit.rip - reinterpret_cast<uint64_t>(row.code.at), 0u);
  report.equal("instruction length", exit.length, row.code.length());
  report.equal("instruction information", exit.instruction_info & row.info_mask, row.info);
  report.equal("interruption valid", (exit.interruption & kValid) != 0, false);
  report.equal("IDT-vectoring valid", (exit.vectoring & kValid) != 0, false);
}

}  // namespace

void test_rows(Tap& tap, Lab& lab, const char* group, std::span<const ExitRow> rows) {
  for (const ExitRow& row : rows) {
    tap.test(group, row.name, [&](Report& report) {
      if (row.available != nullptr && !row.available(lab)) return report.skip("not offered");
      TestVm vm(lab, row.controls);
      if (!vm.ready(report)) return;
      if (row.prepare != nullptr) row.prepare(vm);
      if (!vm.run(report, row.code.code, row.reason)) return;
      check(report, vm, row);
      vm.skip_instruction();
      vm.run_on(report, x86::ExitReason::vmcall);
    });
  }
}

}  // namespace cupel::metal
