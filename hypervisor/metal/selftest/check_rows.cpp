#include "hypervisor/metal/selftest/check_rows.h"

namespace cupel::metal {
namespace {

using namespace x86;

constexpr uint32_t kInvalidControls = 7, kInvalidHostState = 8;

CUPEL_GUEST(check_guest, "", "", "");

// A preemption timer of 0 exits before the guest's first instruction, so that the state need not
// be one that code can run in.
Controls with_timer(Lab& lab, Controls controls) {
  Controls timed = controls;
  timed.pin |= pin::preemption_timer;
  return lab.offers(timed) ? timed : controls;
}

void expect_failure(Report& report, TestVm& vm, CheckStage stage, uint8_t qualification) {
  const Outcome got = vm.launch_here();
  if (stage != CheckStage::guest) {
    report.equal("broken", got,
                 fail_valid(stage == CheckStage::controls ? kInvalidControls : kInvalidHostState));
    return;
  }
  if (!report.equal("broken", got, kSucceed)) return;
  const ExitRecord exit = vm.exit();
  report.equal("broken: entry failure", exit.entry_failure(), true);
  report.equal("broken: exit reason", exit.basic(), ExitReason::entry_failure_guest_state);
  report.equal("broken: qualification", exit.qualification, qualification);
}

void expect_success(Report& report, TestVm& vm) {
  const Outcome got = vm.launch_here();
  if (!report.equal("passing", got, kSucceed)) return;
  const ExitRecord exit = vm.exit();
  // The reason first: it says why, when the entry failed.
  if (exit.entry_failure())
    report.equal("passing: entry failure", exit.basic(), ExitReason::vmcall);
}

void test_row(Report& report, Lab& lab, CheckStage stage, const CheckRow& row) {
  if (row.available != nullptr && !row.available(lab)) return report.skip("not offered");
  const Controls controls = with_timer(lab, row.controls);
  TestVm broken(lab, controls);
  if (!broken.ready(report)) return;
  broken.set(FieldN::guest_rip, reinterpret_cast<uint64_t>(check_guest.code));
  if (row.base != nullptr) row.base(broken);
  row.broken(broken);
  expect_failure(report, broken, stage, row.qualification);

  TestVm passing(lab, controls);
  passing.set(FieldN::guest_rip, reinterpret_cast<uint64_t>(check_guest.code));
  if (row.base != nullptr) row.base(passing);
  if (row.passing != nullptr) row.passing(passing);
  expect_success(report, passing);
}

}  // namespace

void test_check_rows(Tap& tap, Lab& lab, CheckStage stage, std::span<const CheckRow> rows) {
  for (const CheckRow& row : rows) {
    tap.test("check", row.id, [&](Report& report) { test_row(report, lab, stage, row); });
  }
}

}  // namespace cupel::metal
