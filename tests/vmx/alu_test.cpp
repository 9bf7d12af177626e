#include "hypervisor/vmx/alu.h"

#include <gtest/gtest.h>

namespace cupel::vmx {
namespace {

#if defined(__x86_64__)
// The processor that runs the test is the reference.
template <class T>
uint64_t native(AluOp op, T a, T b, uint64_t flags_in, uint64_t& flags_out) {
  uint64_t flags = flags_in;
#define CUPEL_NATIVE(mnemonic)                                            \
  asm("push %[f]\n\tpopf\n\t" mnemonic " %[b], %[a]\n\tpushf\n\tpop %[f]" \
      : [a] "+r"(a), [f] "+r"(flags)                                      \
      : [b] "r"(b)                                                        \
      : "cc", "memory")
  switch (op) {
    case AluOp::add:
      CUPEL_NATIVE("add");
      break;
    case AluOp::bit_or:
      CUPEL_NATIVE("or");
      break;
    case AluOp::adc:
      CUPEL_NATIVE("adc");
      break;
    case AluOp::sbb:
      CUPEL_NATIVE("sbb");
      break;
    case AluOp::bit_and:
      CUPEL_NATIVE("and");
      break;
    case AluOp::sub:
      CUPEL_NATIVE("sub");
      break;
    case AluOp::bit_xor:
      CUPEL_NATIVE("xor");
      break;
    case AluOp::cmp:
      CUPEL_NATIVE("cmp");
      break;
    case AluOp::test:
      CUPEL_NATIVE("test");
      break;
  }
#undef CUPEL_NATIVE
  flags_out = flags;
  return a;
}

template <class T>
void compare(AluOp op, uint64_t a, uint64_t b, uint64_t carry) {
  const bool logic =
      op == AluOp::bit_or || op == AluOp::bit_and || op == AluOp::bit_xor || op == AluOp::test;
  // AF is undefined after logic.
  const uint64_t watched = 0x8d5 & ~(logic ? 0x10ull : 0);
  uint64_t expected_flags = 0, flags = 0x202 | carry;
  const uint64_t expected =
      native<T>(op, static_cast<T>(a), static_cast<T>(b), flags, expected_flags);
  const uint64_t result = alu(op, a, b, sizeof(T), flags);
  if (op != AluOp::cmp && op != AluOp::test) {
    EXPECT_EQ(result, expected & mask_of(sizeof(T)));
  }
  EXPECT_EQ(flags & watched, expected_flags & watched)
      << static_cast<int>(op) << " " << std::hex << a << " " << b << " size " << sizeof(T);
  EXPECT_EQ(flags & 0x202, 0x202u);
}

TEST(Alu, AgreesWithTheProcessor) {
  const uint64_t values[] = {0,
                             1,
                             2,
                             0x0f,
                             0x10,
                             0x7f,
                             0x80,
                             0xff,
                             0x7fff,
                             0x8000,
                             0xffff,
                             0x7fffffff,
                             0x80000000,
                             0xffffffff,
                             0x7fffffffffffffff,
                             0x8000000000000000,
                             ~0ull,
                             0x123456789abcdef0};
  for (unsigned op = 0; op <= static_cast<unsigned>(AluOp::test); ++op) {
    for (const uint64_t a : values) {
      for (const uint64_t b : values) {
        for (const uint64_t carry : {0ull, 1ull}) {
          compare<uint8_t>(static_cast<AluOp>(op), a, b, carry);
          compare<uint16_t>(static_cast<AluOp>(op), a, b, carry);
          compare<uint32_t>(static_cast<AluOp>(op), a, b, carry);
          compare<uint64_t>(static_cast<AluOp>(op), a, b, carry);
        }
      }
    }
  }
}
#endif

TEST(Alu, SignExtends) {
  EXPECT_EQ(sign_extend(0x80, 1), 0xffffffffffffff80u);
  EXPECT_EQ(sign_extend(0x7fff, 2), 0x7fffu);
  EXPECT_EQ(sign_extend(0x80000000, 4), 0xffffffff80000000u);
}

}  // namespace
}  // namespace cupel::vmx
