#include "hypervisor/kvm/cpuid.h"

#include "tests/kvm/real_guest.h"

namespace cupel::kvm {
namespace {

CpuidEntry entry(uint32_t leaf, x86::CpuidLeaf value) { return {leaf, 0, false, value}; }

TEST(CpuidRestriction, TakesOutWhatTheHostLacks) {
  std::vector<CpuidEntry> leaves = {entry(1, {0, 0, 0x1001, 0x3})};
  restrict_leaves(leaves, {entry(1, {0, 0, 0x0001, 0x2})}, 0);
  EXPECT_EQ(leaves[0].value, (x86::CpuidLeaf{0, 0, 0x0001, 0x2}));
}

TEST(CpuidRestriction, KeepsWhatThePlatformsChipsProvide) {
  const uint32_t chips = 1u << 21 | 1u << 24 | 1u << 31;  // x2APIC, TSC deadline, hypervisor
  std::vector<CpuidEntry> leaves = {entry(1, {0, 0, chips, 1u << 9})};
  restrict_leaves(leaves, {entry(1, {})}, 0);
  EXPECT_EQ(leaves[0].value, (x86::CpuidLeaf{0, 0, chips, 1u << 9}));
}

TEST(CpuidRestriction, CutsAddressWidthsToTheHosts) {
  std::vector<CpuidEntry> leaves = {entry(0x80000008, {0x3034, 0, 0, 0})};
  restrict_leaves(leaves, {entry(0x80000008, {0x3028, 0, 0, 0})}, 0);
  EXPECT_EQ(leaves[0].value.eax, 0x3028u);
}

TEST(CpuidRestriction, TellsTheRealTscFrequencyInTermsOfThePlatformsCrystal) {
  std::vector<CpuidEntry> leaves = {entry(0x15, {1, 40, 25'000'000, 0})};
  restrict_leaves(leaves, {}, 2'596'150);
  const auto& v = leaves[0].value;
  EXPECT_EQ(v.ecx, 25'000'000u);
  EXPECT_EQ(uint64_t{v.ecx} * v.ebx / v.eax, 2'596'150'000ull);
}

TEST(CpuidRestriction, SaysNothingOfAFrequencyItDoesNotKnow) {
  std::vector<CpuidEntry> leaves = {entry(0x15, {1, 40, 25'000'000, 0})};
  restrict_leaves(leaves, {}, 0);
  EXPECT_EQ(leaves[0].value, x86::CpuidLeaf{});
}

TEST(CpuidLeaves, StopAtTheMaximaThePlatformNames) {
  RecordingPlatform platform;
  std::vector<uint32_t> found;
  for (const auto& leaf : platform_leaves(platform)) found.push_back(leaf.leaf);
  EXPECT_EQ(found.front(), 0u);
  EXPECT_EQ(found[1], 1u);
  EXPECT_EQ(found.back(), 0x80000008u);
  EXPECT_EQ(found.size(), 2u + 9u);
}

}  // namespace
}  // namespace cupel::kvm
