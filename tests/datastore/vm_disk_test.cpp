#include "hypervisor/storage/vm_disk.h"

#include <gtest/gtest.h>

#include "hw_models/platform/host_hardware.h"

namespace cupel::datastore {
namespace {

struct FixedOwner : Ownership {
  uint64_t epoch = 1;
  bool owns(uint64_t e) const override { return e == epoch; }
};

class VmDiskTest : public ::testing::Test {
 protected:
  VmDiskTest()
      : lun({.sectors = 8192}, queue, RandomSource(1), trace),
        host({}, queue, trace),
        disk(host.add_disk(lun.add_port(HostId{1}))) {
    host.start_running();
    make(PlantedBug::none);
  }
  void make(PlantedBug bug) { vm = make_vm_disk(disk, {Lba(2048), 100}, owner, 1, host, bug); }
  std::optional<BlockReply> run(BlockOp op, uint64_t lba, uint32_t sectors) {
    std::optional<BlockReply> got;
    BlockRequest request{op, Lba(lba), sectors, false, {}};
    if (op == BlockOp::write) request.data.assign(sectors * kSectorSize, std::byte{7});
    vm->submit(std::move(request), [&](BlockReply r) { got = std::move(r); });
    EXPECT_FALSE(got) << "completed inside submit";
    queue.run_until(queue.now() + 10_ms);
    return got;
  }
  BlockStatus status(BlockOp op, uint64_t lba, uint32_t sectors) {
    const auto reply = run(op, lba, sectors);
    EXPECT_TRUE(reply);
    return reply ? reply->status : BlockStatus::device_lost;
  }
  uint8_t on_lun(uint64_t sector) {
    std::vector<std::byte> out(kSectorSize);
    lun.medium().read(Lba(sector), out);
    return static_cast<uint8_t>(out[0]);
  }

  VirtualClock clock;
  EventQueue queue{clock};
  Trace trace{clock};
  storage::SharedDisk lun;
  platform::HostHardware host;
  platform::HostDisk& disk;
  FixedOwner owner;
  std::unique_ptr<BlockDevice> vm;
};

TEST_F(VmDiskTest, MapsIntoItsExtent) {
  EXPECT_EQ(vm->sectors(), 100u);
  EXPECT_EQ(status(BlockOp::write, 99, 1), BlockStatus::ok);
  EXPECT_EQ(on_lun(2147), 7);
  EXPECT_EQ(run(BlockOp::read, 99, 1)->data[0], std::byte{7});
  EXPECT_EQ(status(BlockOp::flush, 0, 0), BlockStatus::ok);
}

TEST_F(VmDiskTest, NeverReachesBeyondItsExtent) {
  EXPECT_EQ(status(BlockOp::write, 100, 1), BlockStatus::out_of_range);
  EXPECT_EQ(status(BlockOp::write, 99, 2), BlockStatus::out_of_range);
  EXPECT_EQ(status(BlockOp::read, UINT64_MAX, 2), BlockStatus::out_of_range);
  EXPECT_EQ(on_lun(2148), 0);
}

TEST_F(VmDiskTest, RefusesEverythingWithoutTheLease) {
  owner.epoch = 2;
  for (BlockOp op : {BlockOp::read, BlockOp::write, BlockOp::flush}) {
    EXPECT_EQ(status(op, 0, 1), BlockStatus::fenced);
  }
  EXPECT_EQ(on_lun(2048), 0);
}

TEST_F(VmDiskTest, DestroyedDiskCompletesNothing) {
  bool completed = false;
  vm->submit({BlockOp::read, Lba(0), 1, false, {}}, [&](BlockReply) { completed = true; });
  vm.reset();
  queue.run_until(1_s);
  EXPECT_FALSE(completed);
}

TEST_F(VmDiskTest, EarlyAckReadsBackWhatItHoldsAndLosesItWithTheHost) {
  make(PlantedBug::ack_before_flush);
  EXPECT_EQ(status(BlockOp::write, 3, 2), BlockStatus::ok);
  EXPECT_EQ(status(BlockOp::flush, 0, 0), BlockStatus::ok);
  EXPECT_EQ(run(BlockOp::read, 3, 2)->data[0], std::byte{7});
  EXPECT_EQ(on_lun(2051), 0);
  host.power_loss(Nanoseconds::max());
  queue.run_until(5_s);
  EXPECT_EQ(on_lun(2051), 0);
}

}  // namespace
}  // namespace cupel::datastore
