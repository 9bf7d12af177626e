#include "hw_models/storage/shared_disk.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "hw_models/storage/local_disk.h"

namespace cupel::storage {
namespace {

using Bytes = std::vector<std::byte>;

Bytes filled(size_t sectors, uint8_t value) {
  return Bytes(sectors * kSectorSize, std::byte{value});
}

BlockRequest write_of(uint64_t lba, Bytes data, bool fua = false) {
  return {BlockOp::write, Lba(lba), 0, fua, std::move(data)};
}
BlockRequest read_of(uint64_t lba, uint32_t sectors) {
  return {BlockOp::read, Lba(lba), sectors, false, {}};
}
BlockRequest flush() { return {BlockOp::flush, Lba(0), 0, false, {}}; }

class SharedDiskTest : public ::testing::Test {
 protected:
  SharedDiskTest() { make(CachePolicy::volatile_cache); }
  void make(CachePolicy cache, unsigned concurrency = 8) {
    disk = std::make_unique<SharedDisk>(
        SharedDiskConfig{.sectors = 4096, .cache = cache, .concurrency = concurrency}, queue,
        RandomSource(7), trace);
    a = &disk->add_port(HostId{1});
    b = &disk->add_port(HostId{2});
  }
  // Runs the request to its end; nothing when it never completes.
  std::optional<BlockReply> run(BlockDevice& device, BlockRequest request) {
    std::optional<BlockReply> got;
    device.submit(std::move(request), [&](BlockReply r) { got = std::move(r); });
    EXPECT_FALSE(got) << "completed inside submit";
    queue.run_until(queue.now() + 2_s);
    return got;
  }
  BlockStatus status(BlockDevice& device, BlockRequest request) {
    const auto reply = run(device, std::move(request));
    EXPECT_TRUE(reply);
    return reply ? reply->status : BlockStatus::io_error;
  }
  CompareReply compare_and_write(DiskPort& port, uint64_t lba, uint8_t expected, uint8_t next) {
    CompareReply got{BlockStatus::io_error, false};
    const Bytes e = filled(1, expected), n = filled(1, next);
    port.compare_and_write(Lba(lba), LeaseDevice::Sector(e), LeaseDevice::Sector(n),
                           [&](CompareReply r) { got = r; });
    queue.run_until(queue.now() + 2_s);
    return got;
  }
  void register_both() {
    a->register_key(ReservationKey{11}, [](BlockStatus) {});
    b->register_key(ReservationKey{22}, [](BlockStatus) {});
    queue.run_until(queue.now() + 1_s);
  }
  uint8_t at(uint64_t sector) {
    Bytes out(kSectorSize);
    disk->medium().read(Lba(sector), out);
    return static_cast<uint8_t>(out[0]);
  }

  VirtualClock clock;
  EventQueue queue{clock};
  Trace trace{clock};
  std::unique_ptr<SharedDisk> disk;
  DiskPort* a = nullptr;
  DiskPort* b = nullptr;
};

TEST_F(SharedDiskTest, OneHostReadsWhatTheOtherWrote) {
  EXPECT_EQ(status(*a, write_of(10, filled(3, 5))), BlockStatus::ok);
  const auto reply = run(*b, read_of(10, 3));
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->data, filled(3, 5));
}

TEST_F(SharedDiskTest, RefusesRequestsThatDoNotFit) {
  EXPECT_EQ(status(*a, read_of(4096, 1)), BlockStatus::out_of_range);
  EXPECT_EQ(status(*a, read_of(UINT64_MAX, 2)), BlockStatus::out_of_range);
  EXPECT_EQ(status(*a, write_of(4095, filled(2, 1))), BlockStatus::out_of_range);
}

TEST_F(SharedDiskTest, ServiceTimeGrowsWithSizeAndSlowness) {
  const auto time = [&](uint32_t sectors) {
    const Nanoseconds begin = queue.now();
    Nanoseconds end;
    a->submit(read_of(0, sectors), [&](BlockReply) { end = queue.now(); });
    queue.run_until(queue.now() + 10_s);
    return end - begin;
  };
  EXPECT_GE(time(1), 200_us);
  EXPECT_LE(time(1), 302_us);
  EXPECT_GE(time(1000), 1480_us);
  disk->faults().slow_down(100, queue.now() + 5_s);
  EXPECT_GE(time(1), 20_ms);
  EXPECT_LE(time(1), 302_us);
}

TEST_F(SharedDiskTest, CompareAndWriteSucceedsForExactlyOneOfTwoRacers) {
  for (uint8_t round = 0; round < 50; ++round) {
    unsigned winners = 0;
    const Bytes e = filled(1, round), n = filled(1, static_cast<uint8_t>(round + 1));
    for (DiskPort* port : {a, b, a, b}) {
      port->compare_and_write(Lba(3), LeaseDevice::Sector(e), LeaseDevice::Sector(n),
                              [&](CompareReply r) { winners += r.matched; });
    }
    queue.run_until(queue.now() + 1_s);
    EXPECT_EQ(winners, 1u);
    EXPECT_EQ(at(3), round + 1);
  }
}

TEST_F(SharedDiskTest, CompareAndWriteIsDurableAtCompletion) {
  EXPECT_TRUE(compare_and_write(*a, 3, 0, 9).matched);
  disk->power_cut(1_s);
  EXPECT_EQ(at(3), 9);
}

TEST_F(SharedDiskTest, MiscompareWritesNothing) {
  const auto reply = compare_and_write(*a, 3, 1, 9);
  EXPECT_EQ(reply.status, BlockStatus::ok);
  EXPECT_FALSE(reply.matched);
  EXPECT_EQ(at(3), 0);
}

TEST_F(SharedDiskTest, FlushedWritesSurviveAPowerCut) {
  EXPECT_EQ(status(*a, write_of(10, filled(8, 5))), BlockStatus::ok);
  EXPECT_EQ(status(*a, flush()), BlockStatus::ok);
  disk->power_cut(1_s);
  EXPECT_EQ(status(*a, read_of(10, 8)), BlockStatus::io_error);
  queue.run_until(queue.now() + 1_s);
  EXPECT_EQ(run(*a, read_of(10, 8))->data, filled(8, 5));
}

TEST_F(SharedDiskTest, FlushAfterAPowerCutDoesNotVouchForLostWrites) {
  EXPECT_EQ(status(*a, write_of(10, filled(8, 5))), BlockStatus::ok);
  disk->power_cut(1_ms);
  queue.run_until(queue.now() + 1_s);
  EXPECT_EQ(status(*a, flush()), BlockStatus::io_error);
  EXPECT_EQ(status(*a, flush()), BlockStatus::ok);
}

TEST_F(SharedDiskTest, PreemptedHostIsFenced) {
  register_both();
  EXPECT_EQ(status(*a, write_of(1, filled(1, 1))), BlockStatus::ok);
  b->preempt(ReservationKey{11}, [](BlockStatus s) { EXPECT_EQ(s, BlockStatus::ok); });
  queue.run_until(queue.now() + 1_s);
  EXPECT_EQ(status(*a, write_of(1, filled(1, 2))), BlockStatus::fenced);
  EXPECT_EQ(status(*a, read_of(1, 1)), BlockStatus::fenced);
  EXPECT_EQ(compare_and_write(*a, 1, 1, 2).status, BlockStatus::fenced);
  EXPECT_EQ(at(1), 1);
  EXPECT_EQ(status(*b, write_of(1, filled(1, 3))), BlockStatus::ok);
}

TEST_F(SharedDiskTest, CommandsOnTheirWayAtPreemptionNeverTakeEffect) {
  register_both();
  a->delay_path(10_s, queue.now() + 1_s);
  std::optional<BlockStatus> late;
  a->submit(write_of(1, filled(1, 7)), [&](BlockReply r) { late = r.status; });
  b->preempt(ReservationKey{11}, [](BlockStatus) {});
  queue.run_until(queue.now() + 5_s);
  // Registering again does not let the old command through.
  a->register_key(ReservationKey{12}, [](BlockStatus) {});
  queue.run_until(queue.now() + 10_s);
  EXPECT_EQ(late, BlockStatus::fenced);
  EXPECT_EQ(at(1), 0);
  EXPECT_EQ(status(*a, write_of(1, filled(1, 8))), BlockStatus::ok);
}

TEST_F(SharedDiskTest, CommandsOfADeadHostAreDroppedUnlessStarted) {
  make(CachePolicy::stable_cache, 1);
  unsigned completions = 0;
  a->submit(write_of(1, filled(1, 7)), [&](BlockReply) { ++completions; });
  a->submit(write_of(2, filled(1, 7)), [&](BlockReply) { ++completions; });
  a->initiator_lost_power();
  queue.run_until(queue.now() + 1_s);
  EXPECT_EQ(at(1), 7) << "was in service";
  EXPECT_EQ(at(2), 0) << "was waiting";
  EXPECT_EQ(completions, 0u);
}

TEST_F(SharedDiskTest, IoErrorsFollowTheirRule) {
  disk->faults().add({.first = Lba(100), .sectors = 10, .until = 10_s, .writes = false});
  EXPECT_EQ(status(*a, read_of(99, 2)), BlockStatus::io_error);
  EXPECT_EQ(status(*a, read_of(110, 2)), BlockStatus::ok);
  EXPECT_EQ(status(*a, write_of(100, filled(1, 1))), BlockStatus::ok);
  queue.run_until(10_s);
  EXPECT_EQ(status(*a, read_of(99, 2)), BlockStatus::ok);
}

TEST_F(SharedDiskTest, LostDeviceNeverComesBack) {
  std::optional<BlockStatus> in_flight;
  a->submit(read_of(0, 1), [&](BlockReply r) { in_flight = r.status; });
  disk->lose_device();
  queue.run_until(1_s);
  EXPECT_EQ(in_flight, BlockStatus::device_lost);
  EXPECT_EQ(status(*b, flush()), BlockStatus::device_lost);
}

TEST_F(SharedDiskTest, DeviceThatWasLostComesBackWithWhatWasFlushed) {
  unsigned kept = 0;
  for (uint64_t lba = 0; lba < 40; lba += 2) {
    ASSERT_EQ(status(*a, write_of(lba, filled(1, 1))), BlockStatus::ok);
    ASSERT_EQ(status(*a, flush()), BlockStatus::ok);
    ASSERT_EQ(status(*a, write_of(lba + 1, filled(1, 2))), BlockStatus::ok);
    std::optional<BlockStatus> in_flight;
    a->submit(write_of(lba, filled(1, 3)), [&](BlockReply r) { in_flight = r.status; });
    disk->lose_device(5_s);
    disk->lose_device(3_s);
    EXPECT_EQ(status(*a, read_of(lba, 1)), BlockStatus::device_lost);
    EXPECT_EQ(in_flight, BlockStatus::device_lost);
    EXPECT_EQ(status(*b, flush()), BlockStatus::device_lost);
    queue.run_until(queue.now() + 1_s);
    EXPECT_FALSE(disk->lost());
    EXPECT_EQ(at(lba), 1);
    kept += at(lba + 1) == 2;
    EXPECT_EQ(status(*a, flush()), BlockStatus::io_error) << "writes may have been lost";
    EXPECT_EQ(status(*a, flush()), BlockStatus::ok);
    EXPECT_EQ(status(*b, flush()), BlockStatus::io_error);
  }
  EXPECT_GT(kept, 0u);
  EXPECT_LT(kept, 20u);
}

TEST_F(SharedDiskTest, PathLossHitsOnePortAndMayLoseOnlyTheReply) {
  std::optional<BlockStatus> got;
  a->submit(write_of(1, filled(1, 7)), [&](BlockReply r) { got = r.status; });
  a->set_path(false);
  queue.run_until(1_s);
  EXPECT_EQ(got, BlockStatus::io_error);
  EXPECT_EQ(at(1), 7);
  EXPECT_EQ(status(*b, read_of(1, 1)), BlockStatus::ok);
  a->set_path(true);
  EXPECT_EQ(status(*a, read_of(1, 1)), BlockStatus::ok);
}

TEST_F(SharedDiskTest, WriteInServiceAtPowerCutIsTornAtMost) {
  bool torn = false;
  for (uint64_t lba = 0; lba < 1600; lba += 16) {
    a->submit(write_of(lba, filled(16, 4)), [](BlockReply) {});
    disk->power_cut(1_ms);
    queue.run_until(queue.now() + 2_s);
    unsigned there = 0;
    for (uint64_t i = 0; i < 16; ++i) there += at(lba + i) == 4;
    torn |= there > 0 && there < 16;
  }
  EXPECT_TRUE(torn);
}

TEST_F(SharedDiskTest, LocalDiskLosesItsCacheWithTheHost) {
  unsigned lost = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    LocalDisk local({.sectors = 64}, HostId{1}, queue, RandomSource(seed), trace);
    EXPECT_EQ(status(local, write_of(0, filled(1, 1))), BlockStatus::ok);
    EXPECT_EQ(status(local, flush()), BlockStatus::ok);
    EXPECT_EQ(status(local, write_of(0, filled(1, 2))), BlockStatus::ok);
    local.power_cut(1_s);
    queue.run_until(queue.now() + 1_s);
    const auto reply = run(local, read_of(0, 1));
    ASSERT_TRUE(reply && reply->status == BlockStatus::ok);
    lost += reply->data == filled(1, 1);
  }
  EXPECT_GT(lost, 0u);
  EXPECT_LT(lost, 20u);
}

}  // namespace
}  // namespace cupel::storage
