#include "hw_models/cpu/cpuid.h"

#include <algorithm>
#include <cstring>

namespace cupel::cpu {
namespace {

void set_text(x86::CpuidTable& table, uint32_t leaf, const char* text16) {
  x86::CpuidLeaf l;
  std::memcpy(&l.eax, text16, 4);
  std::memcpy(&l.ebx, text16 + 4, 4);
  std::memcpy(&l.ecx, text16 + 8, 4);
  std::memcpy(&l.edx, text16 + 12, 4);
  table.set(leaf, 0, l);
}

void set_brand(x86::CpuidTable& table, std::string text) {
  text.resize(48);
  for (uint32_t n = 0; n < 3; ++n) set_text(table, 0x80000002 + n, text.data() + 16 * n);
}

// A processor with these features and the caches, topology and clocks that the board gives it.
CpuidProfile make_profile(const Silicon& s, uint64_t tsc_hz) {
  CpuidProfile p;
  p.name = s.name;
  p.physical_bits = std::min(s.physical_bits, p.physical_bits);
  p.linear_bits = std::min(s.linear_bits, p.linear_bits);
  const FeatureWords f = s.features & executable_features();
  auto& t = p.table;
  t.set(0, 0, {s.max_leaf, 0x756e6547, 0x6c65746e, 0x49656e69});  // GenuineIntel
  t.set(1, 0, {s.signature, 0x00010800, f.ecx1, f.edx1});
  t.set(2, 0, {0x76036301, 0x00f0b5ff, 0, 0x00c30000});
  t.mark_indexed(4);
  t.set(4, 0, {0x00000121, 0x01c0003f, 0x3f, 0});
  t.set(4, 1, {0x00000122, 0x01c0003f, 0x3f, 0});
  t.set(4, 2, {0x00000143, 0x03c0003f, 0x3ff, 0});
  t.set(6, 0, {4, 0, 0, 0});  // ARAT
  t.mark_indexed(7);
  t.set(7, 0, {0, f.ebx7, f.ecx7, f.edx7});
  t.mark_indexed(0xb);
  t.set(0xb, 0, {0, 1, 0x100, 0});
  t.set(0xb, 1, {0, 1, 0x201, 0});
  const uint32_t crystal = 25'000'000, mhz = static_cast<uint32_t>(tsc_hz / 1'000'000);
  if (s.max_leaf >= 0x15) t.set(0x15, 0, {1, static_cast<uint32_t>(tsc_hz / crystal), crystal, 0});
  if (s.max_leaf >= 0x16) t.set(0x16, 0, {mhz, mhz, 100, 0});
  t.set(0x80000000, 0, {0x80000008, 0, 0, 0});
  t.set(0x80000001, 0, {0, 0, f.ecx_extended, f.edx_extended});
  set_brand(t, s.brand);
  t.set(0x80000007, 0, {0, 0, 0, 1u << 8});  // invariant TSC
  t.set(0x80000008, 0, {static_cast<uint32_t>(p.physical_bits | p.linear_bits << 8), 0, 0, 0});
  return p;
}

// Family 6 model 85 stepping 4: a Skylake-SP of no particular make. It has what the engine has.
constexpr Silicon kServer = {
    "server", "Cupel server processor, virtual VT-x",  0x00050654, 0x16, 40,
    48,       {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u}};

// Feature words: Bochs 2.7's corei5_lynnfield_750, corei7_haswell_4770, corei7_skylake_x,
// corei7_icelake_u, and for Sapphire Rapids tigerlake (tests/vtx/readouts/bochs_2_7.json), with
// what the Xeons have besides (QEMU 7.2: protection keys, LA57; documented: WAITPKG, PKS, UINTR).
// Family, model and stepping: QEMU 7.2's server models; documented for Haswell-EP and Sapphire
// Rapids. Widths: documented for the Xeons.
constexpr Silicon kSilicon[] = {
    {"nehalem",
     "Intel(R) Xeon(R) CPU (Nehalem), virtual",
     0x000106a3,
     0xb,
     40,
     48,
     {0x0098e3fd, 0xbfebfbff, 0, 0, 0, 0, 0x1, 0x28100000}},
    {"haswell",
     "Intel(R) Xeon(R) CPU E5 v3 (Haswell), virtual",
     0x000306f2,
     0xf,
     46,
     48,
     {0x77faf3bf, 0xbfebfbff, 0x2fbb, 0, 0, 0, 0x21, 0x2c100000}},
    {"skylake-sp",
     "Intel(R) Xeon(R) (Skylake-SP), virtual",
     0x00050654,
     0x16,
     46,
     48,
     {0x77fefbff, 0xbfebfbff, 0xd39ffffb, 0x8, 0, 0, 0x121, 0x2c100000}},
    {"ice-lake",
     "Intel(R) Xeon(R) (Ice Lake-SP), virtual",
     0x000606a6,
     0x1b,
     52,
     57,
     {0x77fefbff, 0xbfebfbff, 0xf3bfa7ef, 0x00415f4e, 0xbc040510, 0, 0x121, 0x2c100000}},
    {"sapphire-rapids",
     "Intel(R) Xeon(R) (Sapphire Rapids), virtual",
     0x000806f8,
     0x20,
     52,
     57,
     {0x77fefbff, 0xbfebfbff, 0xf3bfb7ef, 0x81415fee, 0xfc140430, 0, 0x121, 0x2c100000}},
};

}  // namespace

FeatureWords FeatureWords::operator&(const FeatureWords& o) const {
  return {ecx1 & o.ecx1,
          edx1 & o.edx1,
          ebx7 & o.ebx7,
          ecx7 & o.ecx7,
          edx7 & o.edx7,
          eax7_1 & o.eax7_1,
          ecx_extended & o.ecx_extended,
          edx_extended & o.edx_extended};
}

const FeatureWords& executable_features() {
  static constexpr FeatureWords words = {
      // SSE3 VMX SSSE3 CX16 SSE4.1 SSE4.2 x2APIC MOVBE POPCNT
      .ecx1 = 0x00f82221,
      // FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE
      // SSE2
      .edx1 = 0x078bfbff,
      // FSGSBASE BMI1 SMEP BMI2 SMAP. Not ERMS: it promises that REP MOVSB is the fastest copy, but
      // the engine moves a byte at a time, and what kernels do otherwise (REP MOVSQ) is 8 times
      // faster.
      .ebx7 = 1u | 1u << 3 | 1u << 7 | 1u << 8 | 1u << 20,
      .ecx_extended = 1,  // LAHF
      .edx_extended =
          1u << 11 | 1u << 20 | 1u << 26 | 1u << 27 | 1u << 29,  // SYSCALL NX 1G RDTSCP LM
  };
  return words;
}

const Silicon* silicon(std::string_view name) {
  for (const Silicon& s : kSilicon)
    if (name == s.name) return &s;
  return nullptr;
}

CpuidProfile server_profile(uint64_t tsc_hz) { return make_profile(kServer, tsc_hz); }

std::optional<CpuidProfile> cpuid_profile(std::string_view name, uint64_t tsc_hz) {
  if (name == kServer.name) return server_profile(tsc_hz);
  const Silicon* s = silicon(name);
  if (s == nullptr) return std::nullopt;
  return make_profile(*s, tsc_hz);
}

}  // namespace cupel::cpu
