// The guests' instructions: endless loops around one event each, position-independent 64-bit code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cupel::bench {

enum class LoopKind : uint8_t {
  cpuid,     // leaf 1
  io_in,     // one byte from the scratch register of COM1
  io_out,    // one byte to it
  msr_read,  // IA32_MTRRCAP
  mmio,      // a load from kMmioRegister
  hlt,       // STI; HLT; the interrupt handler is the loop itself, with interrupts off
  tlb,       // MOV CR3, then one load from each of kTlbPages pages starting at kTlbStart
};

inline constexpr uint64_t kMmioRegister = 0xe0000004;
inline constexpr uint64_t kTlbStart = 0x200000, kTlbPages = 128;

std::span<const std::byte> guest_code(LoopKind kind);

}  // namespace cupel::bench
