#include "hypervisor/devices/virtio_pci.h"

#include "tests/devices/guest_rig.h"
#include "tests/devices/virtio_driver.h"

namespace cupel::devices {
namespace {

struct VirtioPciTest : testing::Test {
  VirtioPciTest() : disk(rig.events, 64) {
    (void)rig.platform->add_disk(disk, {}).ok();
    driver = std::make_unique<VirtioDriver>(*rig.platform, rig.memory, 1);
  }
  GuestRig rig;
  TestDisk disk;
  std::unique_ptr<VirtioDriver> driver;
};

TEST_F(VirtioPciTest, HasAllFiveCapabilities) {
  for (unsigned type : {1u, 2u, 3u, 4u}) EXPECT_NE(driver->capability(type), Gpa(0)) << type;
  EXPECT_NE(driver->pci_cfg_cap, 0u);
  EXPECT_EQ(driver->config.read(8, 1), 1u);  // revision of a modern device
}

TEST_F(VirtioPciTest, OffersVersion1AndRingFeatures) {
  const uint64_t features = driver->device_features();
  EXPECT_EQ(features >> 32, 1u);
  EXPECT_EQ(features >> 28 & 3, 3u);
  driver->common_write(0, 4, 2);
  EXPECT_EQ(driver->common_read(4, 4), 0u);
}

TEST_F(VirtioPciTest, FeaturesOkNeedsVersion1AndNothingUnoffered) {
  EXPECT_FALSE(driver->negotiate(0));
  EXPECT_FALSE(driver->negotiate(VirtioDriver::kVersion1 | 1ull << 50));
  EXPECT_TRUE(driver->negotiate(VirtioDriver::kVersion1));
}

TEST_F(VirtioPciTest, DriverOkWithoutFeaturesOkIsIgnored) {
  driver->set_status(0);
  driver->set_status(7);
  EXPECT_EQ(driver->status(), 3);
}

TEST_F(VirtioPciTest, FeaturesAreFrozenAfterFeaturesOk) {
  ASSERT_TRUE(driver->negotiate(VirtioDriver::kVersion1));
  driver->write_features(0);
  driver->common_write(8, 4, 1);
  EXPECT_EQ(driver->common_read(0xc, 4), 1u);
}

TEST_F(VirtioPciTest, DriverCannotSetNeedsReset) {
  driver->set_status(64 | 1);
  EXPECT_EQ(driver->status(), 1);
}

TEST_F(VirtioPciTest, StatusZeroResetsEverything) {
  ASSERT_TRUE(driver->start());
  driver->set_status(0);
  EXPECT_EQ(driver->status(), 0);
  driver->common_write(0x16, 2, 0);
  EXPECT_EQ(driver->common_read(0x1c, 2), 0u);
  EXPECT_EQ(driver->common_read(0x20, 8), 0u);
}

TEST_F(VirtioPciTest, QueueRegistersFreezeWhileEnabled) {
  ASSERT_TRUE(driver->start());
  driver->common_write(0x20, 8, 0x5000);
  EXPECT_EQ(driver->common_read(0x20, 8), driver->rings[0].desc.value());
}

TEST_F(VirtioPciTest, QueuesThatDoNotExistReadAsSizeZero) {
  driver->common_write(0x16, 2, 7);
  EXPECT_EQ(driver->common_read(0x18, 2), 0u);
  driver->common_write(0x1c, 2, 1);
  EXPECT_EQ(driver->common_read(0x1c, 2), 0u);
}

struct BadQueue {
  const char* name;
  uint16_t size;
  uint64_t desc, avail, used;
  const char* reason;
};
class BadQueueTest : public VirtioPciTest, public testing::WithParamInterface<BadQueue> {};
TEST_P(BadQueueTest, EnablingItBreaksTheDevice) {
  const BadQueue& q = GetParam();
  ASSERT_TRUE(driver->negotiate(VirtioDriver::kVersion1));
  driver->common_write(0x16, 2, 0);
  driver->common_write(0x18, 2, q.size);
  driver->common_write(0x20, 8, q.desc);
  driver->common_write(0x28, 8, q.avail);
  driver->common_write(0x30, 8, q.used);
  driver->common_write(0x1c, 2, 1);
  EXPECT_NE(driver->status() & 64, 0);
  ASSERT_EQ(rig.broken.size(), 1u);
  EXPECT_NE(rig.broken[0].find(q.reason), std::string::npos) << rig.broken[0];
}
INSTANTIATE_TEST_SUITE_P(
    Table, BadQueueTest,
    testing::Values(BadQueue{"zero_size", 0, 0x1000, 0x2000, 0x3000, "power of two"},
                    BadQueue{"odd_size", 3, 0x1000, 0x2000, 0x3000, "power of two"},
                    BadQueue{"too_large", 256, 0x1000, 0x2000, 0x3000, "power of two"},
                    BadQueue{"unaligned_desc", 8, 0x1008, 0x2000, 0x3000, "descriptor table"},
                    BadQueue{"unaligned_avail", 8, 0x1000, 0x2001, 0x3000, "available ring"},
                    BadQueue{"unaligned_used", 8, 0x1000, 0x2000, 0x3002, "used ring"},
                    BadQueue{"desc_outside", 8, 16_MiB, 0x2000, 0x3000, "outside RAM"},
                    BadQueue{"used_over_end", 8, 0x1000, 0x2000, 16_MiB - 8, "outside RAM"},
                    BadQueue{"avail_wraps", 8, 0x1000, ~1ull, 0x3000, "outside RAM"}),
    [](const auto& p) { return p.param.name; });

TEST_F(VirtioPciTest, PciConfigurationCapabilityReachesTheBar) {
  auto& config = driver->config;
  const unsigned cap = driver->pci_cfg_cap;
  config.write(cap + 8, 4, VirtioPci::kCommon + 0x14);  // device_status
  config.write(cap + 12, 4, 1);
  config.write(cap + 16, 1, 3);
  EXPECT_EQ(driver->status(), 3);
  EXPECT_EQ(config.read(cap + 16, 1), 3u);
}

TEST_F(VirtioPciTest, PciConfigurationCapabilityRefusesNonsense) {
  auto& config = driver->config;
  const unsigned cap = driver->pci_cfg_cap;
  for (const auto& [offset, length] :
       {std::pair(0xffffffffu, 4u), std::pair(0u, 3u), std::pair(VirtioPci::kBarSize - 2, 4u),
        std::pair(1u, 2u), std::pair(0u, 0u)}) {
    config.write(cap + 8, 4, offset);
    config.write(cap + 12, 4, length);
    config.write(cap + 16, 4, 0xffffffff);
    (void)config.read(cap + 16, 4);
  }
  config.write(cap + 4, 1, 5);  // no such BAR
  config.write(cap + 16, 4, 0xffffffff);
  EXPECT_EQ(driver->status(), 0);
}

TEST_F(VirtioPciTest, EveryOffsetAndSizeIsHarmless) {
  const Gpa bar(driver->config.read(0x10, 4));
  for (const uint64_t value : {0ull, ~0ull, 0x5555555555555555ull}) {
    for (uint64_t at = 0; at < VirtioPci::kBarSize; ++at) {
      for (unsigned size : {1u, 2u, 4u, 8u}) {
        rig.platform->mmio_write(bar + at, size, value);
        (void)rig.platform->mmio_read(bar + at, size);
      }
    }
  }
  driver->set_status(0);
  EXPECT_EQ(driver->status(), 0);
}

TEST_F(VirtioPciTest, ReadingIsrClearsItAndLowersTheLine) {
  rig.init_pic();
  ASSERT_TRUE(driver->start(VirtioDriver::kVersion1 | 1 << 9));
  const Gpa request = driver->allocate(64);
  rig.memory.write(request, uint32_t{8});  // GET_ID
  driver->add(0, {{request, 16}}, {{request + 16, 21}});
  driver->kick(0);
  EXPECT_TRUE(rig.platform->interrupt_pending());
  EXPECT_EQ(driver->config.read(6, 2) & 8, 8u);  // Interrupt Status
  EXPECT_EQ(driver->isr(), 1);
  EXPECT_EQ(driver->isr(), 0);
  EXPECT_FALSE(rig.platform->interrupt_pending());
}

}  // namespace
}  // namespace cupel::devices
