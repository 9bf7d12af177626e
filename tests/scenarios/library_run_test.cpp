#include <gtest/gtest.h>

#include "tests/scenarios/scenario_rig.h"

namespace cupel::scenarios::testing {
namespace {

class Library : public ::testing::TestWithParam<const char*> {};

TEST_P(Library, GivesTheVerdictItExpects) {
  const Scenario scenario = library(GetParam());
  const RunResult result = run(scenario);
  EXPECT_TRUE(result.as_expected) << explain(result);
  EXPECT_EQ(figure(result, "writes_lost"), 0);
  EXPECT_GT(figure(result, "writes_acknowledged"), 500);
  EXPECT_EQ(result.duration, scenario.duration);
}

TEST_P(Library, HoldsForOtherSeedsToo) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const RunResult result = run(library(GetParam()), {.seed = seed});
    EXPECT_TRUE(result.as_expected) << "seed " << seed << '\n' << explain(result);
  }
}

TEST_P(Library, IsAFunctionOfItsSeed) {
  const Scenario scenario = library(GetParam());
  const uint64_t once = run(scenario, {.seed = 3}).trace_hash;
  EXPECT_EQ(run(scenario, {.seed = 3}).trace_hash, once);
  EXPECT_NE(run(scenario, {.seed = 4}).trace_hash, once);
}

std::string test_name(const ::testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::erase(name, '-');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Workload, Library,
                         ::testing::Values("host-crash-workload", "host-hang", "nic-loss",
                                           "disk-loss", "disk-errors", "short-hang", "slow-path"),
                         test_name);

TEST(LibraryDetail, ASurvivedCrashIsToldInFull) {
  const RunResult result = run(library("host-crash-workload"));
  const auto crash = event(result, "host-a", "fault.host.power_loss");
  const auto restart = event(result, "host-b", "ha.restart");
  EXPECT_EQ(crash.detail, "for good");
  EXPECT_LT(crash.at, restart.at);
  EXPECT_GT(figure(result, "detection_time_s"), 3.9);
  EXPECT_LT(figure(result, "detection_time_s"), 6.1);
  EXPECT_LT(figure(result, "outage_s"), 15.0);
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 2u);
  EXPECT_NE(result.consoles.at("web").find("recovered="), std::string::npos);
  EXPECT_EQ(verdict_of(result, "recovery_within"), Verdict::pass);
}

}  // namespace
}  // namespace cupel::scenarios::testing
