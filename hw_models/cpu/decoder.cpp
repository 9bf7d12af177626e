#include "hw_models/cpu/decoder.h"

#include <cstring>

namespace cupel::cpu {
namespace {

unsigned segment_number(ZydisRegister reg) {
  switch (reg) {
    case ZYDIS_REGISTER_ES:
      return 0;
    case ZYDIS_REGISTER_CS:
      return 1;
    case ZYDIS_REGISTER_SS:
      return 2;
    case ZYDIS_REGISTER_FS:
      return 4;
    case ZYDIS_REGISTER_GS:
      return 5;
    default:
      return 3;
  }
}

unsigned scale_code(uint8_t scale) { return scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0; }

}  // namespace

const Instruction* Decoder::decode_at(uint64_t linear, unsigned bits, const uint8_t* bytes15,
                                      unsigned size) {
  Cached& slot = cache_[(linear ^ linear >> 6) % kEntries];
  if (slot.linear == linear && slot.bits == bits && slot.instruction.length() <= size &&
      std::memcmp(slot.bytes.data(), bytes15, slot.instruction.length()) == 0)
    return &slot.instruction;
  slot.linear = ~0ull;
  if (!decode(bits, bytes15, size, slot.instruction)) return nullptr;
  slot.linear = linear;
  slot.bits = bits;
  std::memcpy(slot.bytes.data(), bytes15, size);
  return &slot.instruction;
}

Decoder::Decoder() : cache_(kEntries) {
  ZydisDecoderInit(&decoder16_, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
  ZydisDecoderInit(&decoder32_, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
  ZydisDecoderInit(&decoder64_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

bool Decoder::decode(unsigned bits, const uint8_t* bytes, unsigned size, Instruction& out) const {
  const ZydisDecoder& d = bits == 64 ? decoder64_ : bits == 32 ? decoder32_ : decoder16_;
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, bytes, size, &out.info, out.operands))) return false;
  out.memory = nullptr;
  for (unsigned n = 0; n < out.info.operand_count && out.memory == nullptr; ++n)
    if (out.operands[n].type == ZYDIS_OPERAND_TYPE_MEMORY) out.memory = &out.operands[n];
  out.vmx_information = instruction_information(out);
  return true;
}

int gpr_number(ZydisRegister reg) {
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
      return ZydisRegisterGetId(reg);
    default:
      return -1;
  }
}

uint32_t instruction_information(const Instruction& i) {
  const unsigned address_size = i.info.address_width == 64 ? 2 : i.info.address_width == 32 ? 1 : 0;
  uint32_t value = address_size << 7;
  const ZydisDecodedOperand* memory = i.memory_operand();
  const ZydisDecodedOperand* reg1 = nullptr;
  const ZydisDecodedOperand* reg2 = nullptr;
  for (unsigned n = 0; n < i.info.operand_count_visible; ++n) {
    const auto& operand = i.operands[n];
    if (operand.type != ZYDIS_OPERAND_TYPE_REGISTER || gpr_number(operand.reg.value) < 0) continue;
    (operand.encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG ? reg2 : reg1) = &operand;
  }
  if (memory != nullptr) {
    const auto& m = memory->mem;
    value |= segment_number(m.segment) << 15;
    const int index = gpr_number(m.index), base = gpr_number(m.base);
    value |= index >= 0 ? static_cast<uint32_t>(index) << 18 | scale_code(m.scale) : 1u << 22;
    value |= base >= 0 ? static_cast<uint32_t>(base) << 23 : 1u << 27;
  } else if (reg1 != nullptr) {
    value |= 1u << 10 | static_cast<uint32_t>(gpr_number(reg1->reg.value)) << 3;
  }
  if (reg2 != nullptr) value |= static_cast<uint32_t>(gpr_number(reg2->reg.value)) << 28;
  return value;
}

}  // namespace cupel::cpu
