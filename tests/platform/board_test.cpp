#include "tests/platform/board_rig.h"

namespace cupel::platform {
namespace {

using chips::DeliveryMode;
using Kind = chips::ExitRequest::Kind;

struct BadBoard {
  const char* name;
  BoardConfig config;
  const char* says;
};
class BadBoardTest : public testing::TestWithParam<BadBoard> {};
TEST_P(BadBoardTest, IsRefused) {
  VirtualClock clock;
  auto board = Board::create(clock, GetParam().config);
  ASSERT_FALSE(board.ok());
  EXPECT_EQ(board.error().kind, ErrorKind::bad_input);
  EXPECT_NE(board.error().message.find(GetParam().says), std::string::npos)
      << board.error().message;
  EXPECT_FALSE(board.error().hint.empty());
}
INSTANTIATE_TEST_SUITE_P(
    Table, BadBoardTest,
    testing::Values(BadBoard{"no_processor", {.processors = 0}, "0 processors"},
                    BadBoard{"too_many", {.processors = 65}, "65 processors"},
                    BadBoard{"no_ram", {.ram = 0}, "0 bytes of RAM"},
                    BadBoard{"ram_over_the_hole", {.ram = 4_GiB}, "of RAM"},
                    BadBoard{"odd_ram", {.ram = 4_MiB + 1}, "of RAM"},
                    BadBoard{"slow_tsc", {.tsc_hz = 0}, "TSC of 0 Hz"},
                    BadBoard{"fast_timer", {.apic_timer_hz = ~0ull}, "APIC timer of"},
                    BadBoard{"narrow", {.physical_bits = 31}, "31 bits"},
                    BadBoard{"wide", {.physical_bits = 53}, "53 bits"}),
    [](const auto& p) { return p.param.name; });

TEST(Board, SerialPortTalksAndListens) {
  BoardRig rig;
  rig.outs(0x3f8, "hello\n");
  EXPECT_EQ(rig.board->take_serial_output(), "hello\n");
  EXPECT_EQ(rig.board->take_serial_output(), "");
  rig.out(0x3fa, 1);
  rig.board->serial_input("xy");
  EXPECT_EQ(rig.in(0x3fd) & 1, 1u);
  EXPECT_EQ(rig.in(0x3f8), 'x');
  EXPECT_EQ(rig.in(0x3f8), 'y');
}

TEST(Board, NothingThereReadsAsOnes) {
  BoardRig rig;
  EXPECT_EQ(rig.in(0x1234), 0xffu);
  EXPECT_EQ(rig.in(0x1234, 2), 0xffffu);
  EXPECT_EQ(rig.in(0x1234, 4), 0xffffffffu);
  EXPECT_EQ(rig.bus().read(Hpa(0xfed00000), 8), ~0ull);
  EXPECT_EQ(rig.bus().read(Hpa(0xe0000000), 1), 0xffu);
  rig.bus().write(Hpa(0xfed00000), 8, 0);
  EXPECT_EQ(rig.bus().read(Hpa(0xfec00ffe), 4), 0xffffffffu) << "across the end of the page";
  EXPECT_EQ(rig.bus().read(Hpa(~0ull - 1), 4), 0xffffffffu) << "wraps";
}

struct ExitCase {
  const char* name;
  uint16_t port;
  std::vector<uint32_t> values;
  unsigned size;
  chips::ExitRequest expected;
};
class BoardExit : public testing::TestWithParam<ExitCase> {};
TEST_P(BoardExit, EndsTheMachine) {
  BoardRig rig;
  for (const uint32_t v : GetParam().values) rig.out(GetParam().port, v, GetParam().size);
  EXPECT_EQ(rig.board->exit_request(), GetParam().expected) << to_string(rig.board->exit_request());
  std::vector<chips::ExitRequest> told;
  if (GetParam().expected.kind != Kind::none) told.push_back(GetParam().expected);
  EXPECT_EQ(rig.exits, told);
}
INSTANTIATE_TEST_SUITE_P(
    Table, BoardExit,
    testing::Values(
        ExitCase{"debug_exit", 0xf4, {16}, 1, {Kind::debug_exit, 33}},
        ExitCase{"debug_exit_32", 0xf4, {16, 17}, 4, {Kind::debug_exit, 33}},
        ExitCase{"keyboard", 0x64, {0xfe}, 1, {Kind::reset, 0}},
        ExitCase{"port_92", 0x92, {1}, 1, {Kind::reset, 0}}, ExitCase{"a20", 0x92, {2}, 1, {}},
        ExitCase{"reset_soft", 0xcf9, {2, 6}, 1, {Kind::reset, 0}},
        ExitCase{"reset_at_once", 0xcf9, {6}, 1, {Kind::reset, 0}},
        ExitCase{"reset_full", 0xcf9, {2, 0xe}, 1, {Kind::reset, 0}},
        ExitCase{"reset_armed", 0xcf9, {2}, 1, {}},
        ExitCase{"acpi_off", 0x604, {0x2000}, 2, {Kind::power_off, 0}},
        ExitCase{"acpi_other_sleep", 0x604, {0x3400}, 2, {}},
        ExitCase{"acpi_no_enable", 0x604, {0}, 2, {}},
        ExitCase{
            "text", 0x8900, {'S', 'h', 'u', 't', 'd', 'o', 'w', 'n'}, 1, {Kind::power_off, 0}}),
    [](const auto& p) { return p.param.name; });

uint64_t fw_cfg(BoardRig& rig, uint16_t item, unsigned bytes) {
  rig.out(0x510, item, 2);
  uint64_t value = 0;
  for (unsigned i = 0; i < bytes; ++i) value |= static_cast<uint64_t>(rig.in(0x511)) << (8 * i);
  return value;
}

TEST(Board, FwCfgTellsRamAndProcessors) {
  BoardRig rig(BoardConfig{.processors = 3, .ram = 2560_MiB});
  EXPECT_EQ(fw_cfg(rig, 0, 4), 0x554d4551u) << "QEMU";
  EXPECT_EQ(fw_cfg(rig, 1, 4), 1u);
  EXPECT_EQ(fw_cfg(rig, 3, 8), 2560_MiB);
  EXPECT_EQ(fw_cfg(rig, 5, 2), 3u);
  EXPECT_EQ(fw_cfg(rig, 0xf, 2), 3u);
  EXPECT_EQ(fw_cfg(rig, 0x11, 8), 2560_MiB);
  EXPECT_EQ(fw_cfg(rig, 0x19, 4), 0u);
  EXPECT_EQ(fw_cfg(rig, 0x4005, 2), 3u) << "the old write flag";
  EXPECT_EQ(fw_cfg(rig, 5, 8), 3u) << "zeros behind the end";
  EXPECT_EQ(fw_cfg(rig, 0x7777, 8), 0u);
}

TEST(Board, CmosTellsMemorySizeAndProcessors) {
  BoardRig rig(BoardConfig{.processors = 4, .ram = 512_MiB});
  const auto cmos = [&](uint8_t index) {
    rig.out(0x70, index);
    return rig.in(0x71);
  };
  EXPECT_EQ(cmos(0x34) | cmos(0x35) << 8, (512u - 16) * 16);
  EXPECT_EQ(cmos(0x5f), 3u);
}

TEST(Board, TimerReachesTheBootProcessorThroughThe8259) {
  BoardRig rig(2);
  rig.init_pic();
  rig.start_timer(1193);  // 1 ms
  ASSERT_FALSE(rig.deadlines.empty());
  rig.run(1500_us);
  EXPECT_TRUE(rig.bus(0).interrupt_pending());
  EXPECT_FALSE(rig.bus(1).interrupt_pending());
  EXPECT_EQ(rig.interrupts.back(), (std::pair<unsigned, bool>{0, true}));
  EXPECT_EQ(rig.bus(0).acknowledge_interrupt(), 0x30);
  EXPECT_EQ(rig.interrupts.back(), (std::pair<unsigned, bool>{0, false}));
}

TEST(Board, TimerReachesAnyProcessorThroughTheIoApic) {
  BoardRig rig(2);
  rig.set_apic(1, 0xf0, 0x1ff);
  rig.route(2, 0x41, 1);
  rig.start_timer(1193);
  rig.run(2_ms);
  EXPECT_TRUE(rig.bus(1).interrupt_pending());
  EXPECT_EQ(rig.bus(1).acknowledge_interrupt(), 0x41);
  EXPECT_FALSE(rig.bus(1).interrupt_pending());
}

TEST(Board, EachProcessorSeesItsOwnApicWhereItPutIt) {
  BoardRig rig(3);
  for (unsigned cpu = 0; cpu < 3; ++cpu) EXPECT_EQ(rig.apic(cpu, 0x20), cpu << 24);
  EXPECT_EQ(rig.bus(1).write_msr(0x1b, 0xfed10800), cpu::SystemBus::MsrOutcome::done);
  EXPECT_EQ(rig.apic(1, 0x20), 0xffffffffu);
  EXPECT_EQ(rig.bus(1).read(Hpa(0xfed10020), 4), 1u << 24);
  EXPECT_EQ(rig.bus(0).read(Hpa(0xfed10020), 4), 0xffffffffu);
  EXPECT_EQ(rig.apic(0, 0x20), 0u);
}

TEST(Board, ApicMsrsAreThereAndRefuseWhatTheChipRefuses) {
  using Outcome = cpu::SystemBus::MsrOutcome;
  BoardRig rig(2);
  uint64_t value = 0;
  EXPECT_EQ(rig.bus(0).read_msr(0x1b, value), Outcome::done);
  EXPECT_EQ(value, 0xfee00900u);
  EXPECT_EQ(rig.bus(1).read_msr(0x1b, value), Outcome::done);
  EXPECT_EQ(value, 0xfee00800u);
  EXPECT_EQ(rig.bus(1).read_msr(0x802, value), Outcome::refused) << "not in x2APIC mode";
  EXPECT_EQ(rig.bus(1).write_msr(0x1b, 0xfee00c00), Outcome::done);
  EXPECT_EQ(rig.bus(1).read_msr(0x802, value), Outcome::done);
  EXPECT_EQ(value, 1u);
  EXPECT_EQ(rig.apic(1, 0x20), 0xffffffffu) << "x2APIC mode";
  EXPECT_EQ(rig.bus(1).write_msr(0x1b, 0xfee00800), Outcome::refused) << "x2APIC -> xAPIC";
  EXPECT_EQ(rig.bus(1).write_msr(0x802, 5), Outcome::refused);
  EXPECT_EQ(rig.bus(1).read_msr(0x10, value), Outcome::absent);
  EXPECT_EQ(rig.bus(1).write_msr(0x900, 0), Outcome::absent);
}

TEST(Board, InitAndStartupReachTheirProcessor) {
  BoardRig rig(4);
  rig.set_apic(0, 0x310, 2u << 24);
  rig.set_apic(0, 0x300, 0x4500);
  rig.set_apic(0, 0x300, 0x4608);
  rig.set_apic(0, 0x300, 0xc4400);  // NMI to all others
  using Event = std::tuple<unsigned, DeliveryMode, uint8_t>;
  EXPECT_EQ(rig.events, (std::vector<Event>{{2, DeliveryMode::init, 0},
                                            {2, DeliveryMode::startup, 8},
                                            {1, DeliveryMode::nmi, 0},
                                            {2, DeliveryMode::nmi, 0},
                                            {3, DeliveryMode::nmi, 0}}));
}

TEST(Board, InitResetsTheLocalApicWhenTheOwnerSaysSo) {
  BoardRig rig(2);
  rig.set_apic(1, 0xf0, 0x1ff);
  rig.set_apic(0, 0x310, 1u << 24);
  rig.set_apic(0, 0x300, 0x4500);
  EXPECT_EQ(rig.apic(1, 0xf0), 0x1ffu);
  rig.board->init_local_apic(1);
  EXPECT_EQ(rig.apic(1, 0xf0), 0xffu);
}

TEST(Board, IpiWakesItsTarget) {
  BoardRig rig(2);
  rig.set_apic(1, 0xf0, 0x1ff);
  rig.set_apic(0, 0x310, 1u << 24);
  rig.set_apic(0, 0x300, 0x40f1);
  EXPECT_EQ(rig.interrupts, (std::vector<std::pair<unsigned, bool>>{{1, true}}));
  rig.bus(1).set_cr8(15);
  EXPECT_EQ(rig.bus(1).cr8(), 15);
  EXPECT_FALSE(rig.bus(1).interrupt_pending());
  rig.bus(1).set_cr8(14);
  EXPECT_EQ(rig.interrupts.back(), (std::pair<unsigned, bool>{1, true}));
  EXPECT_EQ(rig.bus(1).acknowledge_interrupt(), 0xf1);
}

TEST(Board, TscDeadlineMovesTheDeadlineAndFires) {
  BoardRig rig(2);
  rig.set_apic(1, 0xf0, 0x1ff);
  rig.set_apic(1, 0x320, 0x40060);
  const Nanoseconds before = rig.board->next_deadline();
  rig.bus(1).write_msr(0x6e0, 5000);
  EXPECT_EQ(rig.board->next_deadline(), 5_us);
  ASSERT_FALSE(rig.deadlines.empty());
  EXPECT_EQ(rig.deadlines.back(), 5_us);
  EXPECT_LT(rig.board->next_deadline(), before);
  rig.run(6_us);
  EXPECT_EQ(rig.bus(1).acknowledge_interrupt(), 0x60);
  uint64_t value = 1;
  rig.bus(1).read_msr(0x6e0, value);
  EXPECT_EQ(value, 0u);
}

TEST(Board, TscOffsetShiftsTheDeadline) {
  BoardRig rig;
  rig.set_apic(0, 0x320, 0x40060);
  rig.board->set_tsc_offset(0, 1000);
  rig.bus().write_msr(0x6e0, 5000);
  EXPECT_EQ(rig.board->next_deadline(), 4_us);
}

TEST(Board, PciShowsHostAndIsaBridge) {
  BoardRig rig;
  const auto config = [&](uint32_t address) {
    rig.out(0xcf8, 0x80000000 | address, 4);
    return rig.in(0xcfc, 4);
  };
  EXPECT_EQ(config(0x0000), 0x12378086u);
  EXPECT_EQ(config(0x0008) >> 8, 0x060000u);
  EXPECT_EQ(config(0x0800), 0x71108086u);
  EXPECT_EQ(config(0x0808) >> 8, 0x060100u);
  EXPECT_EQ(config(0x1000), 0xffffffffu);
}

TEST(Board, LevelInterruptsComeAgainUntilTheirCauseIsGone) {
  BoardRig rig(2);
  rig.set_apic(1, 0xf0, 0x1ff);
  rig.route(AcpiPm::kSci, 0x59, 1, 1 << 15);
  rig.out(0x602, 1, 2);
  rig.run(601_s);
  EXPECT_EQ(rig.bus(1).acknowledge_interrupt(), 0x59);
  rig.set_apic(1, 0xb0, 0);
  EXPECT_TRUE(rig.bus(1).interrupt_pending()) << "SCI still up";
  rig.bus(1).acknowledge_interrupt();
  rig.out(0x600, 1, 2);
  rig.set_apic(1, 0xb0, 0);
  EXPECT_FALSE(rig.bus(1).interrupt_pending());
}

TEST(Board, SixteenProcessorsHearAnX2apicCluster) {
  BoardRig rig(16);
  for (unsigned cpu = 0; cpu < 16; ++cpu) {
    rig.bus(cpu).write_msr(0x1b, 0xfee00c00 | (cpu == 0 ? 0x100 : 0));
    rig.bus(cpu).write_msr(0x80f, 0x1ff);
  }
  rig.bus(3).write_msr(0x830, 0x1'a005ull << 32 | 0x871);
  EXPECT_TRUE(rig.interrupts.empty()) << "cluster 1";
  rig.bus(3).write_msr(0x830, 0xa005ull << 32 | 0x871);
  std::vector<std::pair<unsigned, bool>> expected{{0, true}, {2, true}, {13, true}, {15, true}};
  EXPECT_EQ(rig.interrupts, expected);
}

TEST(Board, ExtIntByMessageIsAcknowledgedAtThe8259) {
  BoardRig rig(2);
  rig.init_pic();
  rig.set_apic(0, 0x350, 0x10700);  // LINT0 masked: the wire ends here
  rig.set_apic(1, 0xf0, 0x1ff);
  rig.route(4, 0, 1, 7 << 8);
  rig.out(0x3fc, 8);
  rig.out(0x3f9, 1);
  rig.board->serial_input("a");
  EXPECT_FALSE(rig.bus(0).interrupt_pending());
  ASSERT_TRUE(rig.bus(1).interrupt_pending());
  EXPECT_EQ(rig.bus(1).acknowledge_interrupt(), 0x34);
  EXPECT_FALSE(rig.bus(1).interrupt_pending());
}

TEST(Board, InterruptSinkHearsOfALevelThatInitTook) {
  BoardRig rig(2);
  rig.set_apic(1, 0xf0, 0x1ff);
  rig.set_apic(0, 0x310, 1u << 24);
  rig.set_apic(0, 0x300, 0x40f1);
  rig.board->init_local_apic(1);
  EXPECT_EQ(rig.interrupts.back(), (std::pair<unsigned, bool>{1, false}));
}

TEST(Board, AnOwnerMayInitializeFromTheEventSink) {
  BoardRig rig(2);
  rig.board->set_event_sink([&](unsigned cpu, DeliveryMode mode, uint8_t) {
    if (mode == DeliveryMode::init) rig.board->init_local_apic(cpu);
  });
  rig.set_apic(0, 0xf0, 0x1ff);
  rig.set_apic(1, 0xf0, 0x1ff);
  rig.set_apic(0, 0x300, 0x84500);  // all, itself too
  EXPECT_EQ(rig.apic(0, 0xf0), 0xffu);
  EXPECT_EQ(rig.apic(1, 0xf0), 0xffu);
}

TEST(Board, TimeMayBeSetBackBetweenProcessors) {
  BoardRig rig(2);
  rig.init_pic();
  rig.start_timer(1193);
  rig.run(1500_us);
  const auto deadline = rig.board->next_deadline();
  rig.clock.set(100_us);
  rig.board->advance(rig.clock.now());
  rig.in(0x40);
  rig.out(0x70, 0x0c);
  rig.in(0x71);
  EXPECT_EQ(rig.board->next_deadline(), deadline);
}

// Whatever software does at the ports and pages of the board.
TEST(Board, SurvivesAnyAccess) {
  BoardRig rig(2);
  uint64_t random = 88172645463325252;
  const auto draw = [&] {
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return random;
  };
  constexpr uint16_t kPorts[] = {0x20,  0x21,  0x40,  0x43,  0x61,  0x70,  0x71,
                                 0xa0,  0xa1,  0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc,
                                 0x4d0, 0x510, 0x511, 0x600, 0x602, 0x604, 0x608,
                                 0xcf8, 0xcf9, 0xcfc, 0xf4,  0x64,  0x92,  0x8900};
  for (int i = 0; i < 200'000; ++i) {
    cpu::SystemBus& bus = rig.bus(draw() & 1);
    const unsigned size = 1u << (draw() % 3);
    const uint64_t pick = draw(), value = draw() & (draw() % 3 == 0 ? ~0ull : 0xff);
    const Hpa at((pick & 1 ? 0xfee00000 : 0xfec00000) + (pick >> 8 & 0x3f0));
    uint64_t read = 0;
    switch (pick >> 4 & 7) {
      case 0:
        bus.port_in(kPorts[pick % std::size(kPorts)], size);
        break;
      case 1:
      case 2:
        bus.port_out(kPorts[pick % std::size(kPorts)], size, static_cast<uint32_t>(value));
        break;
      case 3:
        bus.read(at, 1u << (draw() % 4));
        break;
      case 4:
        bus.write(at, 4, value);
        break;
      case 5:
        (void)bus.write_msr(pick & 1 ? 0x1b : 0x800 + (pick >> 8 & 0x3f), value);
        break;
      case 6:
        (void)bus.read_msr(0x800 + (pick >> 8 & 0x3f), read);
        if (bus.interrupt_pending()) bus.acknowledge_interrupt();
        break;
      default:
        bus.set_cr8(value & 15);
        rig.clock.advance_to(rig.clock.now() + 777_ns);
        rig.board->advance(rig.clock.now());
    }
    if (i % 10'000 == 9'999) rig.board->reset();
    EXPECT_GT(rig.board->next_deadline(), Nanoseconds(0));
  }
  rig.board->reset();
  EXPECT_EQ(rig.apic(1, 0x20), 1u << 24);
}

TEST(Board, SerialInterruptIsIrq4) {
  BoardRig rig;
  rig.init_pic();
  rig.out(0x3fc, 8);  // OUT2
  rig.out(0x3f9, 1);
  rig.board->serial_input("a");
  EXPECT_EQ(rig.bus().acknowledge_interrupt(), 0x34);
}

}  // namespace
}  // namespace cupel::platform
