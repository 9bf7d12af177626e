#include "hypervisor/vmx/mmio_decode.h"

#include <gtest/gtest.h>

#include <vector>

#include "hypervisor/vmx/mmio_execute.h"

namespace cupel::vmx {
namespace {

using namespace x86;

struct Case {
  const char* text;
  std::vector<uint8_t> bytes;
  CodeSize code;
  MmioVerb verb;
  unsigned size, register_size;
  bool loads, stores;
  Gpr reg;
};

constexpr auto k64 = CodeSize::bits64, k32 = CodeSize::bits32, k16 = CodeSize::bits16;

const Case kCases[] = {
    {"mov [rbx], cl", {0x88, 0x0b}, k64, MmioVerb::mov, 1, 1, false, true, Gpr::rcx},
    {"mov [rbx], ecx", {0x89, 0x0b}, k64, MmioVerb::mov, 4, 4, false, true, Gpr::rcx},
    {"mov [rbx], r9", {0x4c, 0x89, 0x0b}, k64, MmioVerb::mov, 8, 8, false, true, Gpr::r9},
    {"mov dh, [rbx]", {0x8a, 0x33}, k64, MmioVerb::mov, 1, 1, true, false, Gpr::rdx},
    {"mov sil, [rbx]", {0x40, 0x8a, 0x33}, k64, MmioVerb::mov, 1, 1, true, false, Gpr::rsi},
    {"mov r15d, [rbx]", {0x44, 0x8b, 0x3b}, k64, MmioVerb::mov, 4, 4, true, false, Gpr::r15},
    {"mov al, moffs", {0xa0, 0, 0, 0, 0xe0}, k32, MmioVerb::mov, 1, 1, true, false, Gpr::rax},
    {"mov eax, moffs", {0xa1, 0, 0, 0, 0xe0}, k32, MmioVerb::mov, 4, 4, true, false, Gpr::rax},
    {"mov moffs, al", {0xa2, 0, 0, 0, 0xe0}, k32, MmioVerb::mov, 1, 1, false, true, Gpr::rax},
    {"mov moffs, eax", {0xa3, 0, 0, 0, 0xe0}, k32, MmioVerb::mov, 4, 4, false, true, Gpr::rax},
    {"mov byte [rbx], 5", {0xc6, 0x03, 5}, k64, MmioVerb::mov, 1, 1, false, true, Gpr::rax},
    {"mov qword [rbx], -2",
     {0x48, 0xc7, 0x03, 0xfe, 0xff, 0xff, 0xff},
     k64,
     MmioVerb::mov,
     8,
     8,
     false,
     true,
     Gpr::rax},
    {"mov [bx+si], ax", {0x89, 0x00}, k16, MmioVerb::mov, 2, 2, false, true, Gpr::rax},
    {"movzx ecx, byte [rbx]",
     {0x0f, 0xb6, 0x0b},
     k64,
     MmioVerb::movzx,
     1,
     4,
     true,
     false,
     Gpr::rcx},
    {"movzx rcx, word [rbx]",
     {0x48, 0x0f, 0xb7, 0x0b},
     k64,
     MmioVerb::movzx,
     2,
     8,
     true,
     false,
     Gpr::rcx},
    {"movsx ecx, byte [rbx]",
     {0x0f, 0xbe, 0x0b},
     k64,
     MmioVerb::movsx,
     1,
     4,
     true,
     false,
     Gpr::rcx},
    {"movsxd rcx, dword [rbx]",
     {0x48, 0x63, 0x0b},
     k64,
     MmioVerb::movsx,
     4,
     8,
     true,
     false,
     Gpr::rcx},
    {"and [rbx], ecx", {0x21, 0x0b}, k64, MmioVerb::alu, 4, 4, true, true, Gpr::rcx},
    {"or ecx, [rbx]", {0x0b, 0x0b}, k64, MmioVerb::alu, 4, 4, true, false, Gpr::rcx},
    {"or dword [rbx], 1", {0x83, 0x0b, 1}, k64, MmioVerb::alu, 4, 1, true, true, Gpr::rax},
    {"cmp [rbx], ecx", {0x39, 0x0b}, k64, MmioVerb::alu, 4, 4, true, false, Gpr::rcx},
    {"test byte [rbx], 1", {0xf6, 0x03, 1}, k64, MmioVerb::alu, 1, 1, true, false, Gpr::rax},
    {"xchg [rbx], ecx", {0x87, 0x0b}, k64, MmioVerb::xchg, 4, 4, true, true, Gpr::rcx},
    {"lock cmpxchg [rbx], ecx",
     {0xf0, 0x0f, 0xb1, 0x0b},
     k64,
     MmioVerb::cmpxchg,
     4,
     4,
     true,
     true,
     Gpr::rcx},
    {"bts dword [rbx], 3",
     {0x0f, 0xba, 0x2b, 3},
     k64,
     MmioVerb::bit_set,
     4,
     1,
     true,
     true,
     Gpr::rax},
    {"bt [rbx], ecx", {0x0f, 0xa3, 0x0b}, k64, MmioVerb::bit_test, 4, 4, true, false, Gpr::rcx},
    {"inc dword [rbx]", {0xff, 0x03}, k64, MmioVerb::increment, 4, 0, true, true, Gpr::rax},
    {"not dword [rbx]", {0xf7, 0x13}, k64, MmioVerb::bit_not, 4, 0, true, true, Gpr::rax},
};

TEST(MmioDecode, Table) {
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.text);
    auto in = decode_mmio(c.bytes, c.code);
    ASSERT_TRUE(in.ok());
    EXPECT_EQ(in->verb, c.verb);
    EXPECT_EQ(in->length, c.bytes.size());
    EXPECT_EQ(in->size, c.size);
    EXPECT_EQ(loads(*in), c.loads);
    EXPECT_EQ(stores(*in), c.stores);
    if (!in->has_immediate && c.register_size != 0) {
      EXPECT_EQ(in->register_size, c.register_size);
      EXPECT_EQ(in->reg.gpr, c.reg);
    }
  }
}

TEST(MmioDecode, HighByteRegisters) {
  auto in = decode_mmio(std::vector<uint8_t>{0x8a, 0x33}, k64);
  ASSERT_TRUE(in.ok());
  EXPECT_TRUE(in->reg.high);
  auto plain = decode_mmio(std::vector<uint8_t>{0x40, 0x8a, 0x33}, k64);
  ASSERT_TRUE(plain.ok());
  EXPECT_FALSE(plain->reg.high);
}

TEST(MmioDecode, Strings) {
  struct {
    std::vector<uint8_t> bytes;
    MmioVerb verb;
    unsigned size;
    bool rep;
    Seg segment;
  } const cases[] = {
      {{0xaa}, MmioVerb::stos, 1, false, Seg::ds},
      {{0xf3, 0x48, 0xab}, MmioVerb::stos, 8, true, Seg::ds},
      {{0xf3, 0xa5}, MmioVerb::movs, 4, true, Seg::ds},
      {{0x64, 0xa4}, MmioVerb::movs, 1, false, Seg::fs},
      {{0x66, 0xad}, MmioVerb::lods, 2, false, Seg::ds},
  };
  for (const auto& c : cases) {
    auto in = decode_mmio(c.bytes, k64);
    ASSERT_TRUE(in.ok());
    EXPECT_EQ(in->verb, c.verb);
    EXPECT_EQ(in->size, c.size);
    EXPECT_EQ(in->rep, c.rep);
    EXPECT_EQ(in->segment, c.segment);
    EXPECT_EQ(in->address_size, 8);
  }
}

TEST(MmioDecode, RefusesWhatItDoesNotKnow) {
  auto sse = decode_mmio(std::vector<uint8_t>{0x0f, 0x10, 0x03}, k64);  // movups xmm0, [rbx]
  ASSERT_FALSE(sse.ok());
  EXPECT_EQ(sse.error(), DecodeError::unsupported);
  auto push = decode_mmio(std::vector<uint8_t>{0xff, 0x33}, k64);
  EXPECT_FALSE(push.ok());
  auto cut = decode_mmio(std::vector<uint8_t>{0x8b}, k64);
  ASSERT_FALSE(cut.ok());
  EXPECT_EQ(cut.error(), DecodeError::invalid);
  EXPECT_FALSE(decode_mmio({}, k64).ok());
}

TEST(MmioExecute, EffectiveAddresses) {
  GprFile regs;
  regs[Gpr::rbx] = 0x1000;
  regs[Gpr::rcx] = 3;
  auto sib = decode_mmio(std::vector<uint8_t>{0x8b, 0x44, 0x8b, 0xf0}, k64);  // [rbx+rcx*4-16]
  EXPECT_EQ(effective_address(*sib, regs, 0), 0x1000u + 12 - 16);
  auto rip = decode_mmio(std::vector<uint8_t>{0x8b, 0x05, 0x10, 0, 0, 0}, k64);
  EXPECT_EQ(effective_address(*rip, regs, 0x2000), 0x2016u);
  auto bit = decode_mmio(std::vector<uint8_t>{0x0f, 0xa3, 0x0b}, k64);  // bt [rbx], ecx
  regs[Gpr::rcx] = 33;
  EXPECT_EQ(effective_address(*bit, regs, 0), 0x1004u);
  regs[Gpr::rcx] = static_cast<uint32_t>(-1);
  EXPECT_EQ(effective_address(*bit, regs, 0), 0xffcu);
  auto narrow = decode_mmio(std::vector<uint8_t>{0x67, 0x8b, 0x03}, k64);  // [ebx]
  regs[Gpr::rbx] = 0x1'0000'0010;
  EXPECT_EQ(effective_address(*narrow, regs, 0), 0x10u);
}

TEST(MmioExecute, RegisterWritesKeepOrClearTheRest) {
  GprFile regs;
  regs[Gpr::rax] = 0x1111111111111111;
  write_register(regs, {Gpr::rax, true}, 1, 0xab);
  EXPECT_EQ(regs[Gpr::rax], 0x111111111111ab11u);
  write_register(regs, {Gpr::rax, false}, 2, 0xcdef);
  EXPECT_EQ(regs[Gpr::rax], 0x111111111111cdefu);
  write_register(regs, {Gpr::rax, false}, 4, 0x12345678);
  EXPECT_EQ(regs[Gpr::rax], 0x12345678u);
}

TEST(MmioExecute, CompareExchange) {
  GprFile regs;
  uint64_t flags = 2;
  auto in = decode_mmio(std::vector<uint8_t>{0x0f, 0xb1, 0x0b}, k64);
  regs[Gpr::rax] = 5;
  regs[Gpr::rcx] = 9;
  EXPECT_EQ(execute(*in, 5, regs, flags), 9u);
  EXPECT_TRUE(flags & rflags::ZF);
  EXPECT_EQ(execute(*in, 7, regs, flags), 7u);
  EXPECT_FALSE(flags & rflags::ZF);
  EXPECT_EQ(regs[Gpr::rax], 7u);
}

TEST(MmioExecute, IncrementKeepsCarry) {
  GprFile regs;
  uint64_t flags = 3;
  auto in = decode_mmio(std::vector<uint8_t>{0xff, 0x03}, k64);
  EXPECT_EQ(execute(*in, 0xffffffff, regs, flags), 0u);
  EXPECT_TRUE(flags & rflags::CF);
  EXPECT_TRUE(flags & rflags::ZF);
}

}  // namespace
}  // namespace cupel::vmx
