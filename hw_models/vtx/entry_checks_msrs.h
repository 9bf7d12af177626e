// What an MSR accepts, for the checks that are the same in the host-state and the guest-state area.
// SDM vol. 4, "Architectural MSRs"; vol. 1, ch. "Control-flow Enforcement Technology (CET)".
#pragma once

#include "hw_models/vtx/entry_checks.h"

namespace cupel::vtx::checks {

constexpr bool fixed(uint64_t value, uint64_t must, uint64_t may) {
  return (value & must) == must && (value & ~may) == 0;
}

// Bits beyond the physical-address width, LAM's bits 62:61 apart.
inline bool cr3_width(const EntryState& s, uint64_t cr3) {
  constexpr uint64_t lam = 3ull << 61;
  return s.physical(s.capabilities.features.address_masking ? cr3 & ~lam : cr3);
}

// CR4.CET needs CR0.WP.
constexpr bool cet_with_wp(uint64_t cr0, uint64_t cr4) {
  return (cr4 & x86::cr4::CET) == 0 || (cr0 & x86::cr0::WP) != 0;
}

constexpr bool efer_reserved_clear(uint64_t efer) {
  using namespace x86::efer;
  return (efer & ~(SCE | LME | LMA | NXE)) == 0;
}

// IA32_S_CET: 1:0 shadow stacks, 5:2 and 63:10 indirect-branch tracking.
inline bool s_cet_reserved_clear(const EntryState& s, uint64_t value) {
  uint64_t defined = 0;
  if (s.capabilities.features.shadow_stacks) defined |= 3;
  if (s.capabilities.features.branch_tracking) defined |= 0x3c | ~0x3ffull;
  return (value & ~defined) == 0;
}
constexpr bool s_cet_tracker(uint64_t value) {
  constexpr uint64_t suppress = 1 << 10, tracker = 1 << 11;
  return (value & (suppress | tracker)) != (suppress | tracker);
}

// IA32_FRED_CONFIG: 1:0 stack level, 3 shadow-stack gap, 8:6 red zone, 10:9 level of maskable
// interrupts, 63:12 handler page. SDM vol. 3A, ch. "Flexible Return and Event Delivery".
inline bool fred_config(const EntryState& s, uint64_t value) {
  return (value & 0x834) == 0 && s.canonical(value);
}
// Stack pointers are aligned to 64 bytes, shadow-stack pointers to 8.
inline bool fred_stack(const EntryState& s, uint64_t value, uint64_t alignment) {
  return (value & (alignment - 1)) == 0 && s.canonical(value);
}

inline constexpr const char *kCanonical = "canonical", *kPat = "each byte is 0, 1, 4, 5, 6 or 7",
                            *kSCet =
                                "no bit that IA32_S_CET reserves (9:6; those of a CET feature "
                                "the processor lacks)",
                            *kTracker = "SUPPRESS (bit 10) and TRACKER (bit 11) are not both 1",
                            *kLow32 = "bits 63:32 are 0", *kAlign4 = "bits 1:0 are 0",
                            *kWidth = "bits beyond the physical-address width are 0",
                            *kCetWp = "CR4.CET only with CR0.WP",
                            *kFredConfig = "bits 2, 5:4 and 11 are 0; canonical",
                            *kFredStack = "64-byte aligned, canonical",
                            *kFredShadow = "8-byte aligned, canonical";

}  // namespace cupel::vtx::checks
