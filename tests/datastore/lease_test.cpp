#include "hypervisor/storage/lease.h"

#include <gtest/gtest.h>

#include "hw_models/platform/host_hardware.h"
#include "hypervisor/storage/datastore.h"

namespace cupel::datastore {
namespace {

struct Node {
  Node(uint16_t n, EventQueue& queue, Trace& trace, storage::SharedDisk& lun, PlantedBug bug)
      : hardware({.name = "host-" + std::to_string(n), .id = HostId{n}}, queue, trace),
        disk(hardware.add_disk(lun.add_port(HostId{n}))),
        self{HostId{n}, ReservationKey{n * 100u}, hardware.name()},
        lease({disk, hardware, trace, self, {}, bug}, lease_of(VmId{0}), VmId{0}, "web",
              [this](BlockStatus why) { lost = why; }) {
    hardware.start_running();
    disk.register_key(self.key, [](BlockStatus) {});
  }
  platform::HostHardware hardware;
  platform::HostDisk& disk;
  HostIdentity self;
  std::optional<BlockStatus> lost;
  Lease lease;
};

class LeaseTest : public ::testing::Test {
 protected:
  explicit LeaseTest(PlantedBug bug = PlantedBug::none)
      : lun({.sectors = 8192}, queue, RandomSource(1), trace),
        a(1, queue, trace, lun, bug),
        b(2, queue, trace, lun, bug),
        c(3, queue, trace, lun, bug) {
    lun.medium().write(Lba(0), format(plan(8192, {{"web", 100}}).value()), true);
    run(1_s);
  }
  void run(Nanoseconds time) { queue.run_until(queue.now() + time); }
  bool poll(Node& n) {
    return finish([&](auto done) { return n.lease.poll(done); });
  }
  bool take(Node& n) {
    return finish([&](auto done) { return n.lease.take_over(done); });
  }
  bool renew(Node& n) {
    return finish([&](auto done) { return n.lease.renew(done); });
  }
  template <class Start>
  bool finish(Start start) {
    bool result = false;
    if (!start([&](bool ok) { result = ok; })) return false;
    run(10_ms);
    return result;
  }
  void a_owns() {
    ASSERT_TRUE(poll(a));
    ASSERT_TRUE(take(a));
  }
  LeaseRecord on_disk() {
    LeaseSector sector;
    lun.medium().read(lease_of(VmId{0}), sector);
    return decode_lease(sector).value();
  }

  VirtualClock clock;
  EventQueue queue{clock};
  Trace trace{clock};
  storage::SharedDisk lun;
  Node a, b, c;
};

TEST_F(LeaseTest, FreeLeaseIsTakenByOneOfTwo) {
  ASSERT_TRUE(poll(a) && poll(b));
  unsigned winners = 0;
  a.lease.take_over([&](bool ok) { winners += ok; });
  b.lease.take_over([&](bool ok) { winners += ok; });
  run(1_s);
  EXPECT_EQ(winners, 1u);
  EXPECT_NE(a.lease.held(), b.lease.held());
  EXPECT_EQ(on_disk().epoch, 1u);
}

TEST_F(LeaseTest, ExpiresOnlyAfterAFullDurationWithoutChange) {
  a_owns();
  ASSERT_TRUE(poll(b));
  run(4_s);
  ASSERT_TRUE(renew(a));
  run(4_s);
  ASSERT_TRUE(poll(b));
  EXPECT_FALSE(b.lease.expired());
  run(7900_ms);
  ASSERT_TRUE(poll(b));
  EXPECT_FALSE(b.lease.expired());
  run(200_ms);
  EXPECT_TRUE(b.lease.expired());
}

TEST_F(LeaseTest, TakeOverRaisesTheEpochAndFencesTheOldOwner) {
  a_owns();
  ASSERT_TRUE(poll(b));
  ASSERT_TRUE(take(b));
  EXPECT_EQ(b.lease.epoch(), 2u);
  EXPECT_TRUE(b.lease.owns(2));
  EXPECT_FALSE(b.lease.owns(1));
  EXPECT_EQ(a.disk.port().key(), ReservationKey::none);
  EXPECT_FALSE(renew(a));
  EXPECT_EQ(a.lost, BlockStatus::fenced);
  EXPECT_FALSE(a.lease.held());
}

TEST_F(LeaseTest, RenewalOfATakenLeaseFailsEvenWithoutFencing) {
  a_owns();
  ASSERT_TRUE(poll(b));
  ASSERT_TRUE(take(b));
  a.disk.register_key(a.self.key, [](BlockStatus) {});
  run(10_ms);
  EXPECT_FALSE(renew(a));
  EXPECT_EQ(a.lost, BlockStatus::fenced);
}

TEST_F(LeaseTest, OwnerGivesUpAtDurationMinusMargin) {
  a_owns();
  const Nanoseconds renewed = a.lease.renewed_at();
  queue.run_until(renewed + 5_s - 1_ns);
  EXPECT_TRUE(a.lease.owns(1));
  queue.run_until(renewed + 5_s);
  EXPECT_FALSE(a.lease.owns(1));
  EXPECT_EQ(a.lost, BlockStatus::io_error);
}

TEST_F(LeaseTest, LateReplyToARenewalBuysNoTime) {
  a_owns();
  run(1_s);
  a.lease.renew([](bool) {});
  a.hardware.hang(4500_ms);
  run(4400_ms);
  EXPECT_EQ(on_disk().counter, 2u) << "the renewal itself took effect";
  run(1_s);
  EXPECT_FALSE(a.lease.held());
}

TEST_F(LeaseTest, RenewalWhoseReplyWasLostIsRecognizedAsOnesOwn) {
  a_owns();
  a.lease.renew([](bool ok) { EXPECT_FALSE(ok); });
  a.disk.port().set_path(false);
  run(1_s);
  a.disk.port().set_path(true);
  EXPECT_TRUE(renew(a));
  EXPECT_TRUE(a.lease.held());
  EXPECT_FALSE(a.lost);
}

// b takes over from a and dies between its compare-and-write and the preemption of a.
TEST_F(LeaseTest, UnfinishedFencingIsFinishedByTheNextTaker) {
  a_owns();
  ASSERT_TRUE(poll(b));
  b.lease.take_over([](bool) {});
  b.disk.port().set_path(false);  // the write takes effect, its reply is lost
  run(10_ms);
  ASSERT_EQ(on_disk().state, LeaseState::fencing);
  b.hardware.power_loss(Nanoseconds::max());
  run(1_s);
  ASSERT_NE(a.disk.port().key(), ReservationKey::none);
  ASSERT_TRUE(poll(c));
  ASSERT_TRUE(take(c));
  EXPECT_EQ(a.disk.port().key(), ReservationKey::none);
  EXPECT_EQ(b.disk.port().key(), ReservationKey::none);
  EXPECT_EQ(c.lease.epoch(), 3u);
}

TEST_F(LeaseTest, GarbageRecordIsNeverTaken) {
  const std::vector<std::byte> garbage(kSectorSize, std::byte{0x5a});
  lun.medium().write(lease_of(VmId{0}), garbage, true);
  ASSERT_TRUE(poll(a));
  EXPECT_FALSE(a.lease.observed());
  EXPECT_FALSE(take(a));
  EXPECT_FALSE(a.lease.expired());
}

TEST_F(LeaseTest, RecordOfAnotherVmIsNeverTaken) {
  LeaseRecord other;
  other.vm = VmId{9};
  lun.medium().write(lease_of(VmId{0}), encode(other), true);
  ASSERT_TRUE(poll(a));
  EXPECT_FALSE(take(a));
}

class EarlyLeaseTest : public LeaseTest {
 protected:
  EarlyLeaseTest() : LeaseTest(PlantedBug::break_lease_early) {}
};

TEST_F(EarlyLeaseTest, PlantedBugExpiresAfterAQuarter) {
  a_owns();
  ASSERT_TRUE(poll(b));
  run(2_s);
  EXPECT_TRUE(b.lease.expired());
}

}  // namespace
}  // namespace cupel::datastore
