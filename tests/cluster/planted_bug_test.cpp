// Each planted bug must be seen by the monitor, and the same run without it must not be.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/cluster/cluster_rig.h"

namespace cupel::cluster::testing {
namespace {

using datastore::PlantedBug;

bool violated(Rig& rig, std::string_view what) {
  rig.check_acknowledged_writes();
  return std::ranges::any_of(rig.monitor.violations, [&](const std::string& v) {
    return v.find(what) != std::string::npos;
  });
}

bool two_owners_after_a_short_hang(PlantedBug bug) {
  Rig rig({.bug = bug});
  rig.run_for(10_s);
  rig.host(1).hardware.hang(3500_ms);
  rig.run_for(20_s);
  return violated(rig, "while it runs on");
}

TEST(PlantedBug, BreakLeaseEarlyGivesTwoOwners) {
  EXPECT_FALSE(two_owners_after_a_short_hang(PlantedBug::none));
  EXPECT_TRUE(two_owners_after_a_short_hang(PlantedBug::break_lease_early));
}

// The owner's commands are held up in the fabric until after another host has taken over.
bool late_write_reaches_the_disk(PlantedBug bug) {
  Rig rig({.bug = bug});
  rig.run_for(10_s);
  rig.port(1).delay_path(20_s, rig.queue.now() + 30_s);
  rig.run_for(60_s);
  EXPECT_EQ(rig.host_running("web"), 2);
  return violated(rig, "late write");
}

TEST(PlantedBug, SkipFencingLetsAnOldOwnersWriteThrough) {
  EXPECT_FALSE(late_write_reaches_the_disk(PlantedBug::none));
  EXPECT_TRUE(late_write_reaches_the_disk(PlantedBug::skip_fencing));
}

bool host_crash_loses_acknowledged_writes(PlantedBug bug) {
  Rig rig({.bug = bug});
  rig.run_for(10_s);
  rig.host(1).hardware.power_loss(Nanoseconds::max());
  rig.run_for(20_s);
  EXPECT_EQ(rig.host_running("web"), 2);
  return violated(rig, "lost acknowledged");
}

TEST(PlantedBug, AckBeforeFlushLosesAcknowledgedWritesAtAHostCrash) {
  EXPECT_FALSE(host_crash_loses_acknowledged_writes(PlantedBug::none));
  EXPECT_TRUE(host_crash_loses_acknowledged_writes(PlantedBug::ack_before_flush));
}

bool recovers(PlantedBug bug) {
  Rig rig({.bug = bug});
  rig.run_for(10_s);
  rig.host(1).hardware.power_loss(Nanoseconds::max());
  rig.run_for(60_s);
  return rig.host_running("web") != 0;
}

TEST(PlantedBug, NoRestartLeavesTheVmDead) {
  EXPECT_TRUE(recovers(PlantedBug::none));
  EXPECT_FALSE(recovers(PlantedBug::no_restart));
}

TEST(PlantedBug, NamesGoBothWays) {
  for (auto bug : {PlantedBug::none, PlantedBug::break_lease_early, PlantedBug::skip_fencing,
                   PlantedBug::ack_before_flush, PlantedBug::no_restart}) {
    EXPECT_EQ(datastore::planted_bug_from(to_string(bug)), bug);
  }
  EXPECT_FALSE(datastore::planted_bug_from("other"));
}

}  // namespace
}  // namespace cupel::cluster::testing
