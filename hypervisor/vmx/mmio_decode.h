// Instructions that touch MMIO, decoded to what the hypervisor has to do. Freestanding.
#pragma once

#include <cstdint>
#include <span>

#include "core/result.h"
#include "core/x86/registers.h"
#include "hypervisor/vmx/alu.h"

namespace cupel::vmx {

enum class MmioVerb : uint8_t {
  mov,    // load or store
  movzx,  // load
  movsx,  // load, also MOVSXD
  alu,    // add or adc sbb and sub xor cmp test
  xchg,
  cmpxchg,
  xadd,
  bit_test,    // bt
  bit_set,     // bts
  bit_reset,   // btr
  bit_toggle,  // btc
  increment,
  decrement,
  bit_not,
  negate,
  stos,
  movs,
  lods,
};

// A general register as an operand; `high` is AH, CH, DH, BH.
struct RegisterOperand {
  x86::Gpr gpr = x86::Gpr::rax;
  bool high = false;
};

struct MmioInstruction {
  MmioVerb verb = MmioVerb::mov;
  AluOp op = AluOp::add;
  uint8_t length = 0;         // bytes of the instruction
  uint8_t size = 0;           // bytes of the memory operand: 1, 2, 4, 8
  uint8_t register_size = 0;  // bytes of the register operand
  uint8_t address_size = 0;   // 2, 4, 8
  bool memory_is_destination = false;
  bool has_immediate = false;
  bool rep = false;
  RegisterOperand reg;
  x86::Seg segment = x86::Seg::ds;  // of the memory operand; of the source for movs and lods
  uint64_t immediate = 0;           // sign-extended
  // Effective address of a non-string operand: base + index * scale + displacement.
  bool has_base = false, has_index = false;
  bool rip_relative = false;  // the base is the address of the next instruction
  x86::Gpr base = x86::Gpr::rax, index = x86::Gpr::rax;
  uint8_t scale = 1;
  uint64_t displacement = 0;  // sign-extended

  bool is_string() const { return verb >= MmioVerb::stos; }
};

enum class CodeSize : uint8_t { bits16, bits32, bits64 };

enum class DecodeError : uint8_t {
  invalid,      // not an instruction, or cut short
  unsupported,  // an instruction that this emulation does not know on MMIO
};

Result<MmioInstruction, DecodeError> decode_mmio(std::span<const uint8_t> bytes, CodeSize code);

}  // namespace cupel::vmx
