#include "core/chips/apic_bus.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace cupel::chips {
namespace {

constexpr uint32_t kTpr = 0x80, kLdr = 0xd0, kSvr = 0xf0, kIcrLow = 0x300, kIcrHigh = 0x310;

LocalApicConfig config(uint32_t id) {
  LocalApicConfig c;
  c.id = id;
  return c;
}

class ApicBusTest : public testing::Test {
 protected:
  ApicBusTest() {
    for (uint32_t i = 0; i < 4; ++i) {
      apics.push_back(std::make_unique<LocalApic>(clock, config(i)));
      apics[i]->write(kSvr, 4, 0x1ff);
      apics[i]->set_event_sink([this, i](DeliveryMode m, uint8_t v) {
        events.push_back({i, m, v});
      });
      bus.attach(*apics[i]);
    }
  }
  std::vector<int> pending() {
    std::vector<int> all;
    for (const auto& a : apics) all.push_back(a->highest_pending());
    return all;
  }
  struct Event {
    uint32_t who;
    DeliveryMode mode;
    uint8_t vector;
    bool operator==(const Event&) const = default;
  };

  VirtualClock clock;
  std::vector<std::unique_ptr<LocalApic>> apics;
  ApicBus bus;
  std::vector<Event> events;
};

TEST_F(ApicBusTest, ShorthandsReachTheRightProcessors) {
  static constexpr struct {
    uint32_t icr;
    int expect[4];
  } kRows[] = {{0x40040, {-1, 0x40, -1, -1}},
               {0x80050, {0x50, 0x50, 0x50, 0x50}},
               {0xc0060, {0x60, 0x50, 0x60, 0x60}},
               {0x00070, {0x60, 0x50, 0x70, 0x60}}};
  for (const auto& row : kRows) {
    apics[1]->write(kIcrHigh, 4, 0x02000000);
    apics[1]->write(kIcrLow, 4, row.icr);
    EXPECT_EQ(pending(), std::vector<int>(row.expect, row.expect + 4)) << std::hex << row.icr;
  }
}

TEST_F(ApicBusTest, StartUpSequenceReachesTheTarget) {
  apics[0]->write(kIcrHigh, 4, 0x03000000);
  apics[0]->write(kIcrLow, 4, 0x0000c500);
  apics[0]->write(kIcrLow, 4, 0x00008500);  // de-assert: nothing
  apics[0]->write(kIcrLow, 4, 0x00000608);
  EXPECT_EQ(events,
            (std::vector<Event>{{3, DeliveryMode::init, 0}, {3, DeliveryMode::startup, 8}}));
  EXPECT_EQ(apics[0]->read(kIcrLow, 4), 0x608u);
}

TEST_F(ApicBusTest, LowestPriorityGoesToTheLeastBusy) {
  for (uint32_t i = 0; i < 4; ++i) {
    apics[i]->write(kLdr, 4, 1u << (24 + i));
    apics[i]->write(kTpr, 4, i == 2 ? 0x10 : 0x30);
  }
  ApicMessage m;
  m.destination = 0x0f;
  m.logical = true;
  m.mode = DeliveryMode::lowest_priority;
  m.vector = 0x80;
  EXPECT_TRUE(bus.deliver(m));
  EXPECT_EQ(pending(), (std::vector<int>{-1, -1, 0x80, -1}));
  m.destination = 0;
  EXPECT_FALSE(bus.deliver(m));
}

TEST_F(ApicBusTest, X2apicCommandsCarryWideDestinations) {
  for (const auto& a : apics) ASSERT_TRUE(a->set_apic_base(a->apic_base() | 0xc00));
  EXPECT_TRUE(apics[0]->write_msr(0x830, 2ull << 32 | 0x44));
  EXPECT_TRUE(apics[0]->write_msr(0x830, 0xffffffffull << 32 | 0x0000c400 | 0x4000));
  EXPECT_EQ(pending(), (std::vector<int>{-1, -1, 0x44, -1}));
  EXPECT_EQ(events.size(), 4u) << "an NMI for all";
}

}  // namespace
}  // namespace cupel::chips
