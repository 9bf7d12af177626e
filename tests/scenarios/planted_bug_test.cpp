// Each planted bug is caught, by the oracle that it concerns, where the sound hypervisor passes.
#include <gtest/gtest.h>

#include "tests/scenarios/scenario_rig.h"

namespace cupel::scenarios::testing {
namespace {

using datastore::PlantedBug;

void expect_caught(const char* scenario, PlantedBug bug, const char* oracle) {
  const RunResult sound = run(library(scenario));
  EXPECT_NE(sound.verdict, Verdict::fail) << explain(sound);
  const RunResult broken = run(library(scenario), {.planted = bug});
  EXPECT_EQ(verdict_of(broken, oracle), Verdict::fail) << explain(broken);
  EXPECT_EQ(broken.verdict, Verdict::fail);
  EXPECT_FALSE(broken.as_expected);
  EXPECT_GE(count_events(broken, std::string("oracle/") + oracle, "oracle.violation"), 1u);
}

TEST(PlantedBug, BreakLeaseEarlyRunsTheVmTwice) {
  expect_caught("short-hang", PlantedBug::break_lease_early, "single_instance");
}
TEST(PlantedBug, SkipFencingLetsOldWritesDestroyNewOnes) {
  expect_caught("slow-path", PlantedBug::skip_fencing, "no_acknowledged_write_lost");
}
TEST(PlantedBug, AckBeforeFlushLosesAcknowledgedWrites) {
  expect_caught("host-crash-workload", PlantedBug::ack_before_flush, "no_acknowledged_write_lost");
}
TEST(PlantedBug, NoRestartLeavesTheVmDown) {
  expect_caught("host-crash-workload", PlantedBug::no_restart, "recovery_within");
}

}  // namespace
}  // namespace cupel::scenarios::testing
