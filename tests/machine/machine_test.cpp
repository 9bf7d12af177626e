// What a machine does with images, good and bad.
#include "hw_models/machine/machine.h"

#include <gtest/gtest.h>

#include <string>

#include "core/random.h"
#include "tests/machine/image.h"

namespace cupel::machine {
namespace {

using testing::machine_with;
using Kind = MachineStop::Kind;

constexpr Nanoseconds kMillisecond{1'000'000};

// Runs to the end, at most a second of virtual time.
MachineStop run(Machine& machine) {
  for (int n = 0; n < 1000 && !machine.stopped(); ++n) machine.run_for(kMillisecond);
  return machine.stop();
}

TEST(Machine, DebugExitEndsItWithItsStatus) {
  const auto machine = machine_with({0xb0, 0x05, 0xe6, 0xf4, 0xf4});  // mov al, 5; out 0xf4, al
  ASSERT_NE(machine, nullptr);
  const MachineStop stop = run(*machine);
  EXPECT_EQ(stop.kind, Kind::debug_exit);
  EXPECT_EQ(stop.status, 11u);
  EXPECT_NE(stop.text.find("RIP 0x100042"), std::string::npos) << stop.text;
}

TEST(Machine, SerialOutputComesOut) {
  // mov dx, 0x3f8; mov al, 'H'; out dx, al; mov al, 'i'; out dx, al; out 0xf4, al
  const auto machine =
      machine_with({0x66, 0xba, 0xf8, 0x03, 0xb0, 'H', 0xee, 0xb0, 'i', 0xee, 0xe6, 0xf4});
  ASSERT_NE(machine, nullptr);
  run(*machine);
  EXPECT_EQ(machine->take_output(), "Hi");
}

TEST(Machine, TripleFaultSaysWhere) {
  // lidt [table of limit 0]; ud2
  const auto machine =
      machine_with({0x0f, 0x01, 0x1d, 0x49, 0x00, 0x10, 0x00, 0x0f, 0x0b, 0, 0, 0, 0, 0, 0});
  ASSERT_NE(machine, nullptr);
  const MachineStop stop = run(*machine);
  EXPECT_EQ(stop.kind, Kind::triple_fault);
  EXPECT_EQ(stop.text, "processor 0: triple fault at RIP 0x100047 (CS 0x10)");
}

TEST(Machine, JumpToNowhereIsATripleFaultThere) {
  // lidt [table of limit 0]; mov eax, 0xd0000000; jmp eax
  const auto machine = machine_with({0x0f, 0x01, 0x1d, 0x4e, 0x00, 0x10, 0x00, 0xb8, 0x00, 0x00,
                                     0x00, 0xd0, 0xff, 0xe0, 0,    0,    0,    0,    0,    0});
  ASSERT_NE(machine, nullptr);
  const MachineStop stop = run(*machine);
  EXPECT_EQ(stop.kind, Kind::triple_fault);
  EXPECT_NE(stop.text.find("0xd0000000"), std::string::npos) << stop.text;
}

TEST(Machine, SpinningWithInterruptsOffOnlyTakesTime) {
  const auto machine = machine_with({0xfa, 0xeb, 0xfe});  // cli; jmp $
  ASSERT_NE(machine, nullptr);
  machine->run_for(Nanoseconds(10 * kMillisecond.count()));
  EXPECT_FALSE(machine->stopped());
  EXPECT_EQ(machine->clock().now(), Nanoseconds(10 * kMillisecond.count()));
  EXPECT_EQ(machine->processor(0).rip(), 0x100041u);
}

TEST(Machine, HaltWithInterruptsOffWaitsForEver) {
  const auto machine = machine_with({0xfa, 0xf4, 0xeb, 0xfd});
  ASSERT_NE(machine, nullptr);
  machine->run_for(kMillisecond);
  EXPECT_TRUE(machine->idle());
}

TEST(Machine, ReadsBeyondMemoryGiveOnes) {
  // mov eax, [0xd0000000]; inc eax; jnz +2; out 0xf4, al (0)
  const auto machine =
      machine_with({0xa1, 0x00, 0x00, 0x00, 0xd0, 0x40, 0x75, 0x02, 0xe6, 0xf4, 0xeb, 0xfe});
  ASSERT_NE(machine, nullptr);
  EXPECT_EQ(run(*machine).status, 1u);
}

TEST(Machine, CodeThatRewritesItselfRunsAsRewritten) {
  // mov byte [entry + 8], 7; mov al, 5 (becomes 7); out 0xf4, al
  const auto machine =
      machine_with({0xc6, 0x05, 0x48, 0x00, 0x10, 0x00, 0x07, 0xb0, 0x05, 0xe6, 0xf4, 0xeb, 0xfe});
  ASSERT_NE(machine, nullptr);
  EXPECT_EQ(run(*machine).status, 15u);
}

TEST(Machine, VmxInstructionsWithoutVmxAreUndefined) {
  // lidt [limit 0]; vmlaunch
  const auto machine =
      machine_with({0x0f, 0x01, 0x1d, 0x4a, 0x00, 0x10, 0x00, 0x0f, 0x01, 0xc2, 0, 0, 0, 0, 0, 0});
  ASSERT_NE(machine, nullptr);
  EXPECT_EQ(run(*machine).kind, Kind::triple_fault);
}

// Whatever an image is made of, the bench stands.
TEST(Machine, RandomCodeNeverHurtsTheBench) {
  RandomStream random(7, "machine.random_code");
  for (int round = 0; round < 150; ++round) {
    std::vector<uint8_t> code(256);
    for (uint8_t& byte : code) byte = static_cast<uint8_t>(random.bits());
    MachineConfig config;
    config.processors = 1 + static_cast<unsigned>(round % 2);
    const auto machine = machine_with(code, config);
    ASSERT_NE(machine, nullptr);
    for (int n = 0; n < 4 && !machine->stopped(); ++n)
      machine->run_for(Nanoseconds(kMillisecond.count() / 4));
    EXPECT_LE(machine->clock().now(), Nanoseconds(2 * kMillisecond.count()));
  }
}

TEST(Machine, AnImageThatIsNoneIsRefused) {
  const std::vector<std::byte> nothing(4096);
  boot::BootImage boot;
  boot.file = nothing;
  const auto made = Machine::create({}, boot);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().kind, ErrorKind::bad_input);
}

TEST(Machine, ConfigurationsOutOfBoundsAreRefused) {
  const auto image = testing::image_of(std::vector<uint8_t>{0xf4});
  boot::BootImage boot;
  boot.file = image;
  MachineConfig none, many, small;
  none.processors = 0;
  many.processors = 65;
  small.memory = 4096;
  for (const MachineConfig& config : {none, many, small}) {
    const auto made = Machine::create(config, boot);
    ASSERT_FALSE(made.ok());
    EXPECT_EQ(made.error().kind, ErrorKind::bad_input);
  }
}

// A counter in memory and on the serial port, with the timer's interrupts masked: a state that
// changes all the time.
constexpr uint8_t kCounter[] = {
    0x66, 0xba, 0xf8, 0x03,              // mov dx, 0x3f8
    0xff, 0x05, 0x00, 0x00, 0x20, 0x00,  // inc dword [0x200000]
    0xa0, 0x01, 0x00, 0x20, 0x00,        // mov al, [0x200001]
    0x24, 0x3f, 0x04, 0x30,              // and al, 0x3f; add al, '0'
    0xee, 0xeb, 0xef                     // out dx, al; jmp back
};

TEST(MachineSnapshot, ContinuesAsTheFirstTime) {
  const auto machine = machine_with(kCounter);
  ASSERT_NE(machine, nullptr);
  machine->run_for(kMillisecond);
  machine->take_output();
  ASSERT_TRUE(machine->take_snapshot().ok());
  const auto once = [&] {
    machine->run_for(kMillisecond);
    return machine->take_output() + std::to_string(machine->processor(0).rip()) + " " +
           std::to_string(machine->clock().ticks()) + " " +
           std::to_string(machine->memory().read<uint32_t>(Hpa(0x200000)));
  };
  const std::string first = once();
  ASSERT_TRUE(machine->restore_snapshot().ok());
  const std::string second = once();
  EXPECT_GT(first.size(), 1000u);
  EXPECT_EQ(first, second);
}

TEST(MachineSnapshot, NothingToGoBackToIsAnError) {
  const auto machine = machine_with({0xf4});
  ASSERT_NE(machine, nullptr);
  EXPECT_FALSE(machine->restore_snapshot().ok());
}

}  // namespace
}  // namespace cupel::machine
