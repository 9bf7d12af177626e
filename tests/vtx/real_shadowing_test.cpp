// VMCS shadowing: guests that really execute VMREAD and VMWRITE.
// SDM vol. 3C, "VMREAD—Read Field from Virtual-Machine Control Structure", "VMWRITE".
#include "tests/vtx/real_rig.h"

namespace cupel::vtx::testing {
namespace {

constexpr uint32_t kGuestRip = 0x681e, kTscOffset = 0x2010, kExitReason = 0x4402;

class Shadowing : public RealRig {
 protected:
  static constexpr uint64_t kShadow = 0x240000, kReadBitmap = 0x241000, kWriteBitmap = 0x242000,
                            kData = 0x250000;
  void SetUp() override {
    RealRig::SetUp();
    make_shadow();
    set_bits(F::secondary_processor_controls, proc2::vmcs_shadowing);
    set(F::vmcs_link_pointer, kShadow);
    set(F::vmread_bitmap, kReadBitmap);
    set(F::vmwrite_bitmap, kWriteBitmap);
  }
  void make_shadow() {
    memory->write<uint32_t>(Hpa(kShadow), vmx->capabilities().revision | 1u << 31);
    ASSERT_EQ(vmx->vmclear(Hpa(kShadow)), VmxStatus::succeed);
    ASSERT_EQ(vmx->vmptrld(Hpa(kShadow)), VmxStatus::succeed);
    set(F::guest_rip, 0x123456789abcdef0);
    set(F::tsc_offset, 0x1111111122222222);
    ASSERT_EQ(vmx->vmptrld(kVmcs), VmxStatus::succeed);
  }
  uint64_t shadow(F field) {
    EXPECT_EQ(vmx->vmclear(kVmcs), VmxStatus::succeed);
    EXPECT_EQ(vmx->vmptrld(Hpa(kShadow)), VmxStatus::succeed);
    const uint64_t value = get(field);
    EXPECT_EQ(vmx->vmptrld(kVmcs), VmxStatus::succeed);
    launched = false;
    return value;
  }
  void forbid(uint64_t bitmap, uint32_t encoding) {
    const Hpa at(bitmap + encoding / 8);
    memory->write(at, static_cast<uint8_t>(memory->read<uint8_t>(at) | 1u << (encoding & 7)));
  }
  uint64_t flags() { return get(F::guest_rflags) & (rflags::CF | rflags::ZF); }
};

TEST_F(Shadowing, ReadsAndWritesGoToTheLinkedVmcs) {
  code({0x0f, 0x78, 0xc3,                // vmread rbx, rax
        0x0f, 0x79, 0xce,                // vmwrite rcx, rsi
        0x0f, 0x78, 0x17, 0x0f, 0xa2});  // vmread [rdi], rdx; cpuid
  regs[Gpr::rax] = kGuestRip;
  regs[Gpr::rcx] = kGuestRip;
  regs[Gpr::rsi] = 0xfedc;
  regs[Gpr::rdx] = kTscOffset | 1;
  regs[Gpr::rdi] = kData;
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(regs[Gpr::rbx], 0x123456789abcdef0u);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(kData)), 0x11111111u);
  EXPECT_EQ(flags(), 0u);
  EXPECT_EQ(shadow(F::guest_rip), 0xfedcu);
}

TEST_F(Shadowing, HalfOfA64BitFieldIsWritten) {
  code({0x0f, 0x79, 0x0f, 0x0f, 0xa2});  // vmwrite rcx, [rdi]; cpuid
  memory->write<uint64_t>(Hpa(kData), 0x3333333344444444);
  regs[Gpr::rcx] = kTscOffset | 1;
  regs[Gpr::rdi] = kData;
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(shadow(F::tsc_offset), 0x4444444422222222u);
}

TEST_F(Shadowing, BitmapsSayWhatExits) {
  forbid(kReadBitmap, kGuestRip);
  forbid(kWriteBitmap, kTscOffset);
  code({0x0f, 0x78, 0xc3,    // vmread rbx, rax: exits
        0x0f, 0x79, 0xc6,    // vmwrite rax, rsi
        0x0f, 0x79, 0xce,    // vmwrite rcx, rsi: exits
        0x0f, 0x78, 0xd3});  // vmread rbx, rdx: an encoding beyond the bitmap exits
  regs[Gpr::rax] = kGuestRip;
  regs[Gpr::rcx] = kTscOffset;
  regs[Gpr::rdx] = 0x8000;
  ASSERT_EQ(enter(), ExitReason::vmread);
  EXPECT_EQ(get(F::guest_rip), kCode);
  EXPECT_EQ(get(F::exit_instruction_length), 3u);
  skip();
  ASSERT_EQ(enter(), ExitReason::vmwrite);
  EXPECT_EQ(get(F::guest_rip), kCode + 6);
  skip();
  ASSERT_EQ(enter(), ExitReason::vmread);
  EXPECT_EQ(get(F::guest_rip), kCode + 9);
}

TEST_F(Shadowing, FailuresAreThoseOfTheInstructions) {
  code({0x0f, 0x78, 0xc3, 0x0f, 0xa2});  // vmread rbx, rax; cpuid
  regs[Gpr::rax] = 0x7ffe;
  regs[Gpr::rbx] = 99;
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(flags(), rflags::ZF);
  EXPECT_EQ(get(F::vm_instruction_error), 12u);
  EXPECT_EQ(regs[Gpr::rax], 0x7ffeu);
  set(F::vmcs_link_pointer, ~0ull);
  set(F::guest_rip, kCode);
  regs[Gpr::rax] = kGuestRip;
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(flags(), rflags::CF);
  EXPECT_EQ(regs[Gpr::rbx], 99u);
}

TEST_F(Shadowing, OperandFaultsAreTheGuests) {
  code({0x0f, 0x78, 0x07, 0x0f, 0xa2});  // vmread [rdi], rax; cpuid
  regs[Gpr::rax] = kGuestRip;
  regs[Gpr::rdi] = 0xe00010;
  put(kEptPd + 7 * 8, 0);
  ASSERT_EQ(enter(), ExitReason::ept_violation);
  EXPECT_EQ(get(F::guest_physical_address), 0xe00010u);
  EXPECT_EQ(get(F::exit_qualification), (2u | 1u << 7 | 1u << 8));
  EXPECT_EQ(get(F::guest_rip), kCode);
  put(kEptPd + 7 * 8, 7ull << 21 | 7 | 6 << 3 | 1 << 7);
  ASSERT_EQ(enter(), ExitReason::cpuid);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(0xe00010)), 0x123456789abcdef0u);
  // And page faults go through its IDT.
  gate(kPF, 0x101000);
  code({0xf4}, 0x101000);
  put(kGuestPml4 + 0x2000 + 8 * 100, 0);
  set(F::guest_rip, kCode);
  regs[Gpr::rax] = kGuestRip;
  regs[Gpr::rdi] = 100ull << 21;
  ASSERT_EQ(enter(), ExitReason::hlt);
  EXPECT_EQ(memory->read<uint64_t>(Hpa(get(F::guest_rsp) + 8)), kCode);
}

TEST_F(Shadowing, WithoutTheControlTheyExit) {
  clear_bits(F::secondary_processor_controls, proc2::vmcs_shadowing);
  set(F::vmcs_link_pointer, ~0ull);
  code({0x0f, 0x78, 0xc3});
  regs[Gpr::rax] = kGuestRip;
  EXPECT_EQ(enter(), ExitReason::vmread);
}

// SDM vol. 3C, "Basic VM-Entry Checks".
TEST_F(Shadowing, ShadowVmcsIsNotEntered) {
  ASSERT_EQ(vmx->vmptrld(Hpa(kShadow)), VmxStatus::succeed);
  EXPECT_EQ(vmx->vmlaunch(regs), VmxStatus::fail_invalid);
  EXPECT_EQ(vmx->vmresume(regs), VmxStatus::fail_invalid);
  ASSERT_EQ(vmx->vmptrld(kVmcs), VmxStatus::succeed);
  code({0x0f, 0xa2});
  EXPECT_EQ(enter(), ExitReason::cpuid);
}

TEST_F(Shadowing, NoShadowVmcsWithoutTheFeature) {
  CapabilityProfile p = server_capabilities();
  p.proc2.allowed &= ~proc2::vmcs_shadowing;
  Rig rig(p);
  rig.memory->write<uint32_t>(kOtherVmcs, p.revision | 1u << 31);
  EXPECT_EQ(rig.vmx.vmptrld(kOtherVmcs), VmxStatus::fail_valid);
  EXPECT_EQ(rig.vmx.last_error(), VmxError::vmptrld_revision);
}

}  // namespace
}  // namespace cupel::vtx::testing
