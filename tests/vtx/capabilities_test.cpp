#include "core/x86/msr.h"
#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

TEST(Capabilities, ServerProfileIsConsistent) {
  const CapabilityProfile p = server_capabilities();
  EXPECT_EQ(p.revision >> 31, 0u);
  for (const ControlRange& r : {p.pin, p.proc, p.proc2, p.exit, p.entry}) {
    EXPECT_EQ(r.required & ~r.default1, 0u);
    EXPECT_EQ(r.default1 & ~r.allowed, 0u);
  }
  EXPECT_EQ(*p.msr(msr::VMX_BASIC) >> 55 & 1, 1u);
  EXPECT_EQ(*p.msr(msr::VMX_BASIC) >> 32 & 0x1fff, 4096u);
  EXPECT_EQ(*p.msr(msr::VMX_TRUE_PROCBASED) & 0xffffffff, 0x04006172u);
  EXPECT_EQ(*p.msr(msr::VMX_MISC) & 0x1f, 0u);
  EXPECT_EQ(*p.msr(msr::VMX_MISC) >> 5 & 0xf, 0xfu);
  EXPECT_EQ(p.cr4_fixed0 & ~p.cr4_fixed1, 0u);
}

TEST(Capabilities, VmcsEnumNamesTheHighestIndex) {
  const CapabilityProfile p = server_capabilities();
  const uint64_t highest = *p.msr(msr::VMX_VMCS_ENUM) >> 1;
  for (size_t n = 0; n < kFieldCount; ++n) {
    const uint32_t encoding = encoding_of(static_cast<F>(n));
    if (!p.has_field(encoding)) continue;
    EXPECT_LE(encoding >> 1 & 0x1ff, highest);
  }
}

TEST(Capabilities, TakingAControlAwayTakesItsFieldsAndMsrs) {
  CapabilityProfile p = server_capabilities();
  p.proc2.allowed &= ~(proc2::enable_ept | proc2::unrestricted_guest);
  EXPECT_FALSE(p.has_field(encoding_of(F::ept_pointer)));
  EXPECT_FALSE(p.has_field(encoding_of(F::guest_pdpte0)));
  EXPECT_TRUE(p.has_field(encoding_of(F::vpid)));
  EXPECT_TRUE(p.msr(msr::VMX_EPT_VPID_CAP).has_value());
  p.proc.allowed &= ~proc::secondary_controls;
  EXPECT_FALSE(p.msr(msr::VMX_PROCBASED2).has_value());
  EXPECT_FALSE(p.has_field(encoding_of(F::secondary_processor_controls)));
}

TEST(Capabilities, Cr4Fixed1FollowsCpuid) {
  Rig rig;
  EXPECT_EQ(rig.vmx.capabilities().cr4_fixed1 & cr4::OSXSAVE, 0u);
  EXPECT_NE(rig.vmx.capabilities().cr4_fixed1 & cr4::SMEP, 0u);
  EXPECT_NE(rig.vmx.capabilities().cr4_fixed1 & cr4::VMXE, 0u);
}

}  // namespace
}  // namespace cupel::vtx::testing
