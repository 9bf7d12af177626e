#include "hypervisor/devices/guest_cpuid.h"

#include <cstring>

#include "tests/devices/guest_rig.h"

namespace cupel::devices {
namespace {

constexpr bool has(uint32_t word, unsigned bit) { return (word >> bit & 1) != 0; }

TEST(GuestCpuid, HidesWhatGuestsMustNotSee) {
  const auto guest = guest_cpuid(test_cpuid(), {});
  const auto leaf1 = guest.get(1, 0);
  for (unsigned bit : {3u, 5u, 6u, 17u, 21u, 24u, 26u, 27u, 28u})
    EXPECT_FALSE(has(leaf1.ecx, bit)) << bit;
  EXPECT_FALSE(has(leaf1.edx, 9));   // APIC
  EXPECT_FALSE(has(leaf1.edx, 28));  // HTT
  EXPECT_TRUE(has(leaf1.edx, 4));    // TSC
  EXPECT_TRUE(has(leaf1.ecx, 13));   // CMPXCHG16B
  const auto leaf7 = guest.get(7, 0);
  for (unsigned bit : {1u, 2u, 5u, 10u, 16u}) EXPECT_FALSE(has(leaf7.ebx, bit)) << bit;
  EXPECT_TRUE(has(leaf7.ebx, 7));  // SMEP
  EXPECT_EQ(leaf7.eax, 0u);
  EXPECT_EQ(guest.get(0xa, 0), x86::CpuidLeaf{});
  EXPECT_EQ(guest.get(0xd, 0), x86::CpuidLeaf{});
  EXPECT_EQ(guest.get(0x80000000, 0).eax, 0x80000008u);
  EXPECT_FALSE(has(guest.get(0x80000001, 0).ecx, 2));  // SVM
  EXPECT_TRUE(has(guest.get(0x80000001, 0).edx, 29));  // long mode
}

TEST(GuestCpuid, NeverInventsAFeature) {
  x86::CpuidTable bare;
  bare.set(0, 0, {1, 1, 2, 3});
  bare.set(1, 0, {~0u, ~0u, 0, 0x10});  // the last leaf, which answers for those beyond it
  const auto guest = guest_cpuid(bare, {});
  EXPECT_EQ(guest.get(1, 0).ecx, 1u << 31);
  EXPECT_EQ(guest.get(1, 0).edx, 0x10u);
  EXPECT_EQ(guest.get(4, 0), x86::CpuidLeaf{});
  EXPECT_LT(guest.get(0x80000000, 0).eax, 0x80000001u);
  EXPECT_EQ(guest.get(7, 0), x86::CpuidLeaf{});
}

TEST(GuestCpuid, SaysWhoTheHypervisorIs) {
  const auto guest = guest_cpuid(test_cpuid(), {});
  EXPECT_TRUE(has(guest.get(1, 0).ecx, 31));
  const auto leaf = guest.get(0x40000000, 0);
  char name[13] = {};
  std::memcpy(name, &leaf.ebx, 4);
  std::memcpy(name + 4, &leaf.ecx, 4);
  std::memcpy(name + 8, &leaf.edx, 4);
  EXPECT_STREQ(name, "CupelCupel");
}

TEST(GuestCpuid, FrequencyLeavesGiveTheTsc) {
  for (const uint64_t hz : {1'000'000'000ull, 2'400'000'000ull, 1'234'567'890ull}) {
    const auto leaf = guest_cpuid(test_cpuid(), {.tsc_hz = hz}).get(0x15, 0);
    EXPECT_EQ(static_cast<uint64_t>(leaf.ecx) * leaf.ebx / leaf.eax, hz);
  }
  EXPECT_EQ(guest_cpuid(test_cpuid(), {.tsc_hz = 2'400'000'000}).get(0x16, 0).eax, 2400u);
  EXPECT_TRUE(has(guest_cpuid(test_cpuid(), {}).get(0x80000007, 0).edx, 8));
}

TEST(GuestCpuid, LocalApicIsShownOnRequest) {
  const auto guest = guest_cpuid(test_cpuid(), {.local_apic = true, .tsc_deadline = true});
  EXPECT_TRUE(has(guest.get(1, 0).edx, 9));
  EXPECT_TRUE(has(guest.get(1, 0).ecx, 21));
  EXPECT_TRUE(has(guest.get(1, 0).ecx, 24));
}

}  // namespace
}  // namespace cupel::devices
