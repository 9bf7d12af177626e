#include "hypervisor/vmx/mmio_decode.h"

#include <Zydis/Zydis.h>

namespace cupel::vmx {
namespace {

using x86::Gpr;
using x86::Seg;

struct Row {
  ZydisMnemonic mnemonic;
  MmioVerb verb;
  AluOp op = AluOp::add;
};

constexpr Row kRows[] = {
    {ZYDIS_MNEMONIC_MOV, MmioVerb::mov},
    {ZYDIS_MNEMONIC_MOVNTI, MmioVerb::mov},
    {ZYDIS_MNEMONIC_MOVZX, MmioVerb::movzx},
    {ZYDIS_MNEMONIC_MOVSX, MmioVerb::movsx},
    {ZYDIS_MNEMONIC_MOVSXD, MmioVerb::movsx},
    {ZYDIS_MNEMONIC_ADD, MmioVerb::alu, AluOp::add},
    {ZYDIS_MNEMONIC_OR, MmioVerb::alu, AluOp::bit_or},
    {ZYDIS_MNEMONIC_ADC, MmioVerb::alu, AluOp::adc},
    {ZYDIS_MNEMONIC_SBB, MmioVerb::alu, AluOp::sbb},
    {ZYDIS_MNEMONIC_AND, MmioVerb::alu, AluOp::bit_and},
    {ZYDIS_MNEMONIC_SUB, MmioVerb::alu, AluOp::sub},
    {ZYDIS_MNEMONIC_XOR, MmioVerb::alu, AluOp::bit_xor},
    {ZYDIS_MNEMONIC_CMP, MmioVerb::alu, AluOp::cmp},
    {ZYDIS_MNEMONIC_TEST, MmioVerb::alu, AluOp::test},
    {ZYDIS_MNEMONIC_XCHG, MmioVerb::xchg},
    {ZYDIS_MNEMONIC_CMPXCHG, MmioVerb::cmpxchg},
    {ZYDIS_MNEMONIC_XADD, MmioVerb::xadd},
    {ZYDIS_MNEMONIC_BT, MmioVerb::bit_test},
    {ZYDIS_MNEMONIC_BTS, MmioVerb::bit_set},
    {ZYDIS_MNEMONIC_BTR, MmioVerb::bit_reset},
    {ZYDIS_MNEMONIC_BTC, MmioVerb::bit_toggle},
    {ZYDIS_MNEMONIC_INC, MmioVerb::increment},
    {ZYDIS_MNEMONIC_DEC, MmioVerb::decrement},
    {ZYDIS_MNEMONIC_NOT, MmioVerb::bit_not},
    {ZYDIS_MNEMONIC_NEG, MmioVerb::negate},
    {ZYDIS_MNEMONIC_STOSB, MmioVerb::stos},
    {ZYDIS_MNEMONIC_STOSW, MmioVerb::stos},
    {ZYDIS_MNEMONIC_STOSD, MmioVerb::stos},
    {ZYDIS_MNEMONIC_STOSQ, MmioVerb::stos},
    {ZYDIS_MNEMONIC_MOVSB, MmioVerb::movs},
    {ZYDIS_MNEMONIC_MOVSW, MmioVerb::movs},
    {ZYDIS_MNEMONIC_MOVSD, MmioVerb::movs},
    {ZYDIS_MNEMONIC_MOVSQ, MmioVerb::movs},
    {ZYDIS_MNEMONIC_LODSB, MmioVerb::lods},
    {ZYDIS_MNEMONIC_LODSW, MmioVerb::lods},
    {ZYDIS_MNEMONIC_LODSD, MmioVerb::lods},
    {ZYDIS_MNEMONIC_LODSQ, MmioVerb::lods},
};

const Row* row_of(ZydisMnemonic mnemonic) {
  for (const Row& row : kRows) {
    if (row.mnemonic == mnemonic) return &row;
  }
  return nullptr;
}

bool segment_of(ZydisRegister reg, Seg& out) {
  switch (reg) {
    case ZYDIS_REGISTER_ES:
      out = Seg::es;
      return true;
    case ZYDIS_REGISTER_CS:
      out = Seg::cs;
      return true;
    case ZYDIS_REGISTER_SS:
      out = Seg::ss;
      return true;
    case ZYDIS_REGISTER_DS:
      out = Seg::ds;
      return true;
    case ZYDIS_REGISTER_FS:
      out = Seg::fs;
      return true;
    case ZYDIS_REGISTER_GS:
      out = Seg::gs;
      return true;
    default:
      return false;
  }
}

bool register_of(ZydisRegister reg, RegisterOperand& out) {
  if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
    out = {static_cast<Gpr>(reg - ZYDIS_REGISTER_AH), true};
    return true;
  }
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
      // Zydis numbers AH..BH inside this class, between BL and SPL.
      if (reg >= ZYDIS_REGISTER_SPL) {
        out = {static_cast<Gpr>(reg - ZYDIS_REGISTER_SPL + 4), false};
      } else {
        out = {static_cast<Gpr>(reg - ZYDIS_REGISTER_AL), false};
      }
      return true;
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
      out = {static_cast<Gpr>(ZydisRegisterGetId(reg)), false};
      return true;
    default:
      return false;
  }
}

ZydisDecoder decoder_for(CodeSize code) {
  ZydisDecoder decoder;
  ZyanStatus status = ZYAN_STATUS_SUCCESS;
  switch (code) {
    case CodeSize::bits16:
      status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
      break;
    case CodeSize::bits32:
      status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
      break;
    case CodeSize::bits64:
      status = ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
      break;
  }
  assert(ZYAN_SUCCESS(status));
  (void)status;
  return decoder;
}

// Base, index and displacement. False: an addressing form that names no general register.
bool take_address(const ZydisDecodedOperandMem& mem, MmioInstruction& out) {
  RegisterOperand reg;
  if (mem.base == ZYDIS_REGISTER_RIP || mem.base == ZYDIS_REGISTER_EIP) {
    out.rip_relative = true;
  } else if (mem.base != ZYDIS_REGISTER_NONE) {
    if (!register_of(mem.base, reg)) return false;
    out.has_base = true;
    out.base = reg.gpr;
  }
  if (mem.index != ZYDIS_REGISTER_NONE) {
    if (!register_of(mem.index, reg)) return false;
    out.has_index = true;
    out.index = reg.gpr;
    out.scale = mem.scale;
  }
  if (mem.disp.has_displacement) out.displacement = static_cast<uint64_t>(mem.disp.value);
  return true;
}

using Operands = std::span<const ZydisDecodedOperand>;

// The visible operands besides memory: at most one register or immediate.
bool take_other_operand(const ZydisDecodedOperand& operand, MmioInstruction& out) {
  out.register_size = static_cast<uint8_t>(operand.size / 8);
  if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
    return register_of(operand.reg.value, out.reg);
  }
  if (operand.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    out.has_immediate = true;
    out.immediate =
        operand.imm.is_signed ? static_cast<uint64_t>(operand.imm.value.s) : operand.imm.value.u;
    return true;
  }
  return false;
}

bool take_operands(Operands operands, MmioInstruction& out) {
  bool have_memory = false;
  for (size_t n = 0; n < operands.size(); ++n) {
    const ZydisDecodedOperand& operand = operands[n];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY && !have_memory) {
      if (operand.mem.type != ZYDIS_MEMOP_TYPE_MEM) return false;
      have_memory = true;
      out.size = static_cast<uint8_t>(operand.size / 8);
      out.memory_is_destination = n == 0;
      if (!segment_of(operand.mem.segment, out.segment)) return false;
      if (!take_address(operand.mem, out)) return false;
    } else if (!take_other_operand(operand, out)) {
      return false;
    }
  }
  return have_memory;
}

void take_string(const ZydisDecodedInstruction& in, Operands all, MmioInstruction& out) {
  out.rep = (in.attributes &
             (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
  for (const ZydisDecodedOperand& operand : all) {
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    out.size = static_cast<uint8_t>(operand.size / 8);
    const bool source = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
    if (source && !segment_of(operand.mem.segment, out.segment)) out.segment = Seg::ds;
  }
  out.register_size = out.size;
}

bool plausible_size(unsigned size) { return size == 1 || size == 2 || size == 4 || size == 8; }

}  // namespace

Result<MmioInstruction, DecodeError> decode_mmio(std::span<const uint8_t> bytes, CodeSize code) {
  const ZydisDecoder decoder = decoder_for(code);
  ZydisDecodedInstruction in;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &in, operands))) {
    return Failure(DecodeError::invalid);
  }
  const Row* const row = row_of(in.mnemonic);
  if (row == nullptr) return Failure(DecodeError::unsupported);
  MmioInstruction out;
  out.verb = row->verb;
  out.op = row->op;
  out.length = in.length;
  out.address_size = static_cast<uint8_t>(in.address_width / 8);
  bool ok = true;
  if (out.is_string()) {
    take_string(in, Operands(operands, in.operand_count), out);
  } else {
    ok = take_operands(Operands(operands, in.operand_count_visible), out);
  }
  if (!ok || !plausible_size(out.size)) return Failure(DecodeError::unsupported);
  return out;
}

}  // namespace cupel::vmx
