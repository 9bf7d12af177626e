#include <gtest/gtest.h>

#include "tests/cluster/cluster_rig.h"

namespace cupel::cluster::testing {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr uint64_t kSeeds = 20;  // fifty times slower: memory errors show in any of them
#else
constexpr uint64_t kSeeds = 200;
#endif

std::string list(const Monitor& monitor) {
  std::string text;
  for (const auto& v : monitor.violations) text += v + "\n";
  return text;
}

void expect_sound(Rig& rig) {
  rig.check_acknowledged_writes();
  EXPECT_TRUE(rig.monitor.violations.empty()) << "seed " << rig.options.seed << "\n"
                                              << list(rig.monitor);
}

// Detection: lease duration, plus the round in which the last renewal was seen and the one in
// which its end is noticed; then the take-over itself.
constexpr Nanoseconds kRestartBound = 8_s + 500_ms + 500_ms + 1_s;

TEST(Failover, StartsOnceAtItsFirstHost) {
  Rig rig({});
  rig.run_for(20_s);
  EXPECT_EQ(rig.host_running("web"), 1);
  EXPECT_EQ(rig.count("ha.power_on"), 1u);
  EXPECT_EQ(rig.count("ha.restart"), 0u);
  EXPECT_GT(rig.seen["web"].acknowledged, 100u);
  expect_sound(rig);
}

TEST(Failover, PowerLossGivesExactlyOneRestartWithinTheBound) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Rig rig({.seed = seed});
    rig.run_for(10_s + Nanoseconds(static_cast<int64_t>(seed * 37'000'000)));
    rig.host(1).hardware.power_loss(Nanoseconds::max());
    rig.run_for(40_s);
    EXPECT_EQ(rig.count("ha.restart"), 1u) << seed;
    EXPECT_EQ(rig.host_running("web"), 2) << seed;
    EXPECT_LE(rig.time_of("ha.restart") - rig.time_of("power.lost"), kRestartBound) << seed;
    EXPECT_GE(rig.count("ha.heartbeat_lost"), 2u);
    expect_sound(rig);
  }
}

TEST(Failover, HostThatComesBackDoesNotTakeTheVmBack) {
  Rig rig({});
  rig.run_for(10_s);
  rig.host(1).hardware.power_loss(5_s);
  rig.run_for(120_s);
  EXPECT_EQ(rig.host_running("web"), 2);
  EXPECT_GE(rig.count("ha.heartbeat_back"), 2u);
  expect_sound(rig);
}

TEST(Failover, HangOfAnyLengthNeverGivesTwoOwners) {
  unsigned resumed = 0, restarted = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Rig rig({.seed = seed});
    RandomStream when = rig.random.stream("test/hang");
    rig.run_for(Nanoseconds(static_cast<int64_t>(when.uniform(8'000'000'000, 12'000'000'000))));
    rig.host(1).hardware.hang(
        Nanoseconds(static_cast<int64_t>(when.uniform(1'000'000'000, 20'000'000'000))));
    rig.run_for(60_s);
    EXPECT_NE(rig.host_running("web"), 0) << seed;
    if (rig.count("watchdog.fired") > 0) {
      EXPECT_EQ(rig.count("ha.restart"), 1u) << seed;
      ++restarted;
    } else {
      EXPECT_EQ(rig.host_running("web"), 1) << seed;
      ++resumed;
    }
    expect_sound(rig);
  }
  EXPECT_GT(resumed, kSeeds / 20);
  EXPECT_GT(restarted, kSeeds / 20);
}

// What fencing alone is worth: the hung host comes back and still believes in its VM for a moment,
// but nothing it writes reaches the disk any more.
TEST(Failover, WithoutAWatchdogALongHangGivesTwoOwnersButNoLateWrite) {
  Rig rig({.use_watchdog = false});
  rig.run_for(10_s);
  rig.host(1).hardware.hang(20_s);
  rig.run_for(60_s);
  rig.check_acknowledged_writes();
  ASSERT_EQ(rig.monitor.violations.size(), 1u) << list(rig.monitor);
  EXPECT_NE(rig.monitor.violations[0].find("while it runs on host-1"), std::string::npos);
  EXPECT_EQ(rig.host_running("web"), 2);
}

// Even with the other hosts hanging as well and paths going up and down.
TEST(Failover, RandomFaultsNeverBreakSafety) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Rig rig({.seed = seed, .vms = {"web", "db", "mail", "ci"}});
    RandomStream draw = rig.random.stream("test/faults");
    rig.run_for(8_s);
    for (int i = 0; i < 6; ++i) {
      auto& host = rig.host(static_cast<uint16_t>(draw.uniform(1, 3)));
      const Nanoseconds time(static_cast<int64_t>(draw.uniform(100'000'000, 15'000'000'000)));
      switch (draw.uniform(0, 6)) {
        case 0:
          host.hardware.power_loss(time);
          break;
        case 1:
          host.hardware.hang(time);
          break;
        case 2:
          host.hardware.nic_link_down(0, time);
          break;
        case 3:
          host.disk.port().set_path(false);
          rig.queue.after(time, [&host] { host.disk.port().set_path(true); });
          break;
        case 4:
          host.disk.port().delay_path(time, rig.queue.now() + time);
          break;
        case 5:
          rig.lun.faults().add({.probability = 0.3, .until = rig.queue.now() + time});
          break;
        default:
          rig.lun.power_cut(time);
          break;
      }
      rig.run_for(Nanoseconds(static_cast<int64_t>(draw.uniform(0, 12'000'000'000))));
    }
    rig.run_for(150_s);
    for (const auto& vm : rig.options.vms) EXPECT_NE(rig.host_running(vm), 0) << vm << seed;
    expect_sound(rig);
  }
}

TEST(Failover, NicLossAloneRestartsNothing) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Rig rig({.seed = seed});
    rig.run_for(10_s);
    rig.host(1).hardware.nic_link_down(0, 60_s);
    rig.run_for(100_s);
    EXPECT_EQ(rig.host_running("web"), 1);
    EXPECT_GE(rig.count("ha.heartbeat_lost"), 2u);
    EXPECT_GE(rig.count("ha.isolated"), 1u);
    EXPECT_EQ(rig.count("ha.restart"), 0u);
    EXPECT_EQ(rig.count("lease.lost"), 0u);
    expect_sound(rig);
  }
}

TEST(Failover, IsolationResponsePowerOffMovesTheVm) {
  Rig rig({.isolation = IsolationResponse::power_off});
  rig.run_for(10_s);
  rig.host(1).hardware.nic_link_down(0, 60_s);
  rig.run_for(10_s);
  EXPECT_EQ(rig.host_running("web"), 2);
  EXPECT_EQ(rig.count("lease.released"), 1u);
  EXPECT_EQ(rig.count("ha.restart"), 1u);
  rig.run_for(80_s);
  EXPECT_EQ(rig.host_running("web"), 2);
  expect_sound(rig);
}

TEST(Failover, DiskPathLossMakesTheOwnerFenceItselfAndAnotherRestart) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Rig rig({.seed = seed});
    rig.run_for(10_s + Nanoseconds(static_cast<int64_t>(seed * 91'000'000)));
    rig.port(1).set_path(false);
    rig.run_for(40_s);
    EXPECT_EQ(rig.host_running("web"), 2) << seed;
    EXPECT_EQ(rig.count("ha.self_fence"), 1u) << seed;
    EXPECT_EQ(rig.count("watchdog.fired"), 0u) << "software was in time";
    EXPECT_LT(rig.time_of("ha.self_fence"), rig.time_of("ha.restart")) << seed;
    rig.port(1).set_path(true);
    rig.run_for(20_s);
    EXPECT_EQ(rig.host_running("web"), 2) << seed;
    expect_sound(rig);
  }
}

TEST(Failover, NextHostStepsInWhenTheFirstIsDeadToo) {
  Rig rig({});
  rig.run_for(10_s);
  rig.host(1).hardware.power_loss(Nanoseconds::max());
  rig.host(2).hardware.power_loss(Nanoseconds::max());
  rig.run_for(20_s);
  EXPECT_EQ(rig.host_running("web"), 3);
  expect_sound(rig);
}

TEST(Failover, AllHostsLosePowerAndTheVmComesBack) {
  Rig rig({});
  rig.run_for(10_s);
  for (uint16_t n = 1; n <= 3; ++n) rig.host(n).hardware.power_loss(10_s);
  rig.run_for(120_s);
  EXPECT_NE(rig.host_running("web"), 0);
  EXPECT_EQ(rig.count("ha.restart"), 1u);
  expect_sound(rig);
}

TEST(Failover, DestroyedLeaseRecordStopsRestartsButCrashesNothing) {
  Rig rig({});
  rig.run_for(10_s);
  rig.host(1).hardware.power_loss(Nanoseconds::max());
  RandomStream noise = rig.random.stream("test/noise");
  std::vector<std::byte> garbage(kSectorSize);
  for (auto& b : garbage) b = static_cast<std::byte>(noise.bits());
  rig.lun.medium().write(datastore::lease_of(VmId{0}), garbage, true);
  rig.run_for(60_s);
  EXPECT_EQ(rig.host_running("web"), 0);
  EXPECT_EQ(rig.count("lease.corrupt"), 2u);
  expect_sound(rig);
}

TEST(Failover, PowerOffFreesTheLeaseAndNobodyRestarts) {
  Rig rig({});
  rig.run_for(10_s);
  rig.host(1).agent->power_off("web");
  rig.run_for(30_s);
  EXPECT_EQ(rig.host_running("web"), 0);
  EXPECT_EQ(rig.count("ha.restart"), 0u);
  rig.host(3).agent->power_on("web");
  rig.run_for(5_s);
  EXPECT_EQ(rig.host_running("web"), 3);
  expect_sound(rig);
}

TEST(Failover, PresetsRecoverWithinTheirOwnBounds) {
  for (const auto& [name, bound] : {std::pair{"vi3", 19_s}, std::pair{"sanlock", 152_s}}) {
    Rig rig({.timings = *timings_preset(name)});
    rig.run_for(60_s);
    rig.host(1).hardware.power_loss(Nanoseconds::max());
    rig.run_for(200_s);
    EXPECT_EQ(rig.host_running("web"), 2) << name;
    EXPECT_LE(rig.time_of("ha.restart") - rig.time_of("power.lost"), bound) << name;
    expect_sound(rig);
  }
}

uint64_t digest(uint64_t seed) {
  Rig rig({.seed = seed, .vms = {"web", "db"}});
  rig.run_for(10_s);
  rig.host(1).hardware.hang(30_s);
  rig.run_for(60_s);
  return rig.trace.digest();
}

TEST(Failover, SameSeedSameTraceOtherSeedOther) {
  EXPECT_EQ(digest(5), digest(5));
  EXPECT_NE(digest(5), digest(6));
}

}  // namespace
}  // namespace cupel::cluster::testing
