// Scenarios with less than the usual: no disk, no network, no high availability.
#include <gtest/gtest.h>

#include "tests/scenarios/scenario_rig.h"

namespace cupel::scenarios::testing {
namespace {

Scenario one_image_vm(const std::string& command_line) {
  Scenario scenario = quiet(3_s);
  VmSpec& vm = scenario.vms.front();
  vm.guest = {GuestKind::image, guest_assets().workload, {}, command_line};
  vm.ha = false;
  vm.disk.reset();
  vm.nic.reset();
  return scenario;
}

TEST(Topology, AVmWithoutDiskRunsOnAHostWithSharedStorage) {
  const RunResult result = run(one_image_vm("mode=hello"));
  EXPECT_NE(result.consoles.at("web").find("WORKLOAD hello"), std::string::npos);
  EXPECT_TRUE(result.as_expected) << explain(result);
}

TEST(Topology, WithoutSharedStorageAVmRunsWithoutALease) {
  Scenario scenario = one_image_vm("mode=hello");
  scenario.disks.clear();
  const RunResult result = run(scenario);
  EXPECT_NE(result.consoles.at("web").find("WORKLOAD hello"), std::string::npos);
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 1u);
}

TEST(Topology, AHostWithoutNicRunsItsVms) {
  Scenario scenario = quiet(5_s);
  scenario.hosts.resize(1);
  scenario.hosts.front().nics.clear();
  scenario.vms.front().ha = false;
  scenario.oracles.pop_back();
  const RunResult result = run(scenario);
  EXPECT_NE(result.consoles.at("web").find("WORKLOAD acked="), std::string::npos);
  EXPECT_EQ(figure(result, "client_answers"), 0);
  EXPECT_TRUE(result.as_expected) << explain(result);
}

TEST(Topology, AVmWithoutHighAvailabilityStaysDownWithItsHost) {
  Scenario scenario = quiet(40_s);
  VmSpec lone = scenario.vms.front();
  lone.name = "lone";
  lone.ha = false;
  lone.nic->ip[3] = 77;
  lone.nic->mac[5] = 77;
  scenario.vms.push_back(lone);
  scenario.faults.push_back(fault(FaultId::host_power_loss, "host-a", 5_s));
  const RunResult result = run(scenario);
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 2u);
  EXPECT_EQ(count_events(result, "vm/lone", "vm.started"), 1u);
  EXPECT_TRUE(result.as_expected) << explain(result);
}

TEST(Topology, AVmWithoutHighAvailabilityStaysDownWhenItsHostIsBack) {
  Scenario scenario = quiet(100_s);
  scenario.vms.front().ha = false;
  scenario.faults.push_back(fault(FaultId::host_power_loss, "host-a", 5_s, 1_s));
  const RunResult result = run(scenario);
  EXPECT_EQ(count_events(result, "host-a", "host.booted"), 2u);
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 1u);
  EXPECT_NE(explain(result).find("web has no high availability"), std::string::npos)
      << explain(result);
  EXPECT_TRUE(result.as_expected) << explain(result);
}

TEST(Topology, AVmThatDoesNotStartByItselfStaysOff) {
  Scenario scenario = quiet(3_s);
  scenario.vms.front().autostart = false;
  const RunResult result = run(scenario);
  EXPECT_EQ(count_events(result, "vm/web", "vm.started"), 0u);
  EXPECT_TRUE(result.as_expected) << explain(result);
}

TEST(Topology, DisksThatFillTheSharedOneFit) {
  Scenario scenario = quiet(3_s);
  scenario.disks.front().size = 1_MiB;
  scenario.vms.front().disk->size = 512_KiB;
  VmSpec second = scenario.vms.front();
  second.name = "second";
  second.nic->ip[3] = 78;
  second.nic->mac[5] = 78;
  scenario.vms.push_back(second);
  const RunResult result = run(scenario);
  EXPECT_EQ(count_events(result, "vm/second", "vm.answering"), 1u) << explain(result);
}

TEST(Topology, AMissingKernelIsToldBeforeAnythingRuns) {
  Scenario scenario = one_image_vm("");
  scenario.vms.front().guest.kernel = "/nonexistent/kernel";
  const auto result = try_run(scenario);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().kind, ErrorKind::bad_input);
  EXPECT_NE(result.error().message.find("/nonexistent/kernel"), std::string::npos);
}

}  // namespace
}  // namespace cupel::scenarios::testing
