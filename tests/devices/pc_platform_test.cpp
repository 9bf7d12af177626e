#include "hypervisor/devices/pc_platform.h"

#include "core/x86/msr.h"
#include "tests/devices/guest_rig.h"

namespace cupel::devices {
namespace {

namespace msr = x86::msr;

TEST(PcPlatform, NothingThereReadsAsOnes) {
  GuestRig rig;
  EXPECT_EQ(rig.platform->port_in(0x1234, 1), 0xffu);
  EXPECT_EQ(rig.platform->port_in(0x1234, 4), 0xffffffffu);
  EXPECT_EQ(rig.platform->port_in(0x2f8, 2), 0xffffu);
  EXPECT_EQ(rig.platform->mmio_read(Gpa(0xfee00020), 4), 0xffffffffu);
  EXPECT_EQ(rig.platform->mmio_read(Gpa(0xd0000000), 8), ~0ull);
  rig.platform->mmio_write(Gpa(0xd0000000), 8, 1);
  rig.platform->port_out(0x1234, 4, 1);
}

TEST(PcPlatform, EveryPortIsHarmless) {
  GuestRig rig;
  for (unsigned port = 0; port < 0x10000; ++port) {
    for (unsigned size : {1u, 2u, 4u}) {
      (void)rig.platform->port_in(static_cast<uint16_t>(port), size);
      rig.platform->port_out(static_cast<uint16_t>(port), size, 0xffffffff);
      rig.platform->port_out(static_cast<uint16_t>(port), size, 0x12345678);
    }
  }
  rig.run_events(10_ms);
  rig.platform->advance(rig.clock.now());
  EXPECT_GE(rig.platform->next_deadline(), rig.clock.now());
}

struct ExitCase {
  const char* name;
  uint16_t port;
  std::vector<uint32_t> values;
  chips::ExitRequest expected;
};
class ExitTest : public testing::TestWithParam<ExitCase> {};
TEST_P(ExitTest, StopsTheGuest) {
  GuestRig rig;
  for (uint32_t v : GetParam().values) rig.platform->port_out(GetParam().port, 1, v);
  EXPECT_EQ(rig.platform->exit_request(), GetParam().expected)
      << to_string(rig.platform->exit_request());
  EXPECT_EQ(rig.platform->stop_requested(),
            GetParam().expected.kind != chips::ExitRequest::Kind::none);
}
using Kind = chips::ExitRequest::Kind;
INSTANTIATE_TEST_SUITE_P(
    Table, ExitTest,
    testing::Values(ExitCase{"debug_exit", 0xf4, {0}, {Kind::debug_exit, 1}},
                    ExitCase{"debug_exit_first_stands", 0xf4, {3, 4}, {Kind::debug_exit, 7}},
                    ExitCase{"keyboard", 0x64, {0xfe}, {Kind::reset, 0}},
                    ExitCase{"keyboard_other", 0x64, {0xd1}, {}},
                    ExitCase{"reset_control", 0xcf9, {2, 6}, {Kind::reset, 0}},
                    ExitCase{"reset_control_armed", 0xcf9, {2}, {}},
                    ExitCase{"fast_reset", 0x92, {1}, {Kind::reset, 0}},
                    ExitCase{"shutdown",
                             0x8900,
                             {'S', 'S', 'h', 'u', 't', 'd', 'o', 'w', 'n'},
                             {Kind::power_off, 0}},
                    ExitCase{"shutdown_partly", 0x8900, {'S', 'h', 'u', 't'}, {}},
                    ExitCase{"delay", 0x80, {0xff}, {}}),
    [](const auto& p) { return p.param.name; });

TEST(PcPlatform, TimerInterruptsThroughThePic) {
  GuestRig rig;
  rig.init_pic();
  rig.platform->port_out(0x43, 1, 0x34);  // counter 0, mode 2
  rig.platform->port_out(0x40, 1, 11932 & 0xff);
  rig.platform->port_out(0x40, 1, 11932 >> 8);
  Nanoseconds due;
  // OUT falls one tick before the end of the period and rises at its end: the rise interrupts.
  for (int change = 0; change < 2; ++change) {
    due = rig.platform->next_deadline();
    EXPECT_GT(due, 9_ms);
    EXPECT_LT(due, 11_ms);
    rig.clock.set(due);
    rig.platform->advance(due);
  }
  ASSERT_TRUE(rig.platform->interrupt_pending());
  EXPECT_EQ(rig.platform->acknowledge_interrupt(), 0x30);
  EXPECT_FALSE(rig.platform->interrupt_pending());
  EXPECT_GT(rig.platform->next_deadline(), due);
}

TEST(PcPlatform, SerialPortTalksBothWays) {
  GuestRig rig;
  rig.init_pic();
  std::string text;
  rig.platform->set_serial_sink([&](uint8_t c) { text += static_cast<char>(c); });
  for (char c : std::string("hi")) rig.platform->port_out(0x3f8, 1, static_cast<uint8_t>(c));
  EXPECT_EQ(text, "hi");
  rig.platform->port_out(0x3fc, 1, 0x0b);
  rig.platform->port_out(0x3f9, 1, 1);
  rig.platform->serial_input("x");
  rig.run_events(10_ms);
  rig.platform->advance(rig.clock.now());
  ASSERT_TRUE(rig.platform->interrupt_pending());
  EXPECT_EQ(rig.platform->acknowledge_interrupt(), 0x34);
  EXPECT_EQ(rig.platform->port_in(0x3f8, 1), static_cast<unsigned>('x'));
}

TEST(PcPlatform, PciInterruptsAreLevelTriggered) {
  GuestRig rig;
  EXPECT_EQ(rig.platform->port_in(0x4d0, 1), 0x20u);
  EXPECT_EQ(rig.platform->port_in(0x4d1, 1), 0x0eu);
}

TEST(PcPlatform, MsrsHaveTheirRulesAndOthersFault) {
  GuestRig rig;
  auto& p = *rig.platform;
  uint64_t v = 0;
  EXPECT_TRUE(p.read_msr(msr::APIC_BASE, v));
  EXPECT_EQ(v & 1 << 11, 0u);
  EXPECT_FALSE(p.write_msr(msr::APIC_BASE, v | 1 << 11));
  EXPECT_TRUE(p.read_msr(msr::PAT, v));
  EXPECT_EQ(v, 0x0007040600070406u);
  EXPECT_FALSE(p.write_msr(msr::PAT, 2));
  EXPECT_TRUE(p.write_msr(msr::PAT, 0x0407050600070106ull));
  EXPECT_TRUE(p.read_msr(msr::MTRRCAP, v));
  EXPECT_EQ(v & 0xff, 8u);
  EXPECT_FALSE(p.write_msr(msr::MTRRCAP, v));
  EXPECT_TRUE(p.write_msr(msr::MTRR_PHYSBASE0 + 15, 0xff80000800ull));
  EXPECT_FALSE(p.read_msr(msr::MTRR_PHYSBASE0 + 16, v));
  EXPECT_TRUE(p.read_msr(0x26f, v));
  EXPECT_FALSE(p.write_msr(msr::MTRR_FIX64K, 0x0303030303030303ull));
  EXPECT_FALSE(p.write_msr(msr::MTRR_DEF_TYPE, 1 << 8));
  EXPECT_TRUE(p.write_msr(msr::BIOS_SIGN_ID, 0));
  EXPECT_TRUE(p.read_msr(msr::BIOS_SIGN_ID, v));
  EXPECT_EQ(v, 1ull << 32);
  EXPECT_TRUE(p.read_msr(msr::MISC_ENABLE, v));
  EXPECT_FALSE(p.read_msr(msr::TSC_DEADLINE, v));
  EXPECT_FALSE(p.read_msr(msr::X2APIC_FIRST, v));
  EXPECT_FALSE(p.read_msr(0x10a, v));
  EXPECT_FALSE(p.read_msr(0xc0010015, v));
  EXPECT_FALSE(p.write_msr(0x12345, 0));
}

TEST(PcPlatform, ArchCapabilitiesOnRequest) {
  GuestRig rig(16_MiB, {.arch_capabilities = 0x1b9});
  uint64_t v = 0;
  EXPECT_TRUE(rig.platform->read_msr(0x10a, v));
  EXPECT_EQ(v, 0x1b9u);
  EXPECT_FALSE(rig.platform->write_msr(0x10a, v));
  EXPECT_NE(rig.platform->cpuid(7, 0).edx & 1u << 29, 0u);
}

TEST(PcPlatform, CpuidAnswersFromTheTable) {
  GuestRig rig;
  EXPECT_EQ(rig.platform->cpuid(1, 77), rig.platform->cpuid_table().get(1, 0));
  EXPECT_EQ(rig.platform->cpuid(4, 0), rig.platform->cpuid_table().get(4, 0));
  EXPECT_EQ(rig.platform->cpuid(4, 5), x86::CpuidLeaf{});
  EXPECT_EQ(rig.platform->cpuid(0x40000000, 0).eax, 0x40000000u);
  EXPECT_EQ(rig.platform->cpuid(0x99, 0), rig.platform->cpuid(0x16, 0));
}

TEST(PcPlatform, ImpossibleConfigurationsAreRefused) {
  VirtualClock clock;
  auto host = PhysicalMemory::create(1_MiB).value();
  GuestMemory small(*host, Hpa(0), 1_MiB);
  EXPECT_FALSE(PcPlatform::create(clock, small, test_cpuid(), {}).ok());
  auto host2 = PhysicalMemory::create(4_MiB).value();
  GuestMemory memory(*host2, Hpa(0), 4_MiB);
  EXPECT_FALSE(PcPlatform::create(clock, memory, test_cpuid(), {.tsc_hz = 0}).ok());
  EXPECT_FALSE(PcPlatform::create(clock, memory, test_cpuid(), {.tsc_hz = 1ull << 40}).ok());
}

struct ApicTest : testing::Test {
  GuestRig rig{16_MiB, {.local_apic = true}};
  uint32_t read(uint64_t at) { return static_cast<uint32_t>(rig.platform->mmio_read(Gpa(at), 4)); }
  void write(uint64_t at, uint32_t v) { rig.platform->mmio_write(Gpa(at), 4, v); }
};

TEST_F(ApicTest, PicReachesTheProcessorThroughVirtualWire) {
  rig.init_pic();
  rig.platform->pic().set_irq(3, true);
  ASSERT_TRUE(rig.platform->interrupt_pending());
  EXPECT_EQ(rig.platform->acknowledge_interrupt(), 0x33);
  EXPECT_FALSE(rig.platform->interrupt_pending());
}

TEST_F(ApicTest, TimerDeadlineIsSeen) {
  write(0xfee000f0, 0x1ff);
  write(0xfee003e0, 0xb);         // divide by 1
  write(0xfee00320, 0x40);        // one-shot, vector 0x40
  write(0xfee00380, 25'000'000);  // one second of the 25 MHz crystal
  EXPECT_EQ(rig.platform->next_deadline(), 1_s);
  rig.clock.set(1_s);
  rig.platform->advance(1_s);
  ASSERT_TRUE(rig.platform->interrupt_pending());
  EXPECT_EQ(rig.platform->acknowledge_interrupt(), 0x40);
}

TEST_F(ApicTest, TscDeadlineByMsr) {
  write(0xfee000f0, 0x1ff);
  write(0xfee00320, 0x40 | 2 << 17);
  EXPECT_TRUE(rig.platform->write_msr(msr::TSC_DEADLINE, 5'000'000));
  EXPECT_EQ(rig.platform->next_deadline(), 5_ms);
}

TEST_F(ApicTest, DeviceInterruptsArriveByTheIoApic) {
  write(0xfec00000, 0x10 + 2 * 4);
  write(0xfec00010, 0x51);  // IRQ 4, edge, vector 0x51
  rig.platform->port_out(0x3fc, 1, 0x0b);
  rig.platform->port_out(0x3f9, 1, 2);  // transmitter empty
  ASSERT_TRUE(rig.platform->interrupt_pending());
  EXPECT_EQ(rig.platform->acknowledge_interrupt(), 0x51);
}

TEST_F(ApicTest, EveryRegisterIsHarmlessAndStateSurvives) {
  for (uint64_t page : {0xfee00000ull, 0xfec00000ull}) {
    for (uint64_t at = 0; at < 4096; ++at) {
      for (unsigned size : {1u, 2u, 4u, 8u}) {
        rig.platform->mmio_write(Gpa(page + at), size, ~0ull);
        (void)rig.platform->mmio_read(Gpa(page + at), size);
      }
    }
  }
  ArchiveWriter out;
  rig.platform->save(out);
  GuestRig copy(16_MiB, {.local_apic = true});
  ArchiveReader in(out.bytes());
  ASSERT_TRUE(copy.platform->restore(in).ok());
  ArchiveWriter again;
  copy.platform->save(again);
  EXPECT_EQ(again.bytes(), out.bytes());
}

TEST(PcPlatform, SaveAndRestoreGiveTheSameMachine) {
  GuestRig rig;
  rig.init_pic();
  rig.platform->port_out(0x43, 1, 0x34);
  rig.platform->port_out(0x40, 1, 0);
  rig.platform->port_out(0x40, 1, 1);
  rig.platform->write_msr(msr::MTRR_PHYSBASE0, 6);
  rig.clock.set(1234567_ns);
  rig.platform->advance(rig.clock.now());
  ArchiveWriter out;
  rig.platform->save(out);
  GuestRig copy;
  copy.clock.set(rig.clock.now());
  ArchiveReader in(out.bytes());
  ASSERT_TRUE(copy.platform->restore(in).ok());
  EXPECT_EQ(copy.platform->next_deadline(), rig.platform->next_deadline());
  EXPECT_EQ(copy.platform->interrupt_pending(), rig.platform->interrupt_pending());
  uint64_t v = 0;
  EXPECT_TRUE(copy.platform->read_msr(msr::MTRR_PHYSBASE0, v));
  EXPECT_EQ(v, 6u);
  ArchiveWriter again;
  copy.platform->save(again);
  EXPECT_EQ(again.bytes(), out.bytes());
}

TEST(PcPlatform, RestoreRefusesAnotherMachine) {
  GuestRig rig;
  ArchiveWriter out;
  rig.platform->save(out);
  for (auto make :
       {+[] { return std::make_unique<GuestRig>(8_MiB); },
        +[] { return std::make_unique<GuestRig>(16_MiB, PcConfig{.local_apic = true}); },
        +[] {
          auto other = std::make_unique<GuestRig>();
          (void)other->platform->add_console().ok();
          return other;
        }}) {
    auto other = make();
    ArchiveReader in(out.bytes());
    EXPECT_FALSE(other->platform->restore(in).ok());
  }
}

}  // namespace
}  // namespace cupel::devices
