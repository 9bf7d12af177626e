// Reset, save and restore of the board.
#include "tests/platform/board_rig.h"

namespace cupel::platform {
namespace {

std::vector<std::byte> saved(const Board& board) {
  ArchiveWriter out;
  board.save(out);
  return out.take();
}
Result<void> restore(Board& board, std::span<const std::byte> bytes) {
  ArchiveReader in(bytes);
  return board.restore(in);
}

// Every chip away from its power-on state, interrupts under way.
void disturb(BoardRig& rig) {
  rig.init_pic();
  rig.start_timer(1193);
  rig.out(0x70, 0x0b);
  rig.out(0x71, 0x42);  // RTC: periodic interrupt, 24 hours
  rig.out(0x3fc, 8);
  rig.out(0x3f9, 1);
  rig.board->serial_input("waiting for a long time, longer than the FIFO is");
  rig.set_apic(0, 0xf0, 0x1ff);
  rig.set_apic(1, 0xf0, 0x1ff);
  rig.set_apic(1, 0x320, 0x20055);
  rig.set_apic(1, 0x380, 100'000);
  rig.bus(2).write_msr(0x1b, 0xfee00c00);
  rig.route(2, 0x41, 1);
  rig.route(4, 0x44, 0, 1 << 15);
  rig.out(0x510, 3, 2);
  rig.in(0x511);
  rig.out(0x602, 1, 2);
  rig.out(0xcf8, 0x80000804, 4);
  rig.out(0xcfc, 7, 2);
  rig.outs(0x8900, "Shut");
  rig.run(3_ms);
}

TEST(BoardState, ARestoredBoardGoesOnAsTheFirstWouldHave) {
  BoardRig first(3), second(3);
  disturb(first);
  const auto bytes = saved(*first.board);
  second.clock.set(first.clock.now());
  ASSERT_TRUE(restore(*second.board, bytes).ok());
  EXPECT_EQ(saved(*second.board), bytes);
  EXPECT_EQ(second.board->next_deadline(), first.board->next_deadline());
  for (unsigned cpu = 0; cpu < 3; ++cpu)
    EXPECT_EQ(second.bus(cpu).interrupt_pending(), first.bus(cpu).interrupt_pending());
  for (BoardRig* rig : {&first, &second}) {
    rig->interrupts.clear();
    rig->run(5_ms);
    for (unsigned cpu = 0; cpu < 2; ++cpu)
      while (rig->bus(cpu).interrupt_pending()) rig->bus(cpu).acknowledge_interrupt();
    rig->outs(0x8900, "down");
  }
  EXPECT_EQ(second.interrupts, first.interrupts);
  EXPECT_EQ(saved(*second.board), saved(*first.board));
  EXPECT_EQ(second.board->exit_request().kind, chips::ExitRequest::Kind::power_off);
  EXPECT_EQ(second.exits, first.exits);
}

TEST(BoardState, RestoringIsSilentButForTheDeadline) {
  BoardRig first(3), second(3);
  disturb(first);
  first.out(0xf4, 1);
  second.clock.set(first.clock.now());
  ASSERT_TRUE(restore(*second.board, saved(*first.board)).ok());
  EXPECT_TRUE(second.interrupts.empty());
  EXPECT_TRUE(second.events.empty());
  EXPECT_TRUE(second.exits.empty());
  EXPECT_EQ(second.board->exit_request().status, 3u);
  ASSERT_FALSE(second.deadlines.empty());
  EXPECT_EQ(second.deadlines.back(), first.board->next_deadline());
}

TEST(BoardState, ResetBringsThePowerOnStateButNotTheTimeOfDay) {
  BoardRig rig(3), fresh(3);
  disturb(rig);
  rig.out(0xcf9, 6);
  ASSERT_EQ(rig.exits.size(), 1u);
  rig.outs(0x3f8, "last words");
  rig.board->reset();
  EXPECT_EQ(rig.board->exit_request().kind, chips::ExitRequest::Kind::none);
  for (unsigned cpu = 0; cpu < 3; ++cpu) {
    EXPECT_FALSE(rig.bus(cpu).interrupt_pending()) << cpu;
    EXPECT_EQ(rig.apic(cpu, 0x20), cpu << 24);
    EXPECT_EQ(rig.apic(cpu, 0xf0), fresh.apic(cpu, 0xf0));
    EXPECT_EQ(rig.apic(cpu, 0x350), fresh.apic(cpu, 0x350)) << "LINT0";
  }
  EXPECT_EQ(rig.in(0x3f9), 0u);
  EXPECT_EQ(rig.board->take_serial_output(), "last words");
  rig.run(10_ms);
  EXPECT_EQ(rig.events, fresh.events);
  rig.out(0x70, 0x0b);
  EXPECT_EQ(rig.in(0x71), 0x02u) << "RTC interrupts off, its format kept";
  rig.run(2_s);
  rig.out(0x70, 0x00);
  EXPECT_EQ(rig.in(0x71), 0x02u) << "seconds go on";
  rig.out(0xf4, 0);
  EXPECT_EQ(rig.exits.size(), 2u) << "told again after a reset";
}

TEST(BoardState, InterruptsWorkAfterAReset) {
  BoardRig rig(3);
  disturb(rig);
  rig.board->reset();
  rig.interrupts.clear();
  rig.init_pic();
  rig.start_timer(1193);
  rig.run(1500_us);
  EXPECT_TRUE(rig.bus().interrupt_pending());
  EXPECT_EQ(rig.bus().acknowledge_interrupt(), 0x30);
}

struct OtherBoard {
  const char* name;
  BoardConfig config;
  const char* says;
};
class OtherBoardTest : public testing::TestWithParam<OtherBoard> {};
TEST_P(OtherBoardTest, IsRefusedAndChangesNothing) {
  BoardRig first(3), second(GetParam().config);
  disturb(second);
  const auto before = saved(*second.board);
  auto restored = restore(*second.board, saved(*first.board));
  ASSERT_FALSE(restored.ok());
  EXPECT_EQ(restored.error().kind, ErrorKind::bad_input);
  EXPECT_NE(restored.error().message.find(GetParam().says), std::string::npos)
      << restored.error().message;
  EXPECT_EQ(saved(*second.board), before);
}
INSTANTIATE_TEST_SUITE_P(
    Table, OtherBoardTest,
    testing::Values(
        OtherBoard{"processors", {.processors = 4}, "another number of processors"},
        OtherBoard{"ram", {.processors = 3, .ram = 64_MiB}, "another amount of RAM"},
        OtherBoard{"tsc", {.processors = 3, .tsc_hz = 2'000'000'000}, "other frequencies"},
        OtherBoard{"timer", {.processors = 3, .apic_timer_hz = 25'000'000}, "other frequencies"},
        OtherBoard{"x2apic", {.processors = 3, .x2apic = false}, "other local APICs"},
        OtherBoard{"width", {.processors = 3, .physical_bits = 39}, "other local APICs"}),
    [](const auto& p) { return p.param.name; });

TEST(BoardState, AnArchiveMayEndAnywhere) {
  BoardRig rig(3);
  disturb(rig);
  const auto bytes = saved(*rig.board);
  for (size_t size = 0; size < bytes.size(); size += 7) {
    BoardRig other(3);
    auto restored = restore(*other.board, std::span(bytes).first(size));
    ASSERT_FALSE(restored.ok()) << size;
    EXPECT_NE(restored.error().message.find("ends too early"), std::string::npos)
        << restored.error().message;
  }
}

TEST(BoardState, AnyBytesLeaveABoardThatWorks) {
  BoardRig rig(3);
  disturb(rig);
  const auto good = saved(*rig.board);
  for (const int fill : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
    for (size_t start = 0; start < good.size(); start += 61) {
      auto bytes = good;
      for (size_t i = start; i < std::min(start + 32, bytes.size()); ++i)
        bytes[i] = static_cast<std::byte>(fill);
      BoardRig other(3);
      (void)restore(*other.board, bytes).ok();
      other.board->reset();
      other.outs(0x3f8, "x");
      EXPECT_EQ(other.board->take_serial_output(), "x");
    }
  }
}

}  // namespace
}  // namespace cupel::platform
