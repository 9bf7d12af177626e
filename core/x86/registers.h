// The architecture's register vocabulary. Freestanding.
// Source: Intel SDM vol. 1 ch. "Basic Execution Environment", vol. 3A ch. "System Architecture
// Overview".
#pragma once

#include <array>
#include <cstdint>

namespace cupel::x86 {

// Order of the hardware encoding (ModRM, exit qualifications).
enum class Gpr : uint8_t {
  rax,
  rcx,
  rdx,
  rbx,
  rsp,
  rbp,
  rsi,
  rdi,
  r8,
  r9,
  r10,
  r11,
  r12,
  r13,
  r14,
  r15
};

struct GprFile {
  std::array<uint64_t, 16> r{};
  uint64_t& operator[](Gpr n) { return r[static_cast<uint8_t>(n)]; }
  uint64_t operator[](Gpr n) const { return r[static_cast<uint8_t>(n)]; }
};

// Order of VMCS encodings.
enum class Seg : uint8_t { es, cs, ss, ds, fs, gs, ldtr, tr };
inline constexpr unsigned kSegmentCount = 8;

// Segment register with its hidden part. `access` is the VMCS access-rights format: bits 3:0 type,
// 4 S, 6:5 DPL, 7 P, 12 AVL, 13 L, 14 D/B, 15 G, 16 unusable.
// SDM vol. 3C, "Guest Register State".
struct Segment {
  uint16_t selector = 0;
  uint32_t access = kUnusable;
  uint32_t limit = 0;
  uint64_t base = 0;

  static constexpr uint32_t kUnusable = 1u << 16;
  bool unusable() const { return (access & kUnusable) != 0; }
  unsigned dpl() const { return access >> 5 & 3; }
  bool long_mode() const { return (access >> 13 & 1) != 0; }
  bool operator==(const Segment&) const = default;
};

struct DescriptorTable {
  uint64_t base = 0;
  uint16_t limit = 0xffff;
  bool operator==(const DescriptorTable&) const = default;
};

namespace cr0 {
inline constexpr uint64_t PE = 1, MP = 1 << 1, EM = 1 << 2, TS = 1 << 3, ET = 1 << 4, NE = 1 << 5,
                          WP = 1 << 16, AM = 1 << 18, NW = 1 << 29, CD = 1 << 30, PG = 1ull << 31;
}
namespace cr4 {
inline constexpr uint64_t VME = 1, PVI = 1 << 1, TSD = 1 << 2, DE = 1 << 3, PSE = 1 << 4,
                          PAE = 1 << 5, MCE = 1 << 6, PGE = 1 << 7, PCE = 1 << 8, OSFXSR = 1 << 9,
                          OSXMMEXCPT = 1 << 10, UMIP = 1 << 11, LA57 = 1 << 12, VMXE = 1 << 13,
                          SMXE = 1 << 14, FSGSBASE = 1 << 16, PCIDE = 1 << 17, OSXSAVE = 1 << 18,
                          KL = 1 << 19, SMEP = 1 << 20, SMAP = 1 << 21, PKE = 1 << 22,
                          CET = 1 << 23, PKS = 1 << 24, UINTR = 1 << 25, LAM_SUP = 1 << 28,
                          FRED = 1ull << 32;
}
namespace efer {
inline constexpr uint64_t SCE = 1, LME = 1 << 8, LMA = 1 << 10, NXE = 1 << 11;
}
namespace rflags {
inline constexpr uint64_t CF = 1, fixed1 = 2, PF = 4, AF = 1 << 4, ZF = 1 << 6, SF = 1 << 7,
                          TF = 1 << 8, IF = 1 << 9, DF = 1 << 10, OF = 1 << 11, IOPL = 3 << 12,
                          NT = 1 << 14, RF = 1 << 16, VM = 1 << 17, AC = 1 << 18, VIF = 1 << 19,
                          VIP = 1 << 20, ID = 1 << 21;
}

// Page-fault error code. SDM vol. 3A, "Page-Fault Exceptions".
namespace pf {
inline constexpr uint32_t P = 1, W = 2, U = 4, RSVD = 8, I = 16, PK = 32;
}

// Exception vectors. SDM vol. 3A, "Interrupt and Exception Handling".
enum Vector : uint8_t {
  kDE = 0,
  kDB = 1,
  kNMI = 2,
  kBP = 3,
  kOF = 4,
  kBR = 5,
  kUD = 6,
  kNM = 7,
  kDF = 8,
  kTS = 10,
  kNP = 11,
  kSS = 12,
  kGP = 13,
  kPF = 14,
  kMF = 16,
  kAC = 17,
  kMC = 18,
  kXM = 19,
  kVE = 20,
  kCP = 21
};
constexpr bool has_error_code(unsigned vector) {
  return vector == kDF || (vector >= kTS && vector <= kPF) || vector == kAC || vector == kCP;
}

// Interruption type, as in VM-entry/VM-exit interruption information bits 10:8.
// SDM vol. 3C, "VM-Entry Controls for Event Injection".
enum class EventType : uint8_t {
  external_interrupt = 0,
  nmi = 2,
  hardware_exception = 3,
  software_interrupt = 4,
  privileged_software_exception = 5,
  software_exception = 6,
  other = 7,
};

}  // namespace cupel::x86
