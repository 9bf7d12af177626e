#include "core/chips/local_apic.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "tests/chips/archive_round_trip.h"

namespace cupel::chips {
namespace {

constexpr uint32_t kId = 0x20, kTpr = 0x80, kPpr = 0xa0, kEoi = 0xb0, kLdr = 0xd0, kDfr = 0xe0,
                   kSvr = 0xf0, kIsr = 0x100, kTmr = 0x180, kIrr = 0x200, kEsr = 0x280,
                   kIcrLow = 0x300, kLvtTimer = 0x320, kLint0 = 0x350, kLvtError = 0x370,
                   kInitial = 0x380, kCurrent = 0x390, kDivide = 0x3e0;
constexpr uint64_t kXapic = 0xfee00900, kX2apic = 0xfee00d00;

LocalApicConfig config(uint32_t id) {
  LocalApicConfig c;
  c.id = id;
  c.timer_hz = 1'000'000'000;
  c.tsc_hz = 3'000'000'000;
  return c;
}

class LocalApicTest : public testing::Test {
 protected:
  LocalApicTest() {
    apic.set_eoi_sink([this](uint8_t v) { eois.push_back(v); });
    apic.set_event_sink([this](DeliveryMode m, uint8_t v) { events.emplace_back(m, v); });
    out(kSvr, 0x1ff);
  }
  uint32_t in(uint32_t offset) { return static_cast<uint32_t>(apic.read(offset, 4)); }
  void out(uint32_t offset, uint32_t value) { apic.write(offset, 4, value); }
  uint32_t errors() {
    out(kEsr, 0);
    return in(kEsr);
  }
  void at(Nanoseconds t) {
    clock.set(t);
    apic.advance(t);
  }
  bool requested(uint8_t v) { return (in(kIrr + (v >> 5) * 0x10) >> (v & 31) & 1) != 0; }

  VirtualClock clock;
  LocalApic apic{clock, config(3)};
  std::vector<uint8_t> eois;
  std::vector<std::pair<DeliveryMode, uint8_t>> events;
};

TEST_F(LocalApicTest, PowerUpState) {
  LocalApic fresh(clock, config(5));
  EXPECT_EQ(fresh.apic_base(), 0xfee00900u);
  EXPECT_EQ(fresh.read(kId, 4), 0x05000000u);
  EXPECT_EQ(fresh.read(0x30, 4) & 0xff, 0x15u);
  EXPECT_EQ(fresh.read(kSvr, 4), 0xffu);
  EXPECT_EQ(fresh.read(kDfr, 4), 0xffffffffu);
  EXPECT_EQ(fresh.read(kLvtTimer, 4), 0x10000u);
  EXPECT_FALSE(fresh.software_enabled());
  EXPECT_EQ(fresh.highest_pending(), -1);
}

TEST_F(LocalApicTest, AnInterruptGoesThroughRequestServiceAndEoi) {
  EXPECT_TRUE(apic.inject(0x51, false));
  EXPECT_EQ(apic.highest_pending(), 0x51);
  EXPECT_TRUE(requested(0x51));
  EXPECT_EQ(apic.acknowledge(), 0x51);
  EXPECT_EQ(apic.highest_pending(), -1);
  EXPECT_EQ(in(kIsr + 0x20), 1u << 17);
  EXPECT_EQ(in(kPpr), 0x50u);
  out(kEoi, 0);
  EXPECT_EQ(in(kIsr + 0x20), 0u);
  EXPECT_TRUE(eois.empty()) << "an edge needs no broadcast";
}

TEST_F(LocalApicTest, OnlyAHigherClassInterrupts) {
  apic.inject(0x51, false);
  apic.acknowledge();
  apic.inject(0x5f, false);
  EXPECT_EQ(apic.highest_pending(), -1);
  apic.inject(0x60, false);
  EXPECT_EQ(apic.highest_pending(), 0x60);
  EXPECT_EQ(apic.acknowledge(), 0x60);
  out(kEoi, 0);
  out(kEoi, 0);
  EXPECT_EQ(apic.highest_pending(), 0x5f);
}

TEST_F(LocalApicTest, TaskPriorityHoldsBackItsClassAndBelow) {
  static constexpr struct {
    uint8_t tpr;
    int pending;
  } kRows[] = {{0x00, 0x45}, {0x3f, 0x45}, {0x40, -1}, {0x4f, -1}, {0xf0, -1}};
  apic.inject(0x45, false);
  for (const auto& row : kRows) {
    out(kTpr, row.tpr);
    EXPECT_EQ(apic.highest_pending(), row.pending) << int{row.tpr};
    EXPECT_EQ(in(kPpr), row.tpr);
  }
}

TEST_F(LocalApicTest, ALevelInterruptBroadcastsItsEoiUnlessSuppressed) {
  for (int i = 0; i < 2; ++i) {
    apic.inject(0x61, true);
    EXPECT_EQ(in(kTmr + 0x30), 2u);
    apic.acknowledge();
    out(kEoi, 0);
    out(kSvr, 0x11ff);
  }
  EXPECT_EQ(eois, std::vector<uint8_t>{0x61});
}

TEST_F(LocalApicTest, WithoutARequestTheSpuriousVectorIsGiven) {
  out(kSvr, 0x1ef);
  EXPECT_EQ(apic.acknowledge(), 0xef);
  EXPECT_EQ(in(kIsr + 0x70), 0u);
}

TEST_F(LocalApicTest, IllegalVectorsAreReportedInEsr) {
  EXPECT_FALSE(apic.inject(15, false));
  EXPECT_EQ(in(kEsr), 0u) << "ESR shows errors only after it is written";
  EXPECT_EQ(errors(), 0x40u);
  EXPECT_EQ(errors(), 0x00u);
  out(kIcrLow, 0x4000f);
  EXPECT_EQ(errors(), 0x20u);
  in(0x40);
  EXPECT_EQ(errors(), 0x80u);
  out(kLvtError, 0xfe);
  in(0x40);
  EXPECT_EQ(apic.highest_pending(), 0xfe);
  out(kLvtError, 3);  // an error vector that is illegal itself
  in(0x40);
  EXPECT_EQ(errors(), 0xc0u);
}

TEST_F(LocalApicTest, SoftwareDisableMasksEveryLocalSource) {
  out(kLvtTimer, 0x40);
  out(kSvr, 0xff);
  EXPECT_EQ(in(kLvtTimer), 0x10040u);
  out(kLvtTimer, 0x41);
  EXPECT_EQ(in(kLvtTimer), 0x10041u);
  EXPECT_FALSE(apic.inject(0x50, false));
  EXPECT_TRUE(apic.deliver(DeliveryMode::nmi, 0, false));
}

TEST_F(LocalApicTest, OneShotTimerFiresOnceAtItsExactTime) {
  out(kLvtTimer, 0x40);
  out(kDivide, 0x3);  // by 16
  at(100_ns);
  out(kInitial, 1000);
  EXPECT_EQ(apic.next_deadline(), 16'100_ns);
  at(1'700_ns);
  EXPECT_EQ(in(kCurrent), 900u);
  at(16'099_ns);
  EXPECT_EQ(apic.highest_pending(), -1);
  at(16'100_ns);
  EXPECT_EQ(apic.highest_pending(), 0x40);
  EXPECT_EQ(in(kCurrent), 0u);
  EXPECT_EQ(apic.next_deadline(), Nanoseconds::max());
}

TEST_F(LocalApicTest, DivideConfigurations) {
  static constexpr struct {
    uint32_t code;
    int64_t divider;
  } kRows[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}};
  out(kLvtTimer, 0x40);
  for (const auto& row : kRows) {
    out(kDivide, row.code);
    out(kInitial, 10);
    EXPECT_EQ(apic.next_deadline(), Nanoseconds(10 * row.divider));
  }
}

TEST_F(LocalApicTest, PeriodicTimerDoesNotDriftAndMergesWhatWasMissed) {
  out(kLvtTimer, 0x20040);
  out(kDivide, 0xb);
  out(kInitial, 333);
  for (int64_t i = 1; i <= 1000; ++i) {
    ASSERT_EQ(apic.next_deadline(), Nanoseconds(333 * i));
    at(apic.next_deadline());
    ASSERT_EQ(apic.acknowledge(), 0x40);
    out(kEoi, 0);
  }
  at(1_s);
  EXPECT_EQ(apic.acknowledge(), 0x40);
  EXPECT_EQ(apic.highest_pending(), -1);
  EXPECT_EQ(apic.next_deadline().count(), (1'000'000'000 / 333 + 1) * 333);
}

TEST_F(LocalApicTest, AMaskedTimerRunsUnheard) {
  out(kLvtTimer, 0x10040);
  out(kInitial, 100);
  EXPECT_EQ(apic.next_deadline(), Nanoseconds::max());
  clock.set(1_us);
  out(kLvtTimer, 0x40);
  EXPECT_EQ(apic.highest_pending(), -1);
}

TEST_F(LocalApicTest, TscDeadlineFiresWhenTheTscGetsThere) {
  out(kLvtTimer, 0x40040);
  apic.set_tsc_deadline(3'000'001);
  EXPECT_EQ(apic.tsc_deadline(), 3'000'001u);
  EXPECT_EQ(apic.next_deadline(), Nanoseconds(1'000'001));
  at(1_ms);
  EXPECT_EQ(apic.highest_pending(), -1);
  at(Nanoseconds(1'000'001));
  EXPECT_EQ(apic.acknowledge(), 0x40);
  EXPECT_EQ(apic.tsc_deadline(), 0u);
  out(kEoi, 0);
  apic.set_tsc_deadline(1);
  EXPECT_EQ(apic.highest_pending(), 0x40) << "a past deadline fires at once";
  apic.set_tsc_deadline(UINT64_MAX);
  EXPECT_GT(apic.next_deadline(), 1_s * 6'000'000'000) << "190 years";
  out(kInitial, 5);
  EXPECT_EQ(in(kInitial), 0u) << "ignored in this mode";
}

TEST_F(LocalApicTest, TscOffsetShiftsTheDeadline) {
  out(kLvtTimer, 0x40040);
  apic.set_tsc_offset(-3000);
  apic.set_tsc_deadline(3000);
  EXPECT_EQ(apic.next_deadline(), 2_us);
  apic.set_tsc_offset(1500);
  EXPECT_EQ(apic.next_deadline(), 500_ns);
}

TEST_F(LocalApicTest, ChangingTheTimerModeDisarmsAtTheTscDeadlineOnly) {
  out(kLvtTimer, 0x40);
  out(kInitial, 1000);
  out(kLvtTimer, 0x20040);
  EXPECT_NE(apic.next_deadline(), Nanoseconds::max());
  out(kLvtTimer, 0x40040);
  EXPECT_EQ(apic.next_deadline(), Nanoseconds::max());
  apic.set_tsc_deadline(1u << 30);
  out(kLvtTimer, 0x40);
  EXPECT_EQ(apic.next_deadline(), Nanoseconds::max());
  EXPECT_EQ(apic.tsc_deadline(), 0u);
}

TEST_F(LocalApicTest, Lint0PassesExternalInterrupts) {
  apic.set_lint(0, true);
  EXPECT_FALSE(apic.extint_pending()) << "masked";
  apic.enable_virtual_wire();
  EXPECT_TRUE(apic.extint_pending());
  EXPECT_EQ(apic.highest_pending(), -1);
  apic.set_lint(0, false);
  EXPECT_FALSE(apic.extint_pending());
  apic.set_lint(1, true);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].first, DeliveryMode::nmi);
}

TEST_F(LocalApicTest, ADisabledApicConnectsLint0ToTheProcessor) {
  ASSERT_TRUE(apic.set_apic_base(0xfee00100));
  apic.set_lint(0, true);
  EXPECT_TRUE(apic.extint_pending());
}

TEST_F(LocalApicTest, ALevelTriggeredLintFiresAgainAfterEoi) {
  out(kLint0, 0x8070);
  apic.set_lint(0, true);
  EXPECT_EQ(in(kLint0), 0xc070u);
  EXPECT_EQ(apic.acknowledge(), 0x70);
  EXPECT_EQ(apic.highest_pending(), -1);
  out(kEoi, 0);
  EXPECT_EQ(apic.acknowledge(), 0x70);
  apic.set_lint(0, false);
  out(kEoi, 0);
  EXPECT_EQ(apic.highest_pending(), -1);
  EXPECT_EQ(in(kLint0), 0x8070u);
}

TEST_F(LocalApicTest, ApicBaseTransitionsFollowTheStateMachine) {
  static constexpr uint64_t kOff = 0xfee00100;
  static constexpr struct {
    std::vector<uint64_t> (*path)();
    uint64_t to;
    bool ok;
  } kRows[] = {
      {[] { return std::vector<uint64_t>{}; }, kX2apic, true},
      {[] { return std::vector<uint64_t>{}; }, kOff, true},
      {[] { return std::vector<uint64_t>{}; }, 0xfee00500, false},
      {[] { return std::vector<uint64_t>{}; }, 0xfee00901, false},
      {[] { return std::vector<uint64_t>{}; }, 1ull << 46 | 0x900, false},
      {[] { return std::vector<uint64_t>{}; }, 0x12345900, true},
      {[] { return std::vector<uint64_t>{kX2apic}; }, kXapic, false},
      {[] { return std::vector<uint64_t>{kX2apic}; }, 0xfee00500, false},
      {[] { return std::vector<uint64_t>{kX2apic}; }, kOff, true},
      {[] { return std::vector<uint64_t>{kOff}; }, kX2apic, false},
      {[] { return std::vector<uint64_t>{kOff}; }, kXapic, true},
  };
  for (size_t i = 0; i < std::size(kRows); ++i) {
    LocalApic a(clock, config(0));
    for (const uint64_t step : kRows[i].path()) ASSERT_TRUE(a.set_apic_base(step));
    const uint64_t before = a.apic_base();
    EXPECT_EQ(a.set_apic_base(kRows[i].to), kRows[i].ok) << i;
    EXPECT_EQ(a.apic_base(), kRows[i].ok ? kRows[i].to : before) << i;
  }
}

TEST_F(LocalApicTest, DisablingResetsTheRegisters) {
  apic.inject(0x50, false);
  ASSERT_TRUE(apic.set_apic_base(0xfee00100));
  EXPECT_EQ(apic.highest_pending(), -1);
  EXPECT_EQ(apic.read(kSvr, 4) & 0xffffffff, 0xffffffffu);
  ASSERT_TRUE(apic.set_apic_base(kXapic));
  EXPECT_EQ(in(kSvr), 0xffu);
}

TEST_F(LocalApicTest, X2apicRegistersGiveGpAsTheManualSays) {
  EXPECT_FALSE(apic.read_msr(0x802)) << "not in xAPIC mode";
  ASSERT_TRUE(apic.set_apic_base(kX2apic));
  static constexpr struct {
    uint32_t msr;
    bool readable;
    uint64_t value;
    bool writable;
  } kRows[] = {
      {0x800, false, 0, false},         {0x802, true, 0, false},
      {0x803, true, 0, false},          {0x808, true, 0x20, true},
      {0x808, true, 0x100, false},      {0x809, false, 0, false},
      {0x80a, true, 0, false},          {0x80b, false, 0, true},
      {0x80b, false, 1, false},         {0x80d, true, 0, false},
      {0x80e, false, 0, false},         {0x80f, true, 0x1ff, true},
      {0x80f, true, 0x3ff, false},      {0x810, true, 0, false},
      {0x827, true, 0, false},          {0x828, true, 0, true},
      {0x828, true, 1, false},          {0x82f, true, 0x10000, true},
      {0x830, true, 0xff, true},        {0x830, true, 1u << 20, false},
      {0x831, false, 0, false},         {0x832, true, 0x20040, true},
      {0x832, true, 1u << 20, false},   {0x838, true, 9, true},
      {0x838, true, 1ull << 32, false}, {0x839, true, 0, false},
      {0x83e, true, 0xb, true},         {0x83e, true, 4, false},
      {0x83f, false, 0x40, true},       {0x840, false, 0, false},
      {0x8ff, false, 0, false},         {0x7ff, false, 0, false},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(apic.read_msr(row.msr).has_value(), row.readable) << std::hex << row.msr;
    EXPECT_EQ(apic.write_msr(row.msr, row.value), row.writable) << std::hex << row.msr;
  }
  EXPECT_EQ(apic.highest_pending(), 0x40) << "the self IPI";
}

TEST_F(LocalApicTest, DestinationsMatch) {
  LocalApic x2(clock, config(0x123));
  ASSERT_TRUE(x2.set_apic_base(kX2apic));
  EXPECT_EQ(x2.read_msr(0x80d), 0x00120008u);
  out(kLdr, 0x34000000);
  static constexpr struct {
    bool x2;
    uint32_t dfr, destination;
    bool logical, match;
  } kRows[] = {
      {false, ~0u, 3, false, true},
      {false, ~0u, 0x34, false, false},
      {false, ~0u, 0xff, false, true},
      {false, ~0u, 0x04, true, true},
      {false, ~0u, 0xc0, true, false},
      {false, 0, 0x34, true, true},
      {false, 0, 0x44, true, false},
      {false, 0, 0xf4, true, true},
      {false, 0, 0x38, true, false},
      {true, 0, 0x123, false, true},
      {true, 0, 0x23, false, false},
      {true, 0, 0xff, false, false},
      {true, 0, 0x0012000c, true, true},
      {true, 0, 0x00130008, true, false},
      {true, 0, ApicMessage::kBroadcast, true, true},
      {true, 0, ApicMessage::kBroadcast, false, true},
  };
  for (size_t i = 0; i < std::size(kRows); ++i) {
    const auto& row = kRows[i];
    if (!row.x2) out(kDfr, row.dfr);
    EXPECT_EQ((row.x2 ? x2 : apic).matches(row.destination, row.logical), row.match) << i;
  }
}

TEST_F(LocalApicTest, ARestoredApicGoesOnMidService) {
  out(kLvtTimer, 0x20040);
  out(kDivide, 0xb);
  out(kInitial, 1000);
  at(300_ns);
  apic.inject(0x61, true);
  apic.acknowledge();
  apic.inject(0x93, false);
  apic.inject(0x31, false);
  LocalApic other(clock, config(3));
  copy_state(apic, other);
  EXPECT_EQ(other.highest_pending(), 0x93);
  EXPECT_EQ(other.next_deadline(), 1_us);
  EXPECT_EQ(other.read(kCurrent, 4), 700u);
  std::vector<uint8_t> ended;
  other.set_eoi_sink([&](uint8_t v) { ended.push_back(v); });
  other.write(kEoi, 4, 0);
  EXPECT_EQ(ended, std::vector<uint8_t>{0x61});
}

TEST_F(LocalApicTest, GarbageIsSurvived) {
  for (const int fill : {0x00, 0x11, 0x7f, 0x80, 0xff}) {
    restore_garbage(apic, std::byte(fill));
    uint64_t x = 9;
    for (int i = 0; i < 20000; ++i) {
      x = x * 6364136223846793005ull + 1442695040888963407ull;
      const auto offset = static_cast<uint32_t>(x >> 52);
      apic.write(i % 8 == 0 ? offset : offset & 0xff0, i % 16 == 0 ? 8 : 4, x >> 8);
      apic.read(offset, 4);
      apic.write_msr(0x800 + (offset >> 4 & 0x3f), x >> 20);
      apic.read_msr(0x800 + (offset & 0xff));
      apic.set_lint(x >> 40 & 3, (x >> 42 & 1) != 0);
      apic.deliver(static_cast<DeliveryMode>(x >> 33 & 7), static_cast<uint8_t>(x >> 24), i % 2);
      if (i % 64 == 0) apic.set_apic_base(0xfee00000 | (x >> 30 & 0xd00));
      apic.set_tsc_deadline(x >> (i % 40));
      if (i % 3 == 0) apic.acknowledge();
      clock.set(clock.now() + Nanoseconds(static_cast<int64_t>(x >> 44)));
      apic.advance(clock.now());
      ASSERT_GT(apic.next_deadline(), clock.now() - 1_us);
    }
  }
}

}  // namespace
}  // namespace cupel::chips
