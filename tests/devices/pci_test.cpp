#include "core/chips/pci.h"

#include "tests/devices/guest_rig.h"
#include "tests/devices/virtio_driver.h"

namespace cupel::devices {
namespace {

struct PciTest : testing::Test {
  PciTest() : disk(rig.events, 64) {
    (void)rig.platform->add_disk(disk, {}).ok();
    (void)rig.platform->add_nic(port, {2, 0, 0, 0, 0, 1}).ok();
  }
  TestPort port;  // outlives the platform, as disks do
  GuestRig rig;
  TestDisk disk;
};

TEST_F(PciTest, ConfigAddressTakesDwordsOnlyAndReadsBack) {
  rig.platform->port_out(0xcfb, 1, 1);
  rig.platform->port_out(0xcf8, 4, 0x80000000);
  EXPECT_EQ(rig.platform->port_in(0xcf8, 4), 0x80000000u);
  rig.platform->port_out(0xcf8, 2, 0x1234);
  EXPECT_EQ(rig.platform->port_in(0xcf8, 4), 0x80000000u);
}

TEST_F(PciTest, FindsTheHostBridgeAndNothingBehindTheLastSlot) {
  EXPECT_EQ(PciConfigAccess(*rig.platform, 0).read(0x0a, 2), 0x0600u);
  EXPECT_EQ(PciConfigAccess(*rig.platform, 1).read(0, 4), 0x10421af4u);
  EXPECT_EQ(PciConfigAccess(*rig.platform, 2).read(0, 4), 0x10411af4u);
  EXPECT_EQ(PciConfigAccess(*rig.platform, 3).read(0, 4), 0xffffffffu);
  rig.platform->port_out(0xcf8, 4, 0x80000900);  // function 1 of slot 1
  EXPECT_EQ(rig.platform->port_in(0xcfc, 4), 0xffffffffu);
}

TEST_F(PciTest, BarSizing) {
  PciConfigAccess config(*rig.platform, 1);
  const uint32_t before = config.read(0x10, 4);
  EXPECT_GE(before, 0xe0000000u);
  config.write(0x10, 4, 0xffffffff);
  EXPECT_EQ(config.read(0x10, 4), ~(VirtioPci::kBarSize - 1));
  config.write(0x10, 4, before);
  EXPECT_EQ(config.read(0x10, 4), before);
  config.write(0x14, 4, 0xffffffff);  // no such BAR
  EXPECT_EQ(config.read(0x14, 4), 0u);
}

TEST_F(PciTest, BarMovesAndObeysTheCommandRegister) {
  PciConfigAccess config(*rig.platform, 1);
  const Gpa queues = Gpa(config.read(0x10, 4)) + 0x12;
  EXPECT_EQ(rig.platform->mmio_read(queues, 2), 1u);
  config.write(0x10, 4, 0xf0000000);
  EXPECT_EQ(rig.platform->mmio_read(queues, 2), 0xffffu);
  EXPECT_EQ(rig.platform->mmio_read(Gpa(0xf0000012), 2), 1u);
  config.write(4, 2, 0);
  EXPECT_EQ(rig.platform->mmio_read(Gpa(0xf0000012), 2), 0xffffu);
}

TEST_F(PciTest, OverlappingBarsAnswerFromTheLowerSlot) {
  PciConfigAccess(*rig.platform, 2).write(0x10, 4, PciConfigAccess(*rig.platform, 1).read(0x10, 4));
  const Gpa queues = Gpa(PciConfigAccess(*rig.platform, 1).read(0x10, 4)) + 0x12;
  EXPECT_EQ(rig.platform->mmio_read(queues, 2), 1u);  // a disk has one queue, a NIC two
}

TEST_F(PciTest, InterruptPinAndLineArePreset) {
  EXPECT_EQ(PciConfigAccess(*rig.platform, 1).read(0x3c, 2), 0x010au);
  EXPECT_EQ(PciConfigAccess(*rig.platform, 2).read(0x3c, 2), 0x010bu);
  PciConfigAccess(*rig.platform, 1).write(0x3c, 1, 3);  // software's note; routes nothing
  EXPECT_EQ(PciConfigAccess(*rig.platform, 1).read(0x3c, 1), 3u);
}

TEST_F(PciTest, ReadOnlyFieldsStay) {
  PciConfigAccess config(*rig.platform, 1);
  config.write(0, 4, 0);
  config.write(0x2c, 4, 0);
  config.write(6, 2, 0xffff);
  EXPECT_EQ(config.read(0, 4), 0x10421af4u);
  EXPECT_EQ(config.read(0x2c, 4), 0x10421af4u);
  EXPECT_EQ(config.read(6, 2), 0x0010u);
}

TEST_F(PciTest, TheBusIsFullAfter31Devices) {
  for (int i = 2; i < 31; ++i) EXPECT_TRUE(rig.platform->add_console().ok());
  auto full = rig.platform->add_console();
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().kind, ErrorKind::bad_input);
}

TEST(PciRouting, SlotsSharingAnIrqAreOred) {
  std::vector<std::pair<unsigned, bool>> seen;
  struct Device : chips::PciFunction {
    Device() : chips::PciFunction({.vendor = 1, .device = 1, .interrupt = true}) {}
    using chips::PciFunction::set_interrupt;
  } device[5];
  chips::PciHost pci([&](unsigned irq, bool level) { seen.emplace_back(irq, level); });
  for (auto& d : device) ASSERT_TRUE(pci.add(d).ok());
  device[0].set_interrupt(true);  // slot 1
  device[4].set_interrupt(true);  // slot 5, the same wire
  device[0].set_interrupt(false);
  EXPECT_EQ(seen, (std::vector<std::pair<unsigned, bool>>{{10, true}}));
  device[4].config_write(4, 2, 1 << 10);  // Interrupt Disable
  EXPECT_EQ(seen.back(), std::pair(10u, false));
}

}  // namespace
}  // namespace cupel::devices
