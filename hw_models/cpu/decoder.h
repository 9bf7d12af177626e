// Instruction decoding for trapped instructions (Zydis).
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <cstdint>
#include <vector>

namespace cupel::cpu {

struct Instruction {
  ZydisDecodedInstruction info;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  // Found once, for instructions that trap again and again.
  uint32_t vmx_information = 0;                 // instruction_information()
  const ZydisDecodedOperand* memory = nullptr;  // the first operand in memory
  uint8_t length() const { return info.length; }
  const ZydisDecodedOperand* memory_operand() const { return memory; }
};

class Decoder {
 public:
  Decoder();
  // The same by way of a cache: a processor meets the same few trapping instructions again and
  // again. `bytes15` are compared, so that changed code is never mistaken. nullptr when they are no
  // instruction. Valid until the next call.
  const Instruction* decode_at(uint64_t linear, unsigned bits, const uint8_t* bytes15,
                               unsigned size);
  // bits: 16, 32 or 64 (code size). False when the bytes are no instruction.
  bool decode(unsigned bits, const uint8_t* bytes, unsigned size, Instruction& out) const;

 private:
  struct Cached {
    uint64_t linear = ~0ull;
    unsigned bits = 0;
    std::array<uint8_t, 15> bytes{};
    Instruction instruction{};
  };
  static constexpr size_t kEntries = 64;
  std::vector<Cached> cache_;
  ZydisDecoder decoder16_, decoder32_, decoder64_;
};

// Number of a general register operand (0-15), or -1.
int gpr_number(ZydisRegister reg);
// VM-exit instruction-information field of an instruction with a memory or register operand.
// SDM vol. 3C, "Information for VM Exits Due to Instruction Execution".
uint32_t instruction_information(const Instruction& i);

}  // namespace cupel::cpu
