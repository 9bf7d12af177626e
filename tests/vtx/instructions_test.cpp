#include "core/x86/msr.h"
#include "hw_models/vtx/control_table.h"
#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {
namespace {

TEST(Vmxon, NeedsCr4Vmxe) {
  Rig rig(server_capabilities(), false);
  rig.memory->write(kVmxonRegion, rig.vmx.capabilities().revision);
  EXPECT_EQ(rig.vmx.execute_vmxon(kVmxonRegion), Outcome::undefined_opcode);
}

TEST(Vmxon, NeedsFeatureControlAndFixedCr0Bits) {
  Rig rig(server_capabilities(), false);
  rig.memory->write(kVmxonRegion, rig.vmx.capabilities().revision);
  rig.vmx.write_cr4(rig.vmx.read_cr4() | x86::cr4::VMXE);
  rig.vmx.host_state().feature_control = 1;
  EXPECT_EQ(rig.vmx.execute_vmxon(kVmxonRegion), Outcome::general_protection);
  rig.vmx.host_state().feature_control = 5;
  rig.vmx.write_cr0(0x80000011);  // NE 0
  EXPECT_EQ(rig.vmx.execute_vmxon(kVmxonRegion), Outcome::general_protection);
}

TEST(Vmxon, RefusesBadRegions) {
  Rig rig(server_capabilities(), false);
  rig.vmx.write_cr4(rig.vmx.read_cr4() | x86::cr4::VMXE);
  const uint32_t revision = rig.vmx.capabilities().revision;
  EXPECT_EQ(rig.vmx.vmxon(kVmxonRegion), VmxStatus::fail_invalid);  // no revision identifier
  rig.memory->write(kVmxonRegion, revision | 1u << 31);
  EXPECT_EQ(rig.vmx.vmxon(kVmxonRegion), VmxStatus::fail_invalid);
  rig.memory->write(kVmxonRegion + 8, revision);
  EXPECT_EQ(rig.vmx.vmxon(kVmxonRegion + 8), VmxStatus::fail_invalid);
  EXPECT_EQ(rig.vmx.vmxon(Hpa(1ull << 40)), VmxStatus::fail_invalid);
  EXPECT_EQ(rig.vmx.vmxon(Hpa(1ull << 30)), VmxStatus::fail_invalid);  // beyond memory
}

TEST(Vmx, NothingWorksOutsideVmxOperation) {
  Rig rig(server_capabilities(), false);
  uint64_t value = 0;
  Hpa pointer;
  EXPECT_EQ(rig.vmx.execute_vmxoff(), Outcome::undefined_opcode);
  EXPECT_EQ(rig.vmx.execute_vmclear(kVmcs), Outcome::undefined_opcode);
  EXPECT_EQ(rig.vmx.execute_vmptrld(kVmcs), Outcome::undefined_opcode);
  EXPECT_EQ(rig.vmx.execute_vmptrst(pointer), Outcome::undefined_opcode);
  EXPECT_EQ(rig.vmx.execute_vmread(0x681e, value), Outcome::undefined_opcode);
  EXPECT_EQ(rig.vmx.execute_vmwrite(0x681e, 0), Outcome::undefined_opcode);
  EXPECT_EQ(rig.vmx.execute_invept(2, {}), Outcome::undefined_opcode);
  EXPECT_EQ(rig.vmx.execute_invvpid(2, {}), Outcome::undefined_opcode);
  EXPECT_EQ(rig.vmx.execute_vmcall(), Outcome::undefined_opcode);
  EXPECT_EQ(rig.vmx.execute_entry(true), Outcome::undefined_opcode);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_invalid);
}

TEST(Vmx, WithoutCurrentVmcsFailsInvalid) {
  Rig rig(server_capabilities(), false);
  rig.start();
  uint64_t value = 0;
  Hpa pointer;
  EXPECT_EQ(rig.vmx.vmptrst(pointer), VmxStatus::succeed);
  EXPECT_EQ(pointer.value(), ~0ull);
  EXPECT_EQ(rig.vmx.vmread(0x681e, value), VmxStatus::fail_invalid);
  EXPECT_EQ(rig.vmx.vmwrite(0x681e, 0), VmxStatus::fail_invalid);
  EXPECT_EQ(rig.vmx.vmxon(kVmxonRegion), VmxStatus::fail_invalid);
  EXPECT_EQ(rig.vmx.vmclear(Hpa(1)), VmxStatus::fail_invalid);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_invalid);
}

// Every VM-instruction error number that exists without the dual-monitor treatment of SMM; 7 and 8
// are the subject of the entry-check tests, too.
TEST(Vmx, EveryInstructionErrorIsReachable) {
  CapabilityProfile profile = server_capabilities();
  profile.vmwrite_any_field = false;
  Rig rig(profile);
  LogicalProcessor& vmx = rig.vmx;
  uint64_t value = 0;
  auto expect = [&](VmxStatus status, VmxError error) {
    EXPECT_EQ(status, VmxStatus::fail_valid) << static_cast<int>(error);
    EXPECT_EQ(vmx.last_error(), error);
    EXPECT_EQ(rig.get(F::vm_instruction_error), static_cast<uint64_t>(error));
  };
  expect(vmx.vmcall(), VmxError::vmcall_in_root);
  expect(vmx.vmclear(kVmcs + 4), VmxError::vmclear_address);
  expect(vmx.vmclear(kVmxonRegion), VmxError::vmclear_vmxon_pointer);
  expect(rig.resume(), VmxError::vmresume_not_launched);
  expect(vmx.vmptrld(Hpa(1ull << 40)), VmxError::vmptrld_address);
  expect(vmx.vmptrld(kVmxonRegion), VmxError::vmptrld_vmxon_pointer);
  expect(vmx.vmptrld(kOtherVmcs), VmxError::vmptrld_revision);
  expect(vmx.vmread(0x6fee, value), VmxError::unsupported_component);
  expect(vmx.vmwrite(0x4401, 0), VmxError::unsupported_component);  // high access of 32 bits
  expect(vmx.vmwrite(encoding_of(F::exit_reason), 0), VmxError::read_only_component);
  expect(vmx.vmxon(kVmxonRegion), VmxError::vmxon_in_root);
  expect(vmx.invept(3, {}), VmxError::invalid_operand);
  vmx.host_state().blocking_by_mov_ss = true;
  expect(rig.launch(), VmxError::entry_blocked_by_mov_ss);
  vmx.host_state().blocking_by_mov_ss = false;
  rig.set(F::vpid, 0);
  expect(rig.launch(), VmxError::entry_controls);
  rig.set(F::vpid, 1);
  rig.set(F::host_cs_selector, 0);
  expect(rig.launch(), VmxError::entry_host_state);
  rig.set(F::host_cs_selector, 8);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  expect(rig.launch(), VmxError::vmlaunch_not_clear);
  ASSERT_EQ(vmx.vmxoff(), VmxStatus::succeed);
  ASSERT_EQ(vmx.vmxon(kVmxonRegion), VmxStatus::succeed);
  ASSERT_EQ(vmx.vmptrld(kVmcs), VmxStatus::succeed);
  expect(rig.resume(), VmxError::vmresume_after_vmxoff);
}

TEST(VmreadVmwrite, WidthsAndHighAccess) {
  Rig rig;
  rig.set(F::guest_es_selector, 0x12345678);
  EXPECT_EQ(rig.get(F::guest_es_selector), 0x5678u);
  rig.set(F::exception_bitmap, 0xfedcba9876543210ull);
  EXPECT_EQ(rig.get(F::exception_bitmap), 0x76543210u);
  rig.set(F::tsc_offset, 0x1111111122222222ull);
  EXPECT_EQ(rig.vmx.vmwrite(encoding_of(F::tsc_offset) | 1, 0x33333333), VmxStatus::succeed);
  EXPECT_EQ(rig.get(F::tsc_offset), 0x3333333322222222ull);
  uint64_t high = 0;
  EXPECT_EQ(rig.vmx.vmread(encoding_of(F::tsc_offset) | 1, high), VmxStatus::succeed);
  EXPECT_EQ(high, 0x33333333u);
  rig.set(F::guest_pat, 0x0007040600070406ull);
  EXPECT_EQ(rig.vmx.vmwrite(encoding_of(F::guest_pat) | 1, 6), VmxStatus::succeed);
  EXPECT_EQ(rig.get(F::guest_pat), 0x0000000600070406ull);
}

TEST(VmreadVmwrite, FieldsOfAbsentFeaturesDoNotExist) {
  const auto profile = without(server_capabilities(), "use TPR shadow");
  ASSERT_TRUE(profile.has_value());
  Rig rig(*profile);
  uint64_t value = 0;
  for (const F f : {F::guest_ssp, F::hlat_pointer, F::pid_pointer_table, F::instruction_timeout})
    EXPECT_EQ(rig.vmx.vmread(encoding_of(f), value), VmxStatus::fail_valid) << name_of(f);
  EXPECT_EQ(rig.vmx.last_error(), VmxError::unsupported_component);
  EXPECT_EQ(rig.vmx.vmread(0xffffffff, value), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.vmread(0x1000, value), VmxStatus::fail_valid);
}

TEST(VmreadVmwrite, ReadOnlyFieldsAreWritableWhereTheProfileSaysSo) {
  Rig rig;
  rig.set(F::exit_qualification, 77);
  EXPECT_EQ(rig.get(F::exit_qualification), 77u);
}

TEST(Invept, ChecksOperandsAndFlushes) {
  Rig rig;
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  const int before = rig.cpu.flushes;
  EXPECT_EQ(rig.vmx.invept(1, {kPml4 | 3 << 3 | 6, 0}), VmxStatus::succeed);
  EXPECT_EQ(rig.cpu.flushes, before + 1);
  EXPECT_EQ(rig.vmx.invept(1, {0x30000 | 3 << 3 | 6, 0}), VmxStatus::succeed);  // another tag
  EXPECT_EQ(rig.cpu.flushes, before + 1);
  EXPECT_EQ(rig.vmx.invept(2, {}), VmxStatus::succeed);
  EXPECT_EQ(rig.cpu.flushes, before + 2);
  EXPECT_EQ(rig.vmx.invept(2, {0, 1}), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.invept(1, {kPml4 | 2 << 3 | 6, 0}), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.invept(0, {}), VmxStatus::fail_valid);
}

TEST(Invvpid, ChecksOperandsAndFlushes) {
  Rig rig;
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  const int before = rig.cpu.flushes;
  EXPECT_EQ(rig.vmx.invvpid(0, {1, 0x5000}), VmxStatus::succeed);
  ASSERT_EQ(rig.cpu.flushed_pages.size(), 1u);
  EXPECT_EQ(rig.cpu.flushed_pages[0], Gva(0x5000));
  EXPECT_EQ(rig.vmx.invvpid(1, {1, 0}), VmxStatus::succeed);
  EXPECT_EQ(rig.cpu.flushes, before + 1);
  EXPECT_EQ(rig.vmx.invvpid(1, {2, 0}), VmxStatus::succeed);
  EXPECT_EQ(rig.cpu.flushes, before + 1);
  EXPECT_EQ(rig.vmx.invvpid(1, {0, 0}), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.invvpid(0, {1, 1ull << 47}), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.invvpid(4, {1, 0}), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.last_error(), VmxError::invalid_operand);
}

TEST(HostMsrs, CapabilitiesAndFeatureControl) {
  Rig rig;
  uint64_t value = 0;
  EXPECT_TRUE(rig.vmx.rdmsr(x86::msr::VMX_BASIC, value));
  EXPECT_EQ(value & 0x7fffffff, rig.vmx.capabilities().revision);
  EXPECT_FALSE(rig.vmx.wrmsr(x86::msr::VMX_BASIC, 0));
  EXPECT_FALSE(rig.vmx.rdmsr(x86::msr::VMX_PROCBASED3, value));
  EXPECT_TRUE(rig.vmx.rdmsr(x86::msr::FEATURE_CONTROL, value));
  EXPECT_EQ(value, 5u);
  EXPECT_FALSE(rig.vmx.wrmsr(x86::msr::FEATURE_CONTROL, 0));
  EXPECT_FALSE(rig.vmx.wrmsr(x86::msr::EFER, 2));
  EXPECT_FALSE(rig.vmx.wrmsr(x86::msr::PAT, 2));
  EXPECT_TRUE(rig.vmx.wrmsr(x86::msr::STAR, 9));
  EXPECT_EQ(rig.cpu.msrs()[x86::msr::STAR], 9u);
}

}  // namespace
}  // namespace cupel::vtx::testing
