#include "tests/kvm/real_guest.h"

namespace cupel::kvm {
namespace {

using x86::ExitReason;
using x86::Gpr;

// out 0xf4, al: stops the guest.
const std::vector<uint8_t> kLeave = {0xe6, 0xf4};

std::vector<uint8_t> operator+(std::vector<uint8_t> a, const std::vector<uint8_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST_F(RealGuest, OutReachesThePlatformWithPortSizeAndValue) {
  // mov dx,0x3f8; mov eax,0x12345678; out dx,al; out dx,ax; out dx,eax
  load(std::vector<uint8_t>{0xba, 0xf8, 0x03, 0x66, 0xb8, 0x78, 0x56, 0x34, 0x12, 0xee, 0xef, 0x66,
                            0xef} +
       kLeave);
  run_to_stop();
  ASSERT_EQ(platform.outs.size(), 4u);
  EXPECT_EQ(platform.outs[0], (PortAccess{0x3f8, 1, 0x78}));
  EXPECT_EQ(platform.outs[1], (PortAccess{0x3f8, 2, 0x5678}));
  EXPECT_EQ(platform.outs[2], (PortAccess{0x3f8, 4, 0x12345678}));
  EXPECT_EQ(exits(ExitReason::io_instruction), 4u);
}

TEST_F(RealGuest, InReturnsThePlatformsAnswerInTheRegister) {
  // mov ax,0xffff; in al,0x71; mov bx,ax
  load(std::vector<uint8_t>{0xb8, 0xff, 0xff, 0xe4, 0x71, 0x89, 0xc3} + kLeave);
  run_to_stop();
  EXPECT_EQ(platform.ins, (std::vector<PortAccess>{{0x71, 1, 0x44}}));
  EXPECT_EQ(state().gpr[Gpr::rbx] & 0xffff, 0xff44u);
}

TEST_F(RealGuest, RepeatedStringOutArrivesByteByByteInOrder) {
  put(0x3000, {'c', 'u', 'p', 'e', 'l'});
  // mov dx,0x3f8; mov si,0x3000; mov cx,5; rep outsb
  load(std::vector<uint8_t>{0xba, 0xf8, 0x03, 0xbe, 0x00, 0x30, 0xb9, 0x05, 0x00, 0xf3, 0x6e} +
       kLeave);
  run_to_stop();
  std::string text;
  for (const auto& out : platform.outs) {
    if (out.port == 0x3f8) text += static_cast<char>(out.value);
  }
  EXPECT_EQ(text, "cupel");
}

TEST_F(RealGuest, RepeatedStringInFillsMemory) {
  // mov dx,0x1f0; mov di,0x3000; mov cx,3; rep insw
  load(std::vector<uint8_t>{0xba, 0xf0, 0x01, 0xbf, 0x00, 0x30, 0xb9, 0x03, 0x00, 0xf3, 0x6d} +
       kLeave);
  run_to_stop();
  std::array<uint16_t, 3> words{};
  ASSERT_TRUE(memory->read(Gpa(0x3000), words));
  EXPECT_EQ(words, (std::array<uint16_t, 3>{0x3344, 0x6688, 0x99cc}));
}

TEST_F(RealGuest, AccessBeyondRamIsMmio) {
  // mov ax,0xffff; mov ds,ax; mov al,[0x0010] (physical 0x100000); mov word [0x20],0xbeef
  load(std::vector<uint8_t>{0xb8, 0xff, 0xff, 0x8e, 0xd8, 0xa0, 0x10, 0x00, 0x88, 0xc3, 0xc7, 0x06,
                            0x20, 0x00, 0xef, 0xbe} +
       kLeave);
  run_to_stop();
  EXPECT_EQ(platform.reads, (std::vector<MmioAccess>{{0x100000, 1, 0x44}}));
  EXPECT_EQ(platform.writes, (std::vector<MmioAccess>{{0x100010, 2, 0xbeef}}));
  EXPECT_EQ(state().gpr[Gpr::rbx] & 0xff, 0x44u);
  EXPECT_EQ(exits(ExitReason::ept_violation), 2u);
}

TEST_F(RealGuest, CpuidShowsThePlatformsProcessor) {
  // xor eax,eax; cpuid; mov [0x3000],ebx
  load(std::vector<uint8_t>{0x66, 0x31, 0xc0, 0x0f, 0xa2, 0x66, 0x89, 0x1e, 0x00, 0x30} + kLeave);
  run_to_stop();
  uint32_t ebx = 0;
  ASSERT_TRUE(memory->read(Gpa(0x3000), ebx));
  EXPECT_EQ(ebx, 0x65707543u);
}

TEST_F(RealGuest, PlatformMsrsGoToThePlatform) {
  if (!vcpu->machine().system().has_user_space_msrs) GTEST_SKIP() << "KVM cannot hand out MSRs";
  // mov ecx,0x1b; rdmsr; mov [0x3000],eax; wrmsr
  load(std::vector<uint8_t>{0x66, 0xb9, 0x1b, 0, 0, 0, 0x0f, 0x32, 0x66, 0xa3, 0x00, 0x30, 0x0f,
                            0x30} +
       kLeave);
  run_to_stop();
  uint32_t eax = 0;
  ASSERT_TRUE(memory->read(Gpa(0x3000), eax));
  EXPECT_EQ(eax, 0xfee00900u);
  EXPECT_EQ(platform.msr_writes, (std::vector<std::pair<uint32_t, uint64_t>>{{0x1b, 0xfee00900}}));
  EXPECT_EQ(exits(ExitReason::rdmsr), 1u);
  EXPECT_EQ(exits(ExitReason::wrmsr), 1u);
}

TEST_F(RealGuest, MsrThatThePlatformRefusesRaisesGeneralProtection) {
  if (!vcpu->machine().system().has_user_space_msrs) GTEST_SKIP() << "KVM cannot hand out MSRs";
  set_vector(13, 0x2000);
  put(0x2000, {0xb0, 0x0d, 0xe6, 0xf4});  // mov al,13; out 0xf4,al
  load(std::vector<uint8_t>{0x66, 0xb9, 0xff, 0x02, 0, 0, 0x0f, 0x32, 0xb0, 0x01} + kLeave);
  run_to_stop();
  EXPECT_EQ(platform.outs, (std::vector<PortAccess>{{0xf4, 1, 13}}));
}

}  // namespace
}  // namespace cupel::kvm
