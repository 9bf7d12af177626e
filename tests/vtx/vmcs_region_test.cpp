#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {
namespace {

TEST(VmcsRegion, LookupIsCompleteAndInvertible) {
  for (size_t n = 0; n < kFieldCount; ++n) {
    const F f = static_cast<F>(n);
    EXPECT_EQ(field_info(encoding_of(f)).index, f) << name_of(f);
  }
  EXPECT_EQ(field_info(0x80000000).index, F::none);
  EXPECT_EQ(field_info(0x1000).index, F::none);
}

TEST(VmcsRegion, DataSurvivesVmptrldOfAnother) {
  Rig rig;
  rig.set(F::guest_rip, 0x1234);
  rig.set(F::host_rip, 0x5678);
  good_vmcs(rig.vmx, *rig.memory, kOtherVmcs);
  rig.set(F::guest_rip, 0x9999);
  EXPECT_EQ(rig.vmx.vmptrld(kVmcs), VmxStatus::succeed);
  EXPECT_EQ(rig.get(F::guest_rip), 0x1234u);
  EXPECT_EQ(rig.get(F::host_rip), 0x5678u);
  EXPECT_EQ(rig.vmx.vmptrld(kOtherVmcs), VmxStatus::succeed);
  EXPECT_EQ(rig.get(F::guest_rip), 0x9999u);
}

TEST(VmcsRegion, GuestStateIsPulledOutBeforeASwitch) {
  Rig rig;
  rig.cpu.script = [](FakeProcessor& p) {
    p.raw().rip = 0x4444;
    p.raw()[x86::Seg::fs].base = 0x77;
    p.trap(cpu::TrapKind::cpuid);
  };
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  good_vmcs(rig.vmx, *rig.memory, kOtherVmcs);
  rig.cpu.script = nullptr;
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.cpu.raw().rip, 0x100000u);
  EXPECT_EQ(rig.vmx.vmptrld(kVmcs), VmxStatus::succeed);
  EXPECT_EQ(rig.get(F::guest_rip), 0x4444u);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);  // launched, still
  EXPECT_EQ(rig.cpu.raw().rip, 0x4444u);
  EXPECT_EQ(rig.cpu.raw()[x86::Seg::fs].base, 0x77u);
}

TEST(VmcsRegion, VmclearMakesLaunchStateClearAndForgetsTheCurrent) {
  Rig rig;
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.vmx.vmclear(kVmcs), VmxStatus::succeed);
  uint64_t value = 0;
  EXPECT_EQ(rig.vmx.vmread(0x681e, value), VmxStatus::fail_invalid);
  EXPECT_EQ(rig.vmx.vmptrld(kVmcs), VmxStatus::succeed);
  EXPECT_EQ(rig.resume(), VmxStatus::fail_valid);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
}

TEST(VmcsRegion, UnclearedRegionCanNeitherLaunchNorResume) {
  Rig rig(server_capabilities(), false);
  rig.start();
  rig.memory->write(kVmcs, rig.vmx.capabilities().revision);
  EXPECT_EQ(rig.vmx.vmptrld(kVmcs), VmxStatus::succeed);
  EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.last_error(), VmxError::vmlaunch_not_clear);
  EXPECT_EQ(rig.resume(), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.last_error(), VmxError::vmresume_not_launched);
}

// A region full of noise loads, enters with failures or an exit, and crashes nothing.
TEST(VmcsRegion, GarbageIsSafe) {
  uint64_t noise = 0x9e3779b97f4a7c15ull;
  for (int round = 0; round < 200; ++round) {
    Rig rig(server_capabilities(), false);
    rig.start();
    for (uint64_t at = 0; at < kPageSize; at += 8) {
      noise = noise * 6364136223846793005ull + 1442695040888963407ull;
      rig.memory->write(kVmcs + at, noise ^ noise >> 29);
    }
    rig.memory->write(kVmcs, rig.vmx.capabilities().revision);
    EXPECT_EQ(rig.vmx.vmclear(kVmcs), VmxStatus::succeed);
    EXPECT_EQ(rig.vmx.vmptrld(kVmcs), VmxStatus::succeed);
    EXPECT_EQ(rig.launch(), VmxStatus::fail_valid);
    EXPECT_FALSE(rig.vmx.describe_entry_failures().empty());
    for (const F f : {F::guest_es_selector, F::vpid}) EXPECT_LE(rig.get(f), 0xffffu);
  }
}

// Good controls and host state, noise in the guest-state area.
TEST(VmcsRegion, GarbageGuestStateIsAnEntryFailure) {
  uint64_t noise = 1;
  for (int round = 0; round < 200; ++round) {
    Rig rig;
    for (size_t n = 0; n < kFieldCount; ++n) {
      const F f = static_cast<F>(n);
      if (field_info(encoding_of(f)).type != x86::FieldType::guest_state ||
          !rig.vmx.capabilities().has_field(encoding_of(f)))
        continue;
      noise = noise * 6364136223846793005ull + 1442695040888963407ull;
      rig.set(f, noise >> 7);
    }
    EXPECT_EQ(rig.launch(), VmxStatus::succeed);
    EXPECT_EQ(rig.reason(), 0x80000021u);
  }
}

}  // namespace
}  // namespace cupel::vtx::testing
