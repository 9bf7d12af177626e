#include "hypervisor/vmx/controls.h"

#include <gtest/gtest.h>

#include "hypervisor/vmx/control_names.h"
#include "hypervisor/vmx/fault_text.h"
#include "tests/vmx/fake_vmx_cpu.h"

namespace cupel::vmx::test {
namespace {

constexpr uint64_t capability(uint32_t must, uint32_t may) {
  return static_cast<uint64_t>(may) << 32 | must;
}

struct Case {
  const char* name;
  ControlRequest request;
  uint64_t capability;
  bool ok;
  uint32_t value;  // or the refused bits
  ControlRefusal::Kind refusal = ControlRefusal::Kind::contradiction;
};

using enum ControlRefusal::Kind;

const Case kCases[] = {
    {"nothing asked: the processor's default", {0, 0, 0}, capability(0x16, 0xff), true, 0x16},
    {"required and allowed", {1, 0, 0}, capability(0, 1), true, 1},
    {"required and not allowed", {3, 0, 0}, capability(0, 1), false, 2, unsupported},
    {"required and insisted on", {1, 0, 0}, capability(1, 1), true, 1},
    {"wanted and allowed", {0, 1, 0}, capability(0, 1), true, 1},
    {"wanted and not allowed", {0, 3, 0}, capability(0, 1), true, 1},
    {"forbidden and free", {0, 0, 1}, capability(0, 1), true, 0},
    {"forbidden and insisted on", {0, 0, 3}, capability(1, 3), false, 1, forced},
    {"required and forbidden", {5, 0, 4}, capability(0, 7), false, 4, contradiction},
    {"wanted and forbidden: off", {0, 1, 1}, capability(0, 1), true, 0},
};

TEST(SetControl, Matrix) {
  for (const Case& c : kCases) {
    auto value = set_control(c.request, c.capability);
    ASSERT_EQ(value.ok(), c.ok) << c.name;
    if (c.ok) {
      EXPECT_EQ(*value, c.value) << c.name;
    } else {
      EXPECT_EQ(value.error().bits, c.value) << c.name;
      EXPECT_EQ(value.error().kind, c.refusal) << c.name;
    }
  }
}

TEST(ChooseControls, WhatTheCoreRunsWith) {
  FakeVmxCpu cpu;
  auto caps = VmxCapabilities::read(cpu);
  ASSERT_TRUE(caps.ok());
  auto set = choose_controls(*caps, true);
  ASSERT_TRUE(set.ok()) << to_error(set.error()).message;
  EXPECT_TRUE(set->virtual_nmis());
  EXPECT_TRUE(set->vpid());
  EXPECT_TRUE(set->unrestricted());
  EXPECT_TRUE(set->pin & pin::preemption_timer);
  EXPECT_FALSE(set->primary & (proc::rdtsc_exiting | proc::cr3_load_exiting));
  EXPECT_FALSE(set->exit & exitctl::save_preemption_timer);
  EXPECT_FALSE(set->entry & entryctl::ia32e_mode_guest);
}

TEST(ChooseControls, WithoutVirtualNmisGoesOn) {
  FakeVmxCpu cpu;
  cpu.msrs[msr::VMX_TRUE_PINBASED] &= ~(uint64_t{pin::virtual_nmis} << 32);
  auto set = choose_controls(VmxCapabilities::read(cpu).value(), true);
  ASSERT_TRUE(set.ok());
  EXPECT_FALSE(set->virtual_nmis());
}

TEST(ChooseControls, UnrestrictedGuestIsNeededForRealModeOnly) {
  FakeVmxCpu cpu;
  cpu.msrs[msr::VMX_PROCBASED2] &= ~(uint64_t{proc2::unrestricted_guest} << 32);
  auto caps = VmxCapabilities::read(cpu);
  EXPECT_TRUE(choose_controls(*caps, false).ok());
  auto refused = choose_controls(*caps, true);
  ASSERT_FALSE(refused.ok());
  const Error error = to_error(refused.error());
  EXPECT_EQ(error.kind, ErrorKind::environment);
  EXPECT_NE(error.message.find("secondary processor-based controls"), std::string::npos);
  EXPECT_NE(error.message.find("unrestricted guest"), std::string::npos);
}

TEST(ChooseControls, NamesWhatTheProcessorInsistsOn) {
  FakeVmxCpu cpu;  // without TRUE MSRs CR3 exits are insisted on
  cpu.msrs[msr::VMX_BASIC] &= ~(1ull << 55);
  cpu.msrs[msr::VMX_PINBASED] = cpu.msrs[msr::VMX_TRUE_PINBASED];
  cpu.msrs[msr::VMX_PROCBASED] = cpu.msrs[msr::VMX_TRUE_PROCBASED] | 0x18000;
  cpu.msrs[msr::VMX_EXIT] = cpu.msrs[msr::VMX_TRUE_EXIT];
  cpu.msrs[msr::VMX_ENTRY] = cpu.msrs[msr::VMX_TRUE_ENTRY];
  auto refused = choose_controls(VmxCapabilities::read(cpu).value(), true);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(to_error(refused.error()).message.find("insists on: CR3-load exiting"),
            std::string::npos);
}

TEST(Capabilities, AMissingMsrIsNamed) {
  FakeVmxCpu cpu;
  cpu.msrs.erase(msr::VMX_MISC);
  auto caps = VmxCapabilities::read(cpu);
  ASSERT_FALSE(caps.ok());
  EXPECT_NE(to_error(caps.error()).message.find("0x485"), std::string::npos);
}

TEST(ControlNames, UnknownBitsHaveANumber) {
  EXPECT_EQ(bit_names(ControlField::pin, 1u << 3 | 1u << 30), "NMI exiting, bit 30");
}

}  // namespace
}  // namespace cupel::vmx::test
