// Seats and console sessions: sizes and images that cannot work are refused with a reason.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "scenarios/session/console_session.h"
#include "tests/scenarios/scenario_rig.h"

namespace cupel::scenarios::testing {
namespace {

Error boot_error(const BootConfig& config) {
  auto session = ConsoleSession::create(config);
  EXPECT_FALSE(session.ok());
  return session.ok() ? Error() : session.error();
}

// A file that is gone with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& content)
      : path_(::testing::TempDir() + "cupel-seat-test-image") {
    std::ofstream(path_, std::ios::binary) << content;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST(Seat, MemoryOutsideWhatThePlatformHasIsRefused) {
  for (const uint64_t size : {uint64_t{0}, 1_MiB, 64_MiB + 512, 3585_MiB, 64_GiB, UINT64_MAX}) {
    VirtualClock clock;
    const auto seat = make_seat(BackendKind::model, size, clock);
    ASSERT_FALSE(seat.ok()) << size;
    EXPECT_EQ(seat.error().kind, ErrorKind::bad_input);
    EXPECT_NE(seat.error().hint.find("2 MiB to 3584 MiB"), std::string::npos) << seat.error().hint;
  }
}

TEST(Seat, TheSmallestAndTheLargestMemoryBoot) {
  for (const uint64_t size : {2_MiB, 3584_MiB}) {
    auto session = ConsoleSession::create({.memory = size,
                                           .kernel = guest_assets().workload,
                                           .initrd = {},
                                           .command_line = "mode=hello"});
    ASSERT_TRUE(session.ok()) << describe(session.error());
    while (!(*session)->ended() && (*session)->clock().now() < 1_s) (*session)->step(1_ms);
    EXPECT_NE((*session)->take_output().find("WORKLOAD hello"), std::string::npos);
    EXPECT_LT((*session)->seat().resident_bytes(), 64_MiB);
  }
}

TEST(Seat, UnknownBackendsAreNamed) {
  const auto backend = backend_from("xen");
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.error().kind, ErrorKind::bad_input);
  EXPECT_NE(describe(backend.error()).find("xen"), std::string::npos);
}

TEST(Images, WhatCannotBootIsRefusedWithAReason) {
  const std::string whole = content_of(guest_assets().workload);
  const std::string foreign_machine = [&] {
    std::string text = whole;
    text[18] = 40;  // e_machine: ARM
    return text;
  }();
  for (const std::string& content :
       {std::string(),
        std::string("\x7f"
                    "ELF"),
        std::string("MZ hello"), std::string(100000, 'x'), whole.substr(0, 60),
        whole.substr(0, 100), whole.substr(0, whole.size() / 3), foreign_machine}) {
    const TemporaryFile file(content);
    const Error error = boot_error({.kernel = file.path(), .initrd = {}, .command_line = {}});
    EXPECT_EQ(error.kind, ErrorKind::bad_input) << describe(error);
    EXPECT_FALSE(error.message.empty());
    EXPECT_FALSE(error.hint.empty()) << error.message;
  }
}

TEST(Images, ATruncatedLinuxKernelIsRefused) {
  if (guest_assets().linux_kernel.empty()) GTEST_SKIP() << "no Linux kernel in build/cache/linux";
  const std::string whole = content_of(guest_assets().linux_kernel);
  for (const size_t size : {size_t{512}, size_t{0x250}, size_t{20000}, whole.size() / 2}) {
    const TemporaryFile file(whole.substr(0, size));
    const Error error = boot_error({.kernel = file.path(), .initrd = {}, .command_line = {}});
    EXPECT_EQ(error.kind, ErrorKind::bad_input) << size;
    EXPECT_FALSE(error.hint.empty()) << error.message;
  }
}

TEST(Images, MissingFilesAndDirectoriesAreNamed) {
  for (const std::string path : {"/nonexistent/kernel", "/"}) {
    const Error error = boot_error({.kernel = path, .initrd = {}, .command_line = {}});
    EXPECT_EQ(error.kind, ErrorKind::bad_input);
    EXPECT_NE(error.message.find("'" + path + "'"), std::string::npos) << error.message;
  }
}

}  // namespace
}  // namespace cupel::scenarios::testing
