#include "hypervisor/devices/virtqueue.h"

#include <functional>

#include "core/probe.h"
#include "tests/devices/guest_rig.h"
#include "tests/devices/virtio_driver.h"

namespace cupel::devices {
namespace {

constexpr uint64_t kRam = 16_MiB;
constexpr uint64_t kBuffer = 0x200000;

struct QueueRig {
  explicit QueueRig(uint64_t features = VirtioDriver::kVersion1 | VirtioDriver::kIndirect) {
    auto added = rig.platform->add_disk(disk, {});
    device = *added;
    driver = std::make_unique<VirtioDriver>(*rig.platform, rig.memory, 1);
    EXPECT_TRUE(driver->negotiate(features));
    driver->setup_queue(0, 8);
    driver->set_status(15);
  }
  GuestRig rig{kRam};
  TestDisk disk{rig.events, 64};
  VirtioBlock* device = nullptr;
  std::unique_ptr<VirtioDriver> driver;
};

// What a hostile driver may leave in its rings, and a word of the reason that must be kept.
struct Hostile {
  const char* name;
  std::function<void(VirtioDriver&)> attack;
  const char* reason;
};
class HostileRingTest : public testing::TestWithParam<Hostile> {};

void chain(VirtioDriver& d, std::vector<Descriptor> table, uint16_t head = 0) {
  for (uint16_t i = 0; i < table.size(); ++i) d.write_descriptor(0, i, table[i]);
  d.offer(0, head);
}
constexpr uint16_t kN = kDescNext, kW = kDescWrite, kI = kDescIndirect;

TEST_P(HostileRingTest, BreaksTheDeviceWithAReasonAndAResetHealsIt) {
  QueueRig q;
  GetParam().attack(*q.driver);
  q.driver->kick(0);
  EXPECT_EQ(q.driver->status() & 64, 64);
  ASSERT_EQ(q.rig.broken.size(), 1u);
  EXPECT_NE(q.rig.broken[0].find(GetParam().reason), std::string::npos) << q.rig.broken[0];
  EXPECT_EQ(q.rig.broken[0].find("virtio-block in slot 1: queue 0: "), 0u) << q.rig.broken[0];
  EXPECT_EQ(q.rig.broken[0].find('\n'), std::string::npos);
  EXPECT_EQ(q.driver->isr() & 2, 2);  // told by a configuration change
  q.driver->kick(0);                  // stays quiet
  EXPECT_EQ(q.rig.broken.size(), 1u);

  ASSERT_TRUE(q.driver->start());
  const Gpa request = q.driver->allocate(64);
  q.rig.memory.write(request, uint32_t{8});
  q.driver->add(0, {{request, 16}}, {{request + 16, 21}});
  q.driver->kick(0);
  EXPECT_TRUE(q.driver->take_used(0).has_value());
}

INSTANTIATE_TEST_SUITE_P(
    Table, HostileRingTest,
    testing::Values(
        Hostile{"index_jump", [](VirtioDriver& d) { d.set_avail_index(0, 9); }, "jumped"},
        Hostile{"index_backwards", [](VirtioDriver& d) { d.set_avail_index(0, 0xffff); }, "jumped"},
        Hostile{"head_beyond_ring", [](VirtioDriver& d) { d.offer(0, 8); }, "does not exist"},
        Hostile{"head_far_beyond", [](VirtioDriver& d) { d.offer(0, 0xffff); }, "does not exist"},
        Hostile{"self_loop",
                [](VirtioDriver& d) {
                  chain(d, {{kBuffer, 16, kN, 0}});
                },
                "loops"},
        Hostile{"two_loop",
                [](VirtioDriver& d) {
                  chain(d, {{kBuffer, 16, kN, 1}, {kBuffer, 16, kN, 0}});
                },
                "loops"},
        Hostile{"next_beyond_ring",
                [](VirtioDriver& d) {
                  chain(d, {{kBuffer, 16, kN, 8}});
                },
                "does not exist"},
        Hostile{"outside_ram",
                [](VirtioDriver& d) {
                  chain(d, {{kRam, 16, 0, 0}});
                },
                "outside RAM"},
        Hostile{"over_the_end",
                [](VirtioDriver& d) {
                  chain(d, {{kRam - 8, 16, 0, 0}});
                },
                "outside RAM"},
        Hostile{"address_wraps",
                [](VirtioDriver& d) {
                  chain(d, {{~0ull - 7, 16, 0, 0}});
                },
                "outside RAM"},
        Hostile{"device_window",
                [](VirtioDriver& d) {
                  chain(d, {{0xe0000000, 16, 0, 0}});
                },
                "outside RAM"},
        Hostile{"empty_buffer",
                [](VirtioDriver& d) {
                  chain(d, {{kBuffer, 0, 0, 0}});
                },
                "empty buffer"},
        Hostile{"readable_after_writable",
                [](VirtioDriver& d) {
                  chain(d, {{kBuffer, 16, kN | kW, 1}, {kBuffer, 16, 0, 0}});
                },
                "readable buffer after"},
        Hostile{"too_many_bytes",
                [](VirtioDriver& d) {
                  chain(d, {{0, 5_MiB, kN, 1}, {0, 5_MiB, kN, 2}, {0, 16, kW, 0}});
                },
                "bytes"},
        Hostile{"huge_buffer",
                [](VirtioDriver& d) {
                  chain(d, {{0, 0xffffffff, 0, 0}});
                },
                "outside RAM"},
        Hostile{
            "offered_twice",
            [](VirtioDriver& d) {
              chain(d, {{kBuffer, 16, kN, 1}, {kBuffer + 16, 513, kW, 0}});  // a read of sector 0
              d.offer(0, 0);
            },
            "again while in use"},
        Hostile{"indirect_empty",
                [](VirtioDriver& d) {
                  chain(d, {{kBuffer, 0, kI, 0}});
                },
                "indirect table of 0"},
        Hostile{"indirect_ragged",
                [](VirtioDriver& d) {
                  chain(d, {{kBuffer, 24, kI, 0}});
                },
                "indirect table of 24"},
        Hostile{"indirect_too_long",
                [](VirtioDriver& d) {
                  chain(d, {{kBuffer, 16 * 9, kI, 0}});
                },
                "9 descriptors"},
        Hostile{"indirect_huge",
                [](VirtioDriver& d) {
                  chain(d, {{0, 0xfffffff0, kI, 0}});
                },
                "descriptors in a ring"},
        Hostile{"indirect_outside",
                [](VirtioDriver& d) {
                  chain(d, {{kRam, 16, kI, 0}});
                },
                "outside RAM"},
        Hostile{"indirect_with_next",
                [](VirtioDriver& d) {
                  chain(d, {{kBuffer, 16, kI | kN, 1}});
                },
                "next descriptor"},
        Hostile{"indirect_nested",
                [](VirtioDriver& d) {
                  d.add_indirect(0, {{kBuffer, 16, kI, 0}});
                },
                "inside an indirect"},
        Hostile{"indirect_loop",
                [](VirtioDriver& d) {
                  d.add_indirect(0, {{kBuffer, 16, kN, 1}, {kBuffer, 16, kN, 0}});
                },
                "loops"},
        Hostile{"indirect_next_beyond",
                [](VirtioDriver& d) {
                  d.add_indirect(0, {{kBuffer, 16, kN, 1}});
                },
                "does not exist"},
        Hostile{"too_many_buffers",
                [](VirtioDriver& d) {
                  for (uint16_t i = 0; i < 7; ++i)
                    d.write_descriptor(0, i, {kBuffer, 1, kN, static_cast<uint16_t>(i + 1)});
                  d.allocate(0);
                  std::vector<Descriptor> table;
                  for (uint16_t i = 0; i < 8; ++i)
                    table.push_back({kBuffer, 1, kN, static_cast<uint16_t>(i + 1)});
                  table.back().flags = 0;
                  d.rings[0].next_desc = 7;
                  d.add_indirect(0, table);
                  d.set_avail_index(0, 0);
                  d.offer(0, 0);
                },
                "buffers"},
        Hostile{"no_header",
                [](VirtioDriver& d) {
                  chain(d, {{kBuffer, 1, kW, 0}});
                },
                "no header"},
        Hostile{"short_header",
                [](VirtioDriver& d) {
                  chain(d, {{kBuffer, 15, kN, 1}, {kBuffer, 1, kW, 0}});
                },
                "no header"},
        Hostile{"no_status_byte",
                [](VirtioDriver& d) {
                  chain(d, {{kBuffer, 16, 0, 0}});
                },
                "no status byte"}),
    [](const auto& p) { return p.param.name; });

TEST(Virtqueue, IndirectNeedsItsFeature) {
  QueueRig q(VirtioDriver::kVersion1);
  q.driver->add_indirect(0, {{kBuffer, 16, kN, 1}, {kBuffer + 16, 21, kW, 0}});
  q.driver->kick(0);
  ASSERT_EQ(q.rig.broken.size(), 1u);
  EXPECT_NE(q.rig.broken[0].find("INDIRECT_DESC"), std::string::npos);
}

TEST(Virtqueue, IndexesWrapAround) {
  QueueRig q;
  q.rig.memory.write(Gpa(kBuffer), uint32_t{8});
  for (int i = 0; i < 70'000; ++i) {
    q.driver->add(0, {{Gpa(kBuffer), 16}}, {{Gpa(kBuffer + 16), 21}});
    q.driver->kick(0);
    ASSERT_TRUE(q.driver->take_used(0).has_value()) << i;
  }
  EXPECT_TRUE(q.rig.broken.empty());
}

TEST(Virtqueue, NoInterruptFlagSuppresses) {
  QueueRig q;
  q.rig.memory.write(Gpa(kBuffer), uint32_t{8});
  q.rig.memory.write(q.driver->rings[0].avail, uint16_t{1});
  q.driver->add(0, {{Gpa(kBuffer), 16}}, {{Gpa(kBuffer + 16), 21}});
  q.driver->kick(0);
  EXPECT_TRUE(q.driver->take_used(0).has_value());
  EXPECT_EQ(q.driver->isr(), 0);
}

TEST(Virtqueue, EventIndexInterruptsWhenTheNamedEntryIsUsed) {
  QueueRig q(VirtioDriver::kVersion1 | VirtioDriver::kEventIdx);
  q.rig.memory.write(Gpa(kBuffer), uint32_t{8});
  const auto& ring = q.driver->rings[0];
  q.rig.memory.write(ring.avail + 4 + 2 * ring.size, uint16_t{2});  // used_event: the third
  for (const uint8_t expected : {0, 0, 1, 0}) {
    q.driver->add(0, {{Gpa(kBuffer), 16}}, {{Gpa(kBuffer + 16), 21}});
    q.driver->kick(0);
    EXPECT_EQ(q.driver->isr(), expected);
  }
  uint16_t avail_event = 0;
  q.rig.memory.read(ring.used + 4 + 8 * ring.size, avail_event);
  EXPECT_EQ(avail_event, 4);  // the device has seen all four and wants the next kick
}

// Random bytes all over the rings: never a crash, never a hang.
TEST(Virtqueue, GarbageInTheRings) {
  QueueRig q;
  uint64_t x = 0x9e3779b97f4a7c15ull;
  const auto next = [&x] {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    return x;
  };
  for (int round = 0; round < 3000; ++round) {
    if (round == 0 || (q.driver->status() & 64) != 0) {
      ASSERT_TRUE(q.driver->negotiate(VirtioDriver::kVersion1 | VirtioDriver::kIndirect));
      q.driver->common_write(0x18, 2, 8);
      q.driver->common_write(0x20, 8, 0x1000);
      q.driver->common_write(0x28, 8, 0x2000);
      q.driver->common_write(0x30, 8, 0x3000);
      q.driver->common_write(0x1c, 2, 1);
      q.driver->set_status(15);
    }
    for (unsigned i = 0; i < 8; ++i) {
      const Descriptor d{next() % (kRam + 4096), static_cast<uint32_t>(next() % 2048),
                         static_cast<uint16_t>(next() % 8), static_cast<uint16_t>(next() % 9)};
      q.rig.memory.write(Gpa(0x1000) + 16 * i, d);
      q.rig.memory.write(Gpa(0x2004) + 2 * i, static_cast<uint16_t>(next() % 8));
    }
    q.rig.memory.write(Gpa(0x2002), static_cast<uint16_t>(next() % 9));
    q.rig.platform->mmio_write(q.driver->capability(2), 2, 0);
    q.rig.run_events();
  }
  EXPECT_GT(q.rig.broken.size(), 100u);
}

}  // namespace
}  // namespace cupel::devices
