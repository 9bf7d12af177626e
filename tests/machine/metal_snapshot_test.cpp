// A hypervisor taken down in the middle of its work, and brought back: the self-test image must go
// on as if nothing had happened, whether root or non-root operation was interrupted.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "hw_models/machine/machine.h"

namespace cupel::machine {
namespace {

constexpr Nanoseconds kStep{100'000};

std::vector<std::byte> read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::byte> image(bytes.size());
  if (!bytes.empty()) std::memcpy(image.data(), bytes.data(), bytes.size());
  return image;
}

std::unique_ptr<Machine> boot(const char* options) {
  const auto image = read_file(CUPEL_METAL_IMAGE);
  boot::BootImage boot;
  boot.file = image;
  boot.command_line = options;
  MachineConfig config;
  config.memory = 512_MiB;
  auto made = Machine::create(std::move(config), boot);
  return made.ok() ? std::move(made).value() : nullptr;
}

std::string run_to_the_end(Machine& machine) {
  for (int n = 0; n < 2000 && !machine.stopped(); ++n) machine.run_for(kStep);
  return machine.take_output();
}

TEST(MetalSnapshot, TheRestIsTheSameFromAnyMoment) {
  for (const int steps : {3, 7, 13, 21, 34, 48}) {
    const auto machine = boot("metal test=exit.*");
    ASSERT_NE(machine, nullptr);
    for (int n = 0; n < steps; ++n) machine->run_for(kStep);
    if (machine->stopped()) break;
    machine->take_output();
    ASSERT_TRUE(machine->take_snapshot().ok());
    const std::string first = run_to_the_end(*machine);
    ASSERT_TRUE(machine->stopped());
    ASSERT_TRUE(machine->restore_snapshot().ok());
    EXPECT_FALSE(machine->stopped());
    const std::string second = run_to_the_end(*machine);
    EXPECT_EQ(first, second) << "after " << steps << " steps";
    EXPECT_NE(first.find("# done"), std::string::npos);
  }
}

}  // namespace
}  // namespace cupel::machine
