#include "hypervisor/devices/virtio_net.h"

#include "tests/devices/guest_rig.h"
#include "tests/devices/virtio_driver.h"

namespace cupel::devices {
namespace {

constexpr uint64_t kFeatures = VirtioDriver::kVersion1 | 1 << 5 | 1 << 16;

struct VirtioNetTest : testing::Test {
  VirtioNetTest() {
    auto added = rig.platform->add_nic(port, {0x52, 0x54, 0, 1, 2, 3});
    nic = *added;
    driver = std::make_unique<VirtioDriver>(*rig.platform, rig.memory, 1);
    EXPECT_TRUE(driver->start(kFeatures, 2));
  }
  Frame frame(size_t size, uint8_t fill = 7) { return Frame(size, std::byte{fill}); }
  // A header in one buffer and the frame in another, as Linux sends them.
  void send(size_t size, uint8_t flags = 0, uint8_t gso = 0) {
    const Gpa header = driver->allocate(12), data = driver->allocate(size);
    rig.memory.write(header, flags);
    rig.memory.write(header + 1, gso);
    for (std::byte& b : rig.memory.writable(data, size)) b = std::byte{9};
    driver->add(1, {{header, 12}, {data, static_cast<uint32_t>(size)}}, {});
    driver->kick(1);
  }
  TestPort port;
  GuestRig rig;
  VirtioNet* nic = nullptr;
  std::unique_ptr<VirtioDriver> driver;
};

TEST_F(VirtioNetTest, ConfigurationShowsMacAndLink) {
  EXPECT_EQ(driver->device_config(0, 4), 0x01005452u);
  EXPECT_EQ(driver->device_config(4, 2), 0x0302u);
  EXPECT_EQ(driver->device_config(6, 2), 1u);
}

TEST_F(VirtioNetTest, LinkChangesRaiseAConfigurationInterrupt) {
  const auto generation = driver->common_read(0x15, 1);
  port.set_link(false);
  EXPECT_EQ(driver->isr(), 2);
  EXPECT_EQ(driver->device_config(6, 2), 0u);
  EXPECT_NE(driver->common_read(0x15, 1), generation);
}

TEST_F(VirtioNetTest, SendsFrames) {
  send(60);
  ASSERT_EQ(port.sent.size(), 1u);
  EXPECT_EQ(port.sent[0], frame(60, 9));
  EXPECT_EQ(driver->take_used(1)->length, 0u);
}

TEST_F(VirtioNetTest, DropsFramesThatNoWireCarries) {
  send(13);
  send(1515);
  send(60, 1, 0);  // checksum offload that was not offered
  send(60, 0, 1);
  const Gpa header = driver->allocate(8);
  driver->add(1, {{header, 8}}, {});
  driver->kick(1);
  EXPECT_TRUE(port.sent.empty());
  EXPECT_EQ(nic->counters().send_dropped, 5u);
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(driver->take_used(1).has_value());
  EXPECT_TRUE(rig.broken.empty());
}

TEST_F(VirtioNetTest, DeliversIntoOfferedBuffers) {
  const Gpa buffer = driver->allocate(1526);
  driver->add(0, {}, {{buffer, 12}, {buffer + 12, 1514}});
  driver->kick(0);
  port.deliver(frame(100));
  EXPECT_EQ(driver->take_used(0)->length, 112u);
  EXPECT_EQ(driver->isr(), 1);
  uint16_t buffers = 0;
  rig.memory.read(buffer + 10, buffers);
  EXPECT_EQ(buffers, 1);
  std::byte last{};
  rig.memory.read(buffer + 111, last);
  EXPECT_EQ(last, std::byte{7});
}

TEST_F(VirtioNetTest, FramesWaitForBuffersUpToTheBacklog) {
  for (size_t i = 0; i < VirtioNet::kBacklog + 3; ++i) port.deliver(frame(60));
  EXPECT_EQ(nic->counters().receive_dropped, 3u);
  for (int i = 0; i < 10; ++i) driver->add(0, {}, {{driver->allocate(1526), 1526}});
  driver->kick(0);
  EXPECT_EQ(nic->counters().received, 10u);
}

TEST_F(VirtioNetTest, TooSmallBuffersComeBackEmpty) {
  driver->add(0, {}, {{driver->allocate(64), 40}});
  driver->kick(0);
  port.deliver(frame(60));
  EXPECT_EQ(driver->take_used(0)->length, 0u);
  EXPECT_EQ(nic->counters().receive_dropped, 1u);
}

TEST_F(VirtioNetTest, ReceivesNothingBeforeTheDriverIsReady) {
  driver->set_status(0);
  port.deliver(frame(60));
  EXPECT_TRUE(driver->start(kFeatures, 2));
  driver->add(0, {}, {{driver->allocate(1526), 1526}});
  driver->kick(0);
  EXPECT_FALSE(driver->take_used(0).has_value());
}

TEST_F(VirtioNetTest, BacklogSurvivesASnapshot) {
  port.deliver(frame(60));
  ArchiveWriter out;
  rig.platform->save(out);
  TestPort port2;
  GuestRig copy;
  port2.up = false;  // the new host has no link
  ASSERT_TRUE(copy.platform->add_nic(port2, {0x52, 0x54, 0, 1, 2, 3}).ok());
  copy.memory.write(Gpa(0), rig.memory.view(Gpa(0), rig.memory.size()));
  ArchiveReader in(out.bytes());
  ASSERT_TRUE(copy.platform->restore(in).ok());
  auto& device = copy.platform->device(0).device();
  EXPECT_EQ(device.config_byte(6), 0);  // sees its own link
  VirtioDriver attached(*copy.platform, copy.memory, 1, Gpa(0x800000));
  attached.rings = driver->rings;
  const Gpa buffer = attached.allocate(1526);
  attached.add(0, {}, {{buffer, 1526}});
  attached.kick(0);
  EXPECT_EQ(attached.take_used(0)->length, 72u);
}

}  // namespace
}  // namespace cupel::devices
