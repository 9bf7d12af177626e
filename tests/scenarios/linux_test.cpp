// The Linux guest on the software model.
#include <gtest/gtest.h>

#include "scenarios/runner/guest_assets.h"
#include "scenarios/session/console_session.h"
#include "tests/scenarios/scenario_rig.h"

namespace cupel::scenarios::testing {
namespace {

struct Boot {
  std::string console;
  uint64_t exits = 0;
  Nanoseconds end;
};

Boot boot_to_the_end() {
  const GuestAssets assets = guest_assets();
  auto session =
      ConsoleSession::create({.kernel = assets.linux_kernel,
                              .initrd = assets.linux_initrd,
                              .command_line = linux_command_line() + " quiet cupel.mode=bench"});
  EXPECT_TRUE(session.ok()) << describe(session.error());
  Boot boot;
  while (!(*session)->ended() && (*session)->clock().now() < 60_s) {
    (*session)->step(10_ms);
    boot.console += (*session)->take_output();
  }
  boot.exits = (*session)->vm().vcpu().exits().total;
  boot.end = (*session)->clock().now();
  return boot;
}

TEST(Linux, BootsToTheEndOfItsInitScriptTheSameWayTwice) {
  if (guest_assets().linux_kernel.empty()) GTEST_SKIP() << "no Linux guest in build/cache/linux";
  const Boot first = boot_to_the_end();
  EXPECT_NE(first.console.find("CUPEL-LINUX init-done"), std::string::npos) << first.console;
  const Boot second = boot_to_the_end();
  EXPECT_EQ(first.console, second.console);
  EXPECT_EQ(first.exits, second.exits);
  EXPECT_EQ(first.end, second.end);
}

TEST(Linux, SurvivesTheCrashOfItsHost) {
  if (guest_assets().linux_kernel.empty()) GTEST_SKIP() << "no Linux guest in build/cache/linux";
  const RunResult result = run(library("host-crash"));
  EXPECT_TRUE(result.as_expected) << explain(result);
  EXPECT_EQ(verdict_of(result, "recovery_within"), Verdict::pass) << explain(result);
  EXPECT_EQ(figure(result, "writes_lost"), 0);
  EXPECT_EQ(count_events(result, "vm/web", "vm.answering"), 2u);
}

}  // namespace
}  // namespace cupel::scenarios::testing
