// What each fault does to a VM and its cluster.
#include <gtest/gtest.h>

#include "tests/scenarios/scenario_rig.h"

namespace cupel::scenarios::testing {
namespace {

Scenario with(FaultSpec fault, Nanoseconds duration) {
  Scenario scenario = quiet(duration);
  scenario.faults.push_back(std::move(fault));
  return scenario;
}

TEST(HostHang, ShorterThanTheLeaseLeavesTheVmWhereItIs) {
  const RunResult result = run(with(fault(FaultId::host_hang, "host-a", 5_s, 3_s), 20_s));
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 1u);
  EXPECT_EQ(event(result, "host-a", "host.resumed").at, 8_s);
  EXPECT_EQ(event(result, "host-a", "fault.end").at, 8_s);
  EXPECT_GE(figure(result, "outage_s"), 2.9);
  EXPECT_LT(figure(result, "outage_s"), 3.3);
  EXPECT_TRUE(result.as_expected) << explain(result);
}

TEST(HostHang, LongerThanTheLeaseRestartsTheVmOnce) {
  const RunResult result = run(with(fault(FaultId::host_hang, "host-a", 5_s, 90_s), 110_s));
  EXPECT_EQ(event(result, "host-a", "host.reset").detail, "watchdog");
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 2u);
  EXPECT_EQ(verdict_of(result, "single_instance"), Verdict::pass);
  EXPECT_EQ(verdict_of(result, "recovery_within"), Verdict::pass);
  EXPECT_TRUE(result.as_expected) << explain(result);
}

TEST(PowerLoss, AHostThatComesBackJoinsTheOthers) {
  const RunResult result = run(with(fault(FaultId::host_power_loss, "host-a", 5_s, 2_s), 100_s));
  EXPECT_EQ(event(result, "host-a", "fault.end").at, 7_s);
  EXPECT_EQ(count_events(result, "host-a", "host.booted"), 2u);
  EXPECT_EQ(count_events(result, "host-b", "ha.heartbeat_back"), 1u);
  EXPECT_EQ(count_events(result, "host-a", "ha.ready"), 2u);
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 2u);
  EXPECT_TRUE(result.as_expected) << explain(result);
}

TEST(PowerLoss, OneHostAfterTheOtherIsSurvivedAsLongAsOneIsLeft) {
  Scenario scenario = quiet(100_s);
  scenario.faults.push_back(fault(FaultId::host_power_loss, "host-a", 5_s));
  scenario.faults.push_back(fault(FaultId::host_power_loss, "host-b", 35_s));
  const RunResult result = run(scenario);
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 3u);
  EXPECT_EQ(count_events(result, "host-c", "ha.restart"), 1u);
  EXPECT_TRUE(result.as_expected) << explain(result);
}

TEST(PowerLoss, OfEveryHostIsBeyondTheDesignUntilTheyAreBack) {
  Scenario scenario = quiet(120_s);
  for (const char* host : {"host-a", "host-b", "host-c"})
    scenario.faults.push_back(fault(FaultId::host_power_loss, host, 5_s, 1_s));
  const RunResult result = run(scenario);
  EXPECT_GT(figure(result, "outage_s"), 60.0);
  EXPECT_NE(verdict_of(result, "recovery_within"), Verdict::fail) << explain(result);
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 2u);
  EXPECT_EQ(figure(result, "writes_lost"), 0);
}

TEST(NicLoss, LeavesTheVmRunningAndUnreachable) {
  const RunResult result = run(with(fault(FaultId::nic_link_down, "host-a/nic0", 5_s, 6_s), 30_s));
  EXPECT_EQ(event(result, "host-a/nic0", "fault.nic.link_down").at, 5_s);
  EXPECT_EQ(event(result, "host-a/nic0", "fault.end").at, 11_s);
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 1u);
  EXPECT_GE(figure(result, "outage_s"), 5.9);
  EXPECT_LT(figure(result, "outage_s"), 6.3);
  EXPECT_TRUE(result.as_expected) << explain(result);
}

TEST(DiskErrors, ReachTheGuestWhichTriesAgain) {
  FaultSpec spec = fault(FaultId::disk_io_errors, "shared", 5_s, 2_s);
  spec.parameters.set("probability", 0.3);
  spec.parameters.set("operation", std::string("write"));
  const RunResult result = run(with(spec, 15_s));
  EXPECT_NE(result.consoles.at("web").find("WORKLOAD error seq="), std::string::npos);
  EXPECT_EQ(event(result, "disk/shared", "fault.disk.io_errors").detail,
            "for 2s, probability 0.3, operation write");
  EXPECT_EQ(figure(result, "writes_lost"), 0);
  EXPECT_TRUE(result.as_expected) << explain(result);
}

TEST(DiskLoss, ForATimeStopsTheVmAndStartsItAgain) {
  const RunResult result = run(with(fault(FaultId::disk_loss, "shared", 5_s, 20_s), 60_s));
  EXPECT_EQ(event(result, "disk/shared", "disk.returned").at, 25_s);
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 2u) << explain(result);
  EXPECT_EQ(verdict_of(result, "recovery_within"), Verdict::pass) << explain(result);
  EXPECT_EQ(figure(result, "writes_lost"), 0);
}

TEST(DiskLoss, ForGoodIsBeyondTheDesign) {
  const RunResult result = run(with(fault(FaultId::disk_loss, "shared", 5_s), 60_s));
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 1u);
  EXPECT_EQ(verdict_of(result, "recovery_within"), Verdict::not_judged) << explain(result);
}

}  // namespace
}  // namespace cupel::scenarios::testing
