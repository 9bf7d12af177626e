// Instruction decoding for trapped instructions (Zydis).
#pragma once

#include <Zydis/Zydis.h>

#include <cstdint>

namespace cupel::cpu {

struct Instruction {
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  uint8_t length() const { return info.length; }
  const ZydisDecodedOperand* memory_operand() const;
};

class Decoder {
 public:
  Decoder();
  // bits: 16, 32 or 64 (code size). False when the bytes are no instruction.
  bool decode(unsigned bits, const uint8_t* bytes, unsigned size, Instruction& out) const;

 private:
  ZydisDecoder decoder16_, decoder32_, decoder64_;
};

// Number of a general register operand (0-15), or -1.
int gpr_number(ZydisRegister reg);
// VM-exit instruction-information field of an instruction with a memory or register operand.
// SDM vol. 3C, "Information for VM Exits Due to Instruction Execution".
uint32_t instruction_information(const Instruction& i);

}  // namespace cupel::cpu
