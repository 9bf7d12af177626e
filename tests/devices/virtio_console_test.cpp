#include "hypervisor/devices/virtio_console.h"

#include "tests/devices/guest_rig.h"
#include "tests/devices/virtio_driver.h"

namespace cupel::devices {
namespace {

struct VirtioConsoleTest : testing::Test {
  VirtioConsoleTest() {
    auto added = rig.platform->add_console();
    console = *added;
    console->set_sink([this](std::span<const std::byte> bytes) {
      for (const std::byte b : bytes) printed += static_cast<char>(b);
    });
    driver = std::make_unique<VirtioDriver>(*rig.platform, rig.memory, 1);
    EXPECT_TRUE(driver->start(VirtioDriver::kVersion1, 2));
  }
  size_t type(std::string_view text) { return console->receive(std::as_bytes(std::span(text))); }
  GuestRig rig;
  VirtioConsole* console = nullptr;
  std::string printed;
  std::unique_ptr<VirtioDriver> driver;
};

TEST_F(VirtioConsoleTest, PrintsWhatTheGuestSends) {
  const Gpa text = driver->allocate(16);
  rig.memory.write(text, std::as_bytes(std::span("hello", 5)));
  driver->add(1, {{text, 2}, {text + 2, 3}}, {});
  driver->kick(1);
  EXPECT_EQ(printed, "hello");
  EXPECT_TRUE(driver->take_used(1).has_value());
}

TEST_F(VirtioConsoleTest, InputWaitsForBuffersAndIsSplit) {
  EXPECT_EQ(type("abcdef"), 6u);
  const Gpa a = driver->allocate(4), b = driver->allocate(4);
  driver->add(0, {}, {{a, 4}});
  driver->add(0, {}, {{b, 4}});
  driver->kick(0);
  EXPECT_EQ(driver->take_used(0)->length, 4u);
  EXPECT_EQ(driver->take_used(0)->length, 2u);
  char first = 0;
  rig.memory.read(b, first);
  EXPECT_EQ(first, 'e');
  EXPECT_EQ(driver->isr(), 1);
}

TEST_F(VirtioConsoleTest, InputIsBounded) {
  EXPECT_EQ(type(std::string(VirtioConsole::kBacklog + 10, 'x')), VirtioConsole::kBacklog);
  EXPECT_EQ(type("y"), 0u);
}

}  // namespace
}  // namespace cupel::devices
