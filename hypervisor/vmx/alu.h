// The integer operations of MMIO instructions, with their flags. Freestanding.
// SDM vol. 1, appendix "EFLAGS Cross-Reference".
#pragma once

#include <bit>
#include <cstdint>

#include "core/x86/registers.h"

namespace cupel::vmx {

enum class AluOp : uint8_t { add, bit_or, adc, sbb, bit_and, sub, bit_xor, cmp, test };

// size in bytes: 1, 2, 4, 8.
constexpr uint64_t mask_of(unsigned size) { return size == 8 ? ~0ull : (1ull << (size * 8)) - 1; }
constexpr uint64_t sign_extend(uint64_t value, unsigned size) {
  const unsigned unused = 64 - size * 8;
  return static_cast<uint64_t>(static_cast<int64_t>(value << unused) >> unused);
}

namespace alu_detail {
inline constexpr uint64_t kArithmetic = x86::rflags::CF | x86::rflags::PF | x86::rflags::AF |
                                        x86::rflags::ZF | x86::rflags::SF | x86::rflags::OF;

constexpr uint64_t result_flags(uint64_t result, unsigned size) {
  uint64_t flags = 0;
  if ((std::popcount(result & 0xff) & 1) == 0) flags |= x86::rflags::PF;
  if (result == 0) flags |= x86::rflags::ZF;
  if ((result >> (size * 8 - 1) & 1) != 0) flags |= x86::rflags::SF;
  return flags;
}
}  // namespace alu_detail

// a OP b; sets the arithmetic flags of `rflags`. cmp and test return what they computed; the
// caller drops it.
constexpr uint64_t alu(AluOp op, uint64_t a, uint64_t b, unsigned size, uint64_t& rflags) {
  const uint64_t mask = mask_of(size);
  const uint64_t carry = rflags & x86::rflags::CF;
  a &= mask;
  b &= mask;
  uint64_t flags = 0, result = 0;
  const auto add = [&](uint64_t c) {
    result = (a + b + c) & mask;
    if (result < a || (c != 0 && result == a)) flags |= x86::rflags::CF;
    if (((~(a ^ b) & (a ^ result)) >> (size * 8 - 1) & 1) != 0) flags |= x86::rflags::OF;
    flags |= (a ^ b ^ result) & x86::rflags::AF;
  };
  const auto sub = [&](uint64_t c) {
    result = (a - b - c) & mask;
    if (a < b || (c != 0 && a == b)) flags |= x86::rflags::CF;
    if ((((a ^ b) & (a ^ result)) >> (size * 8 - 1) & 1) != 0) flags |= x86::rflags::OF;
    flags |= (a ^ b ^ result) & x86::rflags::AF;
  };
  switch (op) {
    case AluOp::add:
      add(0);
      break;
    case AluOp::adc:
      add(carry);
      break;
    case AluOp::sub:
    case AluOp::cmp:
      sub(0);
      break;
    case AluOp::sbb:
      sub(carry);
      break;
    case AluOp::bit_or:
      result = a | b;
      break;
    case AluOp::bit_and:
    case AluOp::test:
      result = a & b;
      break;
    case AluOp::bit_xor:
      result = a ^ b;
      break;
  }
  flags |= alu_detail::result_flags(result, size);
  rflags = (rflags & ~alu_detail::kArithmetic) | flags;
  return result;
}

}  // namespace cupel::vmx
