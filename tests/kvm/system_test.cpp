// What a person is told when KVM cannot be used, and small conversions.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "hypervisor/kvm/exit_counting.h"
#include "hypervisor/kvm/registers.h"
#include "hypervisor/kvm/system.h"

namespace cupel::kvm {
namespace {

TEST(System, MissingDeviceNamesItAndTheModules) {
  const auto system = open_system("/nonexistent/kvm");
  ASSERT_FALSE(system.ok());
  EXPECT_EQ(system.error().kind, ErrorKind::environment);
  EXPECT_NE(system.error().message.find("/nonexistent/kvm"), std::string::npos);
  EXPECT_NE(system.error().hint.find("modprobe"), std::string::npos);
}

TEST(System, ForbiddenDeviceNamesTheCommand) {
  if (geteuid() == 0) GTEST_SKIP() << "root may open everything";
  char path[] = "/tmp/cupel-kvm-XXXXXX";
  const int fd = mkstemp(path);
  ASSERT_GE(fd, 0);
  close(fd);
  chmod(path, 0);
  const auto system = open_system(path);
  unlink(path);
  ASSERT_FALSE(system.ok());
  EXPECT_NE(system.error().hint.find("usermod -aG kvm"), std::string::npos);
}

TEST(System, ForeignDeviceIsRefused) {
  const auto system = open_system("/dev/null");
  ASSERT_FALSE(system.ok());
  EXPECT_NE(system.error().message.find("API version"), std::string::npos);
}

TEST(ExitCounting, EveryKnownKvmExitHasItsBasicReason) {
  EXPECT_EQ(basic_exit_reason(KVM_EXIT_MMIO), x86::ExitReason::ept_violation);
  EXPECT_EQ(basic_exit_reason(KVM_EXIT_IO), x86::ExitReason::io_instruction);
  EXPECT_EQ(basic_exit_reason(KVM_EXIT_SHUTDOWN), x86::ExitReason::triple_fault);
  EXPECT_EQ(basic_exit_reason(KVM_EXIT_INTERNAL_ERROR), std::nullopt);
  EXPECT_EQ(basic_exit_reason(9999), std::nullopt);
}

TEST(Segments, AccessRightsRoundTrip) {
  for (const uint32_t access : {0x93u, 0xa09bu, 0xc093u, 0x8bu, 0x82u, 0x10000u, 0xf0ffu}) {
    const x86::Segment segment{0x1234, access, 0xfffff, 0x123456789abc};
    EXPECT_EQ(from_kvm(to_kvm(segment)), segment) << access;
  }
}

}  // namespace
}  // namespace cupel::kvm
