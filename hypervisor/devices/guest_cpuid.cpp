#include "hypervisor/devices/guest_cpuid.h"

#include <algorithm>
#include <cstring>

namespace cupel::devices {
namespace {

constexpr uint32_t bit(unsigned n) { return 1u << n; }

// Leaf 1 ECX: SSE3, PCLMULQDQ, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, AESNI, RDRAND.
constexpr uint32_t kLeaf1Ecx =
    bit(0) | bit(1) | bit(9) | bit(13) | bit(19) | bit(20) | bit(22) | bit(23) | bit(25) | bit(30);
constexpr uint32_t kX2Apic = bit(21), kTscDeadline = bit(24), kHypervisor = bit(31);
// Leaf 1 EDX: everything but serial number, debug store, ACPI, HTT, thermal monitor, PBE.
constexpr uint32_t kLeaf1Edx =
    ~(bit(10) | bit(18) | bit(20) | bit(21) | bit(22) | bit(28) | bit(29) | bit(30) | bit(31));
constexpr uint32_t kApic = bit(9);
// Leaf 7 EBX: FSGSBASE, BMI1, SMEP, BMI2, ERMS, RDSEED, ADX, SMAP, CLFLUSHOPT, CLWB, SHA.
constexpr uint32_t kLeaf7Ebx = bit(0) | bit(3) | bit(7) | bit(8) | bit(9) | bit(18) | bit(19) |
                               bit(20) | bit(23) | bit(24) | bit(29);
constexpr uint32_t kLeaf7Ecx = bit(2);  // UMIP
constexpr uint32_t kLeaf7Edx = bit(4);  // fast short REP MOVSB
constexpr uint32_t kArchCapabilities = bit(29);
// Leaf 80000001H ECX: LAHF, LZCNT, PREFETCHW. EDX: SYSCALL, NX, 1-GiB pages, RDTSCP, long mode, and
// the bits that AMD repeats from leaf 1.
constexpr uint32_t kExtendedEcx = bit(0) | bit(5) | bit(8);
constexpr uint32_t kExtendedEdx =
    bit(11) | bit(20) | bit(26) | bit(27) | bit(29) | 0x0183f3ff | bit(9);
constexpr uint32_t kMaxBasic = 0x16, kMaxExtended = 0x80000008;

void set_feature(uint32_t& word, uint32_t mask, bool on) { word = on ? word | mask : word & ~mask; }

// The leaf itself; zero when the processor has none, where CPUID would answer with another leaf.
x86::CpuidLeaf leaf_of(const x86::CpuidTable& host, uint32_t leaf, uint32_t subleaf = 0) {
  const auto key = x86::CpuidTable::key(leaf, host.indexed(leaf) ? subleaf : 0);
  const auto at = host.all().find(key);
  return at == host.all().end() ? x86::CpuidLeaf{} : at->second;
}

void basic_leaves(const x86::CpuidTable& host, const GuestCpuidOptions& o, x86::CpuidTable& guest) {
  auto leaf0 = leaf_of(host, 0);
  leaf0.eax = kMaxBasic;
  guest.set(0, 0, leaf0);

  auto leaf1 = leaf_of(host, 1);
  leaf1.ebx = (leaf1.ebx & 0x0000ffff) | 1 << 16;  // APIC ID 0, one logical processor
  leaf1.ecx &= kLeaf1Ecx | (o.local_apic ? kX2Apic : 0);
  leaf1.ecx |= kHypervisor;
  set_feature(leaf1.ecx, kTscDeadline, o.local_apic && o.tsc_deadline);
  leaf1.edx &= kLeaf1Edx;
  set_feature(leaf1.edx, kApic, o.local_apic);
  guest.set(1, 0, leaf1);

  guest.set(2, 0, leaf_of(host, 2));
  guest.mark_indexed(4);
  for (uint32_t i = 0; i < 8; ++i) {
    auto cache = leaf_of(host, 4, i);
    if ((cache.eax & 0x1f) == 0) break;
    cache.eax &= 0x3fff;  // shared by one processor of one core
    guest.set(4, i, cache);
  }
  // Leaf 6: ARAT, the APIC timer never stops.
  guest.set(6, 0, {.eax = o.local_apic ? bit(2) : 0});
  guest.mark_indexed(7);
  const auto leaf7 = leaf_of(host, 7);
  guest.set(7, 0,
            {.eax = 0,
             .ebx = leaf7.ebx & kLeaf7Ebx,
             .ecx = leaf7.ecx & kLeaf7Ecx,
             .edx = (leaf7.edx & kLeaf7Edx) | (o.arch_capabilities ? kArchCapabilities : 0)});
}

void frequency_leaves(const GuestCpuidOptions& o, x86::CpuidTable& guest) {
  // TSC = crystal * EBX / EAX; the crystal is 25 MHz where that divides.
  constexpr uint64_t kCrystal = 25'000'000;
  const bool divides = o.tsc_hz >= kCrystal && o.tsc_hz % kCrystal == 0;
  const uint64_t crystal = divides ? kCrystal : o.tsc_hz;
  guest.set(0x15, 0,
            {.eax = 1,
             .ebx = static_cast<uint32_t>(o.tsc_hz / crystal),
             .ecx = static_cast<uint32_t>(crystal)});
  const auto mhz = static_cast<uint32_t>(o.tsc_hz / 1'000'000);
  guest.set(0x16, 0, {.eax = mhz, .ebx = mhz, .ecx = 100});
}

void hypervisor_leaves(x86::CpuidTable& guest) {
  constexpr char kSignature[13] = "CupelCupel\0\0";
  uint32_t words[3];
  std::memcpy(words, kSignature, sizeof words);
  guest.set(0x40000000, 0, {.eax = 0x40000000, .ebx = words[0], .ecx = words[1], .edx = words[2]});
}

void extended_leaves(const x86::CpuidTable& host, bool local_apic, x86::CpuidTable& guest) {
  auto top = leaf_of(host, 0x80000000);
  top.eax = std::min(top.eax, kMaxExtended);
  guest.set(0x80000000, 0, top);
  for (uint32_t leaf = 0x80000001; leaf <= top.eax; ++leaf) guest.set(leaf, 0, leaf_of(host, leaf));
  if (top.eax >= 0x80000001) {
    auto& features = guest.at(0x80000001);
    features.ebx = 0;
    features.ecx &= kExtendedEcx;
    features.edx &= kExtendedEdx;
    if (!local_apic) features.edx &= ~kApic;
  }
  if (top.eax >= 0x80000007) guest.set(0x80000007, 0, {.edx = bit(8)});  // invariant TSC
  if (top.eax >= 0x80000008) guest.set(0x80000008, 0, {.eax = leaf_of(host, 0x80000008).eax});
}

}  // namespace

x86::CpuidTable guest_cpuid(const x86::CpuidTable& host, const GuestCpuidOptions& options) {
  x86::CpuidTable guest;
  basic_leaves(host, options, guest);
  frequency_leaves(options, guest);
  hypervisor_leaves(guest);
  extended_leaves(host, options.local_apic, guest);
  return guest;
}

}  // namespace cupel::devices
