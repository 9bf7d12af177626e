#include "scenarios/language/scenario_loader.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

namespace cupel::scenarios {
namespace {

constexpr const char* kGood = R"(name: small
duration: 30s
seed: 18446744073709551615
hosts:
  - name: host-a
    memory: 1GiB
    cpus: 2
    nics: [{name: nic0, network: lan}]
  - {name: host-b, memory: 1GiB}
network:
  switches: [{name: lan, latency: 20us}]
storage:
  disks: [{name: shared, size: 64MiB, cache: write_through}]
vms:
  - name: web
    host: host-a
    memory: 64MiB
    guest: workload
    workload: {rate: 500/s, report: 50ms}
    disk: {on: shared, size: 16MiB}
    nic: {network: lan, ip: 10.0.0.10, mac: "52:54:00:00:00:0a"}
    ha: true
ha: {lease: 12s}
faults:
  - {at: 5s..6s, kind: nic.link_down, target: host-a/nic0, duration: 2s}
  - at: 8s
    kind: disk.io_errors
    target: shared
    parameters: {probability: 25%, operation: write}
oracles:
  - single_instance
  - kind: recovery_within
    parameters: {bound: 10s}
expect: {verdict: fail}
)";

// kGood with one piece replaced.
std::string with(std::string_view piece, std::string_view other) {
  std::string text = kGood;
  const size_t at = text.find(piece);
  EXPECT_NE(at, std::string::npos) << piece;
  return text.replace(at, piece.size(), other);
}

// All problems, one a line, as a person sees them.
std::string problems(const std::string& text) {
  std::string out;
  for (const auto& problem : load_scenario(text).problems) out += describe(problem, "f") + '\n';
  return out;
}

void expect_problem(const std::string& text, std::string_view expected) {
  const auto loaded = load_scenario(text);
  EXPECT_FALSE(loaded.scenario.has_value()) << expected;
  const auto all = problems(text);
  EXPECT_NE(all.find(expected), std::string::npos) << "expected: " << expected << "\ngot: " << all;
}

TEST(ScenarioLoader, ReadsEveryField) {
  const auto loaded = load_scenario(kGood);
  ASSERT_TRUE(loaded.scenario.has_value()) << problems(kGood);
  EXPECT_TRUE(loaded.problems.empty()) << problems(kGood);
  const Scenario& s = *loaded.scenario;
  EXPECT_EQ(s.name, "small");
  EXPECT_EQ(s.duration, 30_s);
  EXPECT_EQ(s.seed, UINT64_MAX);
  ASSERT_EQ(s.hosts.size(), 2u);
  EXPECT_EQ(s.hosts[0].memory, 1_GiB);
  EXPECT_EQ(s.hosts[0].cpus, 2u);
  EXPECT_EQ(s.hosts[0].nics[0].network, "lan");
  EXPECT_EQ(s.switches[0].latency, 20_us);
  EXPECT_EQ(s.disks[0].cache, DiskCache::write_through);
  const VmSpec& vm = s.vms[0];
  EXPECT_EQ(vm.guest.kind, GuestKind::workload);
  EXPECT_EQ(vm.workload.write_interval, 2_ms);
  EXPECT_EQ(vm.disk->size, 16_MiB);
  EXPECT_EQ(vm.nic->ip, (Ipv4{10, 0, 0, 10}));
  EXPECT_TRUE(vm.ha);
  EXPECT_TRUE(vm.autostart);
  EXPECT_EQ(s.ha->lease, 12_s);
  EXPECT_EQ(s.ha->watchdog, 8_s);
  ASSERT_EQ(s.faults.size(), 2u);
  EXPECT_EQ(s.faults[0].at.earliest, 5_s);
  EXPECT_EQ(s.faults[0].at.latest, 6_s);
  EXPECT_EQ(*s.faults[0].duration, 2_s);
  EXPECT_EQ(find_nic(s, s.faults[0].target).host->name, "host-a");
  EXPECT_DOUBLE_EQ(s.faults[1].parameters.probability("probability"), 0.25);
  EXPECT_EQ(s.faults[1].parameters.choice("operation"), "write");
  EXPECT_EQ(s.oracles[1].parameters.duration("bound"), 10_s);
  EXPECT_FALSE(s.expect_pass);
}

TEST(ScenarioLoader, ReadsAnImageGuest) {
  const auto text =
      with("guest: workload", "guest: {kernel: k, initrd: i, cmdline: console=ttyS0}");
  const auto loaded = load_scenario(text);
  ASSERT_TRUE(loaded.scenario.has_value()) << problems(text);
  EXPECT_EQ(loaded.scenario->vms[0].guest.kind, GuestKind::image);
  EXPECT_EQ(loaded.scenario->vms[0].guest.cmdline, "console=ttyS0");
}

TEST(ScenarioLoader, ErrorsHaveThePlaceAndTheNearestKey) {
  expect_problem(with("memory: 64MiB", "memroy: 64MiB"),
                 "f:17:5: error: unknown key 'memroy' in vms[0]\n  -> did you mean 'memory'?");
  expect_problem(with("seed:", "sed:"), "f:3:1: error: unknown key 'sed'");
  expect_problem(with("kind: disk.io_errors", "kind: disk.io_error"),
                 "f:27:11: error: faults[1].kind cannot be 'disk.io_error'\n  -> did you mean "
                 "'disk.io_errors'?");
  expect_problem(with("probability: 25%", "probabilty: 25%"), "did you mean 'probability'?");
}

TEST(ScenarioLoader, WrongTypesAreNamed) {
  expect_problem(with("duration: 30s", "duration: [30s]"),
                 "duration must be a single value, but is a list");
  expect_problem(with("ha: {lease: 12s}", "ha: 12s"),
                 "ha must be a mapping, but is a single value");
  expect_problem(with("cpus: 2", "cpus: two"), "hosts[0].cpus: 'two' is not a whole number");
  expect_problem(with("ha: true", "ha: maybe"), "vms[0].ha: 'maybe' is neither true nor false");
  expect_problem(with("duration: 30s", "duration: 30"), "duration: '30' has no unit");
  expect_problem(with("name: small", "name: ../x"), "cannot be a name");
  expect_problem("- a\n- b\n", "a scenario is a mapping, but this is a list");
  expect_problem(with("network:\n  switches: [{name: lan, latency: 20us}]",
                      "network:\n  switches: {name: lan}"),
                 "network.switches must be a list, but is a mapping");
}

TEST(ScenarioLoader, MissingAndDoubleKeysAreNamed) {
  expect_problem(with("duration: 30s\n", ""), "the scenario lacks 'duration'");
  expect_problem(with("    host: host-a\n", ""), "f:15:5: error: vms[0] lacks 'host'");
  expect_problem(with("seed:", "name: again\nseed:"), "key 'name' is given twice");
  expect_problem(with("duration: 30s", "duration:"), "duration has no value");
  expect_problem(with("    parameters: {bound: 10s}\n", ""), "oracles[1].parameters lacks 'bound'");
}

TEST(ScenarioLoader, NamesAreUniqueAndExist) {
  expect_problem(with("name: host-b", "name: host-a"), "a second host is named 'host-a'");
  expect_problem(with("    host: host-a", "    host: host-x"),
                 "VM 'web' names host 'host-x', which does not exist\n  -> did you mean 'host-a'?");
  expect_problem(with("on: shared", "on: shard"), "VM 'web' names disk 'shard'");
  expect_problem(with("nic: {network: lan", "nic: {network: wan"), "VM 'web' names switch 'wan'");
  expect_problem(with("target: shared", "target: web"),
                 "fault disk.io_errors names disk 'web', which does not exist");
  expect_problem(with("host-a/nic0", "host-a/nic1"), "did you mean 'host-a/nic0'?");
  expect_problem(with("- single_instance", "- recovery_within"), "oracles[0].parameters lacks");
}

TEST(ScenarioLoader, FaultsLieInsideTheRun) {
  expect_problem(with("at: 8s", "at: -1s"), "a fault cannot be before the run begins");
  expect_problem(with("at: 8s", "at: 30s"), "is not before the end of the run at 30s");
  expect_problem(with("at: 5s..6s", "at: 5s..60s"), "the fault at 1min is not before the end");
  expect_problem(with("at: 5s..6s", "at: 6s..5s"), "ends before it begins");
}

TEST(ScenarioLoader, MemoryFits) {
  expect_problem(with("memory: 64MiB", "memory: 0"), "vms[0].memory is 0B");
  expect_problem(with("memory: 64MiB", "memory: 15MiB"), "it must be from 16MiB to 3584MiB");
  expect_problem(with("memory: 64MiB", "memory: 4GiB"), "it must be from 16MiB to 3584MiB");
  expect_problem(with("memory: 64MiB", "memory: 2GiB"),
                 "VM 'web' has 2GiB of memory, its host 'host-a' only 1GiB");
  expect_problem(with("memory: 64MiB", "memory: -64MiB"), "is negative");
  expect_problem(with("memory: 64MiB", "memory: 67108865B"), "not a multiple of 4KiB");
  expect_problem(with("memory: 64MiB", "memory: 99999999999999999999GiB"), "is too large");
  expect_problem(with("size: 16MiB", "size: 65MiB"), "the VMs' disks on 'shared' need 65MiB");
}

TEST(ScenarioLoader, OneSharedDiskIsAllThereIs) {
  expect_problem(with("disks: [{name: shared, size: 64MiB, cache: write_through}]",
                      "disks: [{name: shared, size: 64MiB}, {name: other, size: 8MiB}]"),
                 "f:13:40: error: a second shared disk, 'other', is not possible yet");
}

TEST(ScenarioLoader, HighAvailabilityNeedsASharedDisk) {
  expect_problem(
      with("  disks: [{name: shared, size: 64MiB, cache: write_through}]", "  disks: []"),
      "VM 'web' has 'ha: true', but there is no shared disk for its lease");
}

TEST(ScenarioLoader, AHostWithoutALinkToItsVmsNetworkIsWarnedAbout) {
  const auto text = problems(with("    nics: [{name: nic0, network: lan}]\n", ""));
  EXPECT_NE(text.find("warning: host 'host-a' has no NIC on 'lan', the network of VM 'web'"),
            std::string::npos)
      << text;
}

TEST(ScenarioLoader, NumbersHaveRanges) {
  expect_problem(with("cpus: 2", "cpus: -2"), "hosts[0].cpus is -2");
  expect_problem(with("cpus: 2", "cpus: 99999999999999999999"), "is too large");
  expect_problem(with("probability: 25%", "probability: 1.5"), "probability is 1.5");
  expect_problem(with("rate: 500/s", "rate: 999999999/s"), "is outside what a guest can do");
  expect_problem(with("duration: 30s", "duration: 0"), "duration is 0ns");
  expect_problem(with("seed: 18446744073709551615", "seed: 18446744073709551616"), "seed:");
  expect_problem(with("ha: {lease: 12s}", "ha: {dead_after: 500ms}"),
                 "ha.dead_after is not longer than ha.heartbeat");
}

TEST(ScenarioLoader, SeveralErrorsComeInOneGo) {
  auto text = with("cpus: 2", "cpus: two");
  text.replace(text.find("500/s"), 5, "never");
  text.replace(text.find("at: 8s"), 6, "at: 99s");
  text += "extra: 1\n";
  const auto all = problems(text);
  EXPECT_LT(all.find("'two'"), all.find("'never'"));
  EXPECT_LT(all.find("'never'"), all.find("99s"));
  EXPECT_LT(all.find("99s"), all.find("'extra'"));
}

TEST(ScenarioLoader, AFloodOfProblemsIsCut) {
  std::string text = kGood;
  for (int i = 0; i < 200; ++i) text += "x" + std::to_string(i) + ": 1\n";
  const auto loaded = load_scenario(text);
  EXPECT_EQ(loaded.problems.size(), Problems::kMost + 1);
  EXPECT_EQ(loaded.problems.back().message, "and 150 more problems");
}

TEST(ScenarioLoader, DoubtfulConfigurationsOnlyWarn) {
  const auto unsafe = load_scenario(with("ha: {lease: 12s}", "ha: {lease: 6s}"));
  ASSERT_TRUE(unsafe.scenario.has_value());
  ASSERT_EQ(unsafe.problems.size(), 1u);
  EXPECT_EQ(unsafe.problems[0].severity, Severity::warning);
  EXPECT_EQ(unsafe.problems[0].message, "ha.watchdog is not shorter than ha.lease");
  EXPECT_TRUE(load_scenario(with("bound: 10s", "bound: 29s")).scenario.has_value());
}

TEST(ScenarioLoader, HostileTextIsQuotedSafely) {
  const auto all = problems(with("cpus: 2", "cpus: \"\\e[2J" + std::string(500, 'x') + '"'));
  EXPECT_EQ(all.find('\x1b'), std::string::npos);
  EXPECT_LT(all.size(), 400u);
}

TEST(ScenarioLoader, EveryPrefixAndEveryLostLineIsHandled) {
  const std::string good = kGood;
  for (size_t n = 0; n < good.size(); n += 3) (void)load_scenario(good.substr(0, n));
  for (size_t start = 0; start < good.size();) {
    const size_t end = good.find('\n', start) + 1;
    (void)load_scenario(good.substr(0, start) + good.substr(end));
    start = end;
  }
}

TEST(ScenarioLoader, FilesThatCannotBeReadAreBadInput) {
  const auto missing = load_scenario_file("/nonexistent/x.yaml");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().kind, ErrorKind::bad_input);
  EXPECT_NE(missing.error().message.find("/nonexistent/x.yaml"), std::string::npos);
  EXPECT_FALSE(load_scenario_file("/").ok());
}

TEST(ScenarioLoader, AFilesErrorsCarryItsName) {
  const std::string path = testing::TempDir() + "cupel_bad.yaml";
  std::ofstream(path) << "name: x\nduratoin: 5s\n";
  const auto loaded = load_scenario_file(path);
  std::remove(path.c_str());
  ASSERT_FALSE(loaded.ok());
  EXPECT_NE(loaded.error().message.find(path + ":2:1: error: unknown key 'duratoin'"),
            std::string::npos)
      << loaded.error().message;
}

}  // namespace
}  // namespace cupel::scenarios
