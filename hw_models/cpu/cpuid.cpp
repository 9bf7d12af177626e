#include "hw_models/cpu/cpuid.h"

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

}  // namespace

CpuidProfile server_profile(uint64_t tsc_hz) {
  CpuidProfile p;
  p.name = "server";
  auto& t = p.table;
  t.set(0, 0, {0x16, 0x756e6547, 0x6c65746e, 0x49656e69});  // GenuineIntel
  // Family 6 model 85 stepping 4. EDX: FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA
  // CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2. ECX: SSE3 VMX SSSE3 CX16 SSE4.1 SSE4.2 x2APIC MOVBE
  // POPCNT.
  t.set(1, 0, {0x00050654, 0x00010800, 0x00f82221, 0x078bfbff});
  t.set(2, 0, {0x76036301, 0x00f0b5ff, 0, 0x00c30000});
  t.mark_indexed(4);
  t.set(4, 0, {0x00000121, 0x01c0003f, 0x3f, 0});
  t.set(4, 1, {0x00000122, 0x01c0003f, 0x3f, 0});
  t.set(4, 2, {0x00000143, 0x03c0003f, 0x3ff, 0});
  t.set(6, 0, {4, 0, 0, 0});  // ARAT
  t.mark_indexed(7);
  // EBX: FSGSBASE BMI1 SMEP BMI2 SMAP. Not ERMS: it promises that REP MOVSB is the fastest copy,
  // but the engine moves a byte at a time, and what kernels do otherwise (REP MOVSQ) is 8 times
  // faster.
  t.set(7, 0, {0, 1u | 1u << 3 | 1u << 7 | 1u << 8 | 1u << 20, 0, 0});
  t.mark_indexed(0xb);
  t.set(0xb, 0, {0, 1, 0x100, 0});
  t.set(0xb, 1, {0, 1, 0x201, 0});
  const uint32_t crystal = 25'000'000;
  t.set(0x15, 0, {1, static_cast<uint32_t>(tsc_hz / crystal), crystal, 0});
  const uint32_t mhz = static_cast<uint32_t>(tsc_hz / 1'000'000);
  t.set(0x16, 0, {mhz, mhz, 100, 0});
  t.set(0x80000000, 0, {0x80000008, 0, 0, 0});
  // ECX: LAHF. EDX: SYSCALL NX 1G-pages RDTSCP LM.
  t.set(0x80000001, 0, {0, 0, 1, 1u << 11 | 1u << 20 | 1u << 26 | 1u << 27 | 1u << 29});
  set_text(t, 0x80000002, "Cupel server pro");
  set_text(t, 0x80000003, "cessor, virtual ");
  set_text(t, 0x80000004, "VT-x\0\0\0\0\0\0\0\0\0\0\0");
  t.set(0x80000007, 0, {0, 0, 0, 1u << 8});  // invariant TSC
  t.set(0x80000008, 0, {static_cast<uint32_t>(p.physical_bits | p.linear_bits << 8), 0, 0, 0});
  return p;
}

}  // namespace cupel::cpu
