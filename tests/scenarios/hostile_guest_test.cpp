// A guest that misbehaves beside one that does not: the run ends, says what happened, and the other
// VM's results are what they would have been.
#include <gtest/gtest.h>

#include "tests/scenarios/scenario_rig.h"

namespace cupel::scenarios::testing {
namespace {

Scenario beside_web(const std::string& command_line, Nanoseconds duration) {
  Scenario scenario = quiet(duration);
  VmSpec bad = scenario.vms.front();
  bad.name = "bad";
  bad.guest = {GuestKind::image, guest_assets().workload, {}, command_line};
  bad.nic->ip[3] = 66;
  bad.nic->mac[5] = 66;
  scenario.vms.push_back(bad);
  return scenario;
}

void expect_web_unharmed(const RunResult& result, Nanoseconds duration) {
  EXPECT_NE(result.consoles.at("web").find("WORKLOAD acked="), std::string::npos);
  EXPECT_EQ(count_events(result, "vm/web", "vm.down"), 0u);
  EXPECT_EQ(count_events(result, "vm/web", "vm.answering"), 1u);
  EXPECT_EQ(verdict_of(result, "no_acknowledged_write_lost"), Verdict::pass) << explain(result);
  EXPECT_EQ(verdict_of(result, "single_instance"), Verdict::pass) << explain(result);
  EXPECT_GT(figure(result, "writes_acknowledged"), (duration.seconds() - 1) * 100);
  EXPECT_EQ(result.duration, duration);
}

TEST(HostileGuest, TripleFaultIsToldAndFailsTheRun) {
  const RunResult result = run(beside_web("mode=triple", 5_s));
  EXPECT_EQ(verdict_of(result, "no_guest_failure"), Verdict::fail);
  EXPECT_EQ(result.verdict, Verdict::fail);
  EXPECT_EQ(count_events(result, "vm/bad", "vm.crash"), 1u);
  EXPECT_EQ(count_events(result, "vm/bad", "vm.stopped"), 1u);
  const auto text = explain(result);
  EXPECT_NE(text.find("VM bad on host-a crashed: "), std::string::npos) << text;
  EXPECT_NE(text.find("triple fault"), std::string::npos) << text;
  EXPECT_NE(result.consoles.at("bad").find("WORKLOAD up mode=triple"), std::string::npos);
  expect_web_unharmed(result, 5_s);
}

TEST(HostileGuest, SpinningWithInterruptsOffIsNoticedByItsSilence) {
  Scenario scenario = beside_web("mode=cli-spin", 3_s);
  scenario.oracles.back().parameters.set("bound", Nanoseconds(1_s));
  const RunResult result = run(scenario);
  EXPECT_EQ(verdict_of(result, "recovery_within"), Verdict::fail);
  EXPECT_NE(explain(result).find("VM bad was started at"), std::string::npos) << explain(result);
  EXPECT_NE(explain(result).find("has never answered"), std::string::npos) << explain(result);
  expect_web_unharmed(result, 3_s);
}

TEST(HostileGuest, GarbageInVirtioRingsHarmsNobody) {
  for (int seed = 1; seed <= 3; ++seed) {
    const RunResult result =
        run(beside_web("mode=garbage-rings iters=60 seed=" + std::to_string(seed), 4_s));
    EXPECT_NE(result.consoles.at("bad").find("WORKLOAD garbage-rings iters=60"), std::string::npos)
        << result.consoles.at("bad");
    EXPECT_EQ(verdict_of(result, "no_guest_failure"), Verdict::not_judged) << explain(result);
    expect_web_unharmed(result, 4_s);
  }
}

TEST(HostileGuest, AFailingExitIsToldWithItsStatus) {
  const RunResult result = run(beside_web("mode=nonsense", 3_s));
  EXPECT_NE(explain(result).find("VM bad on host-a ended with status 1"), std::string::npos)
      << explain(result);
  expect_web_unharmed(result, 3_s);
}

TEST(HostileGuest, AnOrderlyExitIsNoFailure) {
  Scenario scenario = beside_web("mode=hello", 3_s);
  scenario.vms.back().nic.reset();
  const RunResult result = run(scenario);
  EXPECT_TRUE(result.as_expected) << explain(result);
  EXPECT_EQ(event(result, "vm/bad", "vm.stopped").detail, "host-a ended by itself");
}

}  // namespace
}  // namespace cupel::scenarios::testing
