#include "hypervisor/devices/virtio_block.h"

#include "tests/devices/guest_rig.h"
#include "tests/devices/virtio_driver.h"

namespace cupel::devices {
namespace {

constexpr uint64_t kFlush = 1 << 9;
constexpr uint32_t kIn = 0, kOut = 1, kFlushType = 4, kGetId = 8;

struct Recorder : BlockObserver {
  void on_accepted(uint64_t id, const BlockRequest& r) override {
    log.push_back("accept " + std::to_string(id) + " " + std::string(to_string(r.op)) + " " +
                  std::to_string(r.data.size()));
  }
  void on_completed(uint64_t id, BlockOp op, BlockStatus status,
                    std::span<const std::byte> data) override {
    log.push_back("complete " + std::to_string(id) + " " + std::string(to_string(op)) + " " +
                  std::string(to_string(status)) + " " + std::to_string(data.size()));
  }
  std::vector<std::string> log;
};

struct VirtioBlockTest : testing::Test {
  VirtioBlockTest() { boot(rig, disk, observer, driver); }
  static void boot(GuestRig& r, TestDisk& d, Recorder& o, std::unique_ptr<VirtioDriver>& driver,
                   uint64_t features = VirtioDriver::kVersion1 | kFlush) {
    auto added = r.platform->add_disk(d, {.id = "disk-a", .observer = &o});
    ASSERT_TRUE(added.ok());
    driver = std::make_unique<VirtioDriver>(*r.platform, r.memory, 1);
    ASSERT_TRUE(driver->start(features));
  }
  // Returns where the status byte goes; data (if any) stands before it.
  Gpa request(uint32_t type, uint64_t sector, uint32_t out_bytes, uint32_t in_bytes,
              std::byte fill = {}) {
    const Gpa header = driver->allocate(16);
    rig.memory.write(header, type);
    rig.memory.write(header + 8, sector);
    std::vector<VirtioDriver::Buffer> readable{{header, 16}}, writable;
    if (out_bytes != 0) {
      const Gpa data = driver->allocate(out_bytes);
      for (std::byte& b : rig.memory.writable(data, out_bytes)) b = fill;
      // In two pieces, to see that pieces are joined.
      readable.push_back({data, out_bytes / 2});
      readable.push_back({data + out_bytes / 2, out_bytes - out_bytes / 2});
    }
    const Gpa in = driver->allocate(in_bytes + 1);
    rig.memory.write(in + in_bytes, std::byte{0xee});
    if (in_bytes != 0) writable.push_back({in, in_bytes});
    writable.push_back({in + in_bytes, 1});
    driver->add(0, readable, writable);
    driver->kick(0);
    return in + in_bytes;
  }
  int status(Gpa at) {
    uint8_t s = 0;
    rig.memory.read(at, s);
    return s;
  }
  GuestRig rig;
  TestDisk disk{rig.events, 64};
  Recorder observer;
  std::unique_ptr<VirtioDriver> driver;
};

TEST_F(VirtioBlockTest, ConfigurationSpace) {
  EXPECT_EQ(driver->device_config(0, 8), 64u);
  EXPECT_EQ(driver->device_config(4, 4), 0u);
  EXPECT_EQ(driver->device_config(12, 4), VirtioBlock::kMaxSegments);
  EXPECT_EQ(driver->device_config(20, 4), 512u);
  EXPECT_EQ(driver->device_config(0x800, 4), 0u);
}

TEST_F(VirtioBlockTest, WritesThenReadsBack) {
  const Gpa wrote = request(kOut, 3, 1024, 0, std::byte{0x5a});
  EXPECT_EQ(status(wrote), 0xee);  // asynchronous
  EXPECT_FALSE(driver->take_used(0).has_value());
  rig.run_events();
  EXPECT_EQ(status(wrote), 0);
  EXPECT_EQ(driver->take_used(0)->length, 1u);
  EXPECT_EQ(*disk.at(4), std::byte{0x5a});
  EXPECT_FALSE(disk.log[0].fua);

  const Gpa read = request(kIn, 4, 0, 512);
  rig.run_events();
  EXPECT_EQ(status(read), 0);
  EXPECT_EQ(driver->take_used(0)->length, 513u);
  std::byte first{};
  rig.memory.read(read - 512, first);
  EXPECT_EQ(first, std::byte{0x5a});
  EXPECT_EQ(observer.log, (std::vector<std::string>{"accept 1 write 1024", "complete 1 write ok 0",
                                                    "accept 2 read 0", "complete 2 read ok 512"}));
}

TEST_F(VirtioBlockTest, FlushReachesTheDisk) {
  const Gpa done = request(kFlushType, 0, 0, 0);
  rig.run_events();
  EXPECT_EQ(status(done), 0);
  EXPECT_EQ(disk.log.at(0).op, BlockOp::flush);
}

TEST_F(VirtioBlockTest, GetIdIsPaddedAndImmediate) {
  const Gpa done = request(kGetId, 0, 0, 20);
  EXPECT_EQ(status(done), 0);
  std::array<char, 20> id{};
  rig.memory.read(done - 20, id);
  EXPECT_STREQ(id.data(), "disk-a");
  EXPECT_TRUE(disk.log.empty());
}

TEST_F(VirtioBlockTest, UnknownTypesAreUnsupported) {
  EXPECT_EQ(status(request(11, 0, 0, 0)), 2);
  EXPECT_EQ(status(request(0xffffffff, 0, 0, 0)), 2);
}

TEST_F(VirtioBlockTest, RequestsThatDoNotFitAreIoErrors) {
  EXPECT_EQ(status(request(kIn, 64, 0, 512)), 1);
  EXPECT_EQ(status(request(kIn, 63, 0, 1024)), 1);
  EXPECT_EQ(status(request(kIn, ~0ull, 0, 512)), 1);
  EXPECT_EQ(status(request(kIn, 0, 0, 100)), 1);
  EXPECT_EQ(status(request(kIn, 0, 0, 0)), 1);
  EXPECT_EQ(status(request(kOut, 63, 1024, 0)), 1);
  EXPECT_EQ(status(request(kOut, 0, 700, 0)), 1);
  EXPECT_EQ(status(request(kOut, 0, 0, 0)), 1);
  EXPECT_TRUE(disk.log.empty());
  EXPECT_TRUE(rig.broken.empty());
}

TEST_F(VirtioBlockTest, DiskErrorsReachTheGuestAndTheObserver) {
  disk.status = BlockStatus::io_error;
  const Gpa done = request(kOut, 0, 512, 0);
  rig.run_events();
  EXPECT_EQ(status(done), 1);
  EXPECT_EQ(observer.log.back(), "complete 1 write " + std::string(to_string(disk.status)) + " 0");
}

TEST_F(VirtioBlockTest, CompletionInterruptsBetweenRuns) {
  rig.init_pic();
  request(kFlushType, 0, 0, 0);
  EXPECT_FALSE(rig.platform->interrupt_pending());
  rig.run_events();
  ASSERT_TRUE(rig.platform->interrupt_pending());
  EXPECT_EQ(rig.platform->acknowledge_interrupt(), 0x38 + 2);  // IRQ 10
}

TEST_F(VirtioBlockTest, AHangingDiskStaysInFlightAndAResetForgetsIt) {
  disk.hold = true;
  const Gpa done = request(kOut, 0, 512, 0);
  disk.hold = false;
  const Gpa second = request(kOut, 1, 512, 0);
  driver->set_status(0);
  rig.run_events();
  EXPECT_EQ(status(done), 0xee);
  EXPECT_EQ(status(second), 0xee);
  EXPECT_EQ(observer.log, (std::vector<std::string>{"accept 1 write 512", "accept 2 write 512"}));
}

TEST_F(VirtioBlockTest, CompletionsAfterTheVmIsGoneAreIgnored) {
  request(kOut, 0, 512, 0);
  rig.platform.reset();
  rig.run_events();
  EXPECT_EQ(*disk.at(0), std::byte{0});  // the disk did it; nobody was told
}

TEST(VirtioBlock, WithoutFlushEveryWriteIsFua) {
  GuestRig rig;
  TestDisk disk{rig.events, 8};
  Recorder observer;
  std::unique_ptr<VirtioDriver> driver;
  VirtioBlockTest::boot(rig, disk, observer, driver, VirtioDriver::kVersion1);
  const Gpa data = driver->allocate(1024);
  rig.memory.write(data, kOut);
  driver->add(0, {{data, 16}, {data + 16, 512}}, {{data + 600, 1}});
  driver->kick(0);
  EXPECT_TRUE(disk.log.at(0).fua);
}

TEST(VirtioBlock, ReadOnlyDisksSaySoAndRefuseWrites) {
  GuestRig rig;
  TestDisk disk{rig.events, 8};
  ASSERT_TRUE(rig.platform->add_disk(disk, {.read_only = true}).ok());
  VirtioDriver driver(*rig.platform, rig.memory, 1);
  EXPECT_NE(driver.device_features() & 1 << 5, 0u);
  ASSERT_TRUE(driver.start());
  const Gpa data = driver.allocate(1024);
  rig.memory.write(data, kOut);
  driver.add(0, {{data, 16}, {data + 16, 512}}, {{data + 600, 1}});
  driver.kick(0);
  uint8_t status = 0;
  rig.memory.read(data + 600, status);
  EXPECT_EQ(status, 1);
}

// Saved with requests in flight: the copy submits them again, in order, and completes them once.
TEST_F(VirtioBlockTest, SaveAndRestoreInMidFlight) {
  const Gpa first = request(kOut, 5, 512, 0, std::byte{0x11});
  const Gpa second = request(kIn, 0, 0, 512);
  ArchiveWriter out;
  rig.platform->save(out);

  GuestRig copy;
  TestDisk disk2{copy.events, 64};
  Recorder observer2;
  ASSERT_TRUE(copy.platform->add_disk(disk2, {.id = "disk-a", .observer = &observer2}).ok());
  copy.memory.write(Gpa(0), rig.memory.view(Gpa(0), rig.memory.size()));
  ArchiveReader in(out.bytes());
  auto restored = copy.platform->restore(in);
  ASSERT_TRUE(restored.ok()) << describe(restored.error());
  EXPECT_EQ(disk2.log.size(), 2u);
  copy.run_events();
  uint8_t s = 0xff;
  copy.memory.read(first, s);
  EXPECT_EQ(s, 0);
  copy.memory.read(second, s);
  EXPECT_EQ(s, 0);
  EXPECT_EQ(*disk2.at(5), std::byte{0x11});
  EXPECT_EQ(observer2.log.front(), "accept 1 write 512");
  EXPECT_EQ(observer2.log.back(), "complete 2 read ok 512");

  ArchiveWriter again;
  rig.platform->save(again);
  EXPECT_EQ(again.bytes(), out.bytes());
}

TEST_F(VirtioBlockTest, DamagedArchivesAreRefusedOrHarmless) {
  request(kOut, 5, 512, 0);
  ArchiveWriter out;
  rig.platform->save(out);
  for (size_t cut = 0; cut < out.bytes().size(); cut += 37) {
    GuestRig copy;
    TestDisk disk2{copy.events, 64};
    ASSERT_TRUE(copy.platform->add_disk(disk2, {}).ok());
    ArchiveReader in(std::span(out.bytes()).first(cut));
    EXPECT_FALSE(copy.platform->restore(in).ok()) << cut;
  }
  for (size_t at = 0; at < out.bytes().size(); at += 3) {
    auto bytes = out.bytes();
    bytes[at] ^= std::byte{0xff};
    GuestRig copy;
    TestDisk disk2{copy.events, 64};
    ASSERT_TRUE(copy.platform->add_disk(disk2, {}).ok());
    ArchiveReader in(bytes);
    (void)copy.platform->restore(in).ok();
    copy.run_events();
    copy.platform->advance(copy.clock.now());
  }
}

}  // namespace
}  // namespace cupel::devices
