// SGDT, SIDT, LGDT, LIDT, SLDT, STR, LLDT, LTR: instructions that a VMX guest may be kept from.
// SDM vol. 2A and 2B, under each instruction.

#include <cstring>

#include "hw_models/cpu/unicorn_processor.h"

extern "C" {
void helper_lldt_x86_64(void* env, int selector);
void helper_ltr_x86_64(void* env, int selector);
}

namespace cupel::cpu {
namespace {

bool canonical(uint64_t address) {
  const int64_t top = static_cast<int64_t>(address) >> 47;
  return top == 0 || top == -1;
}

bool descriptor_table(const Instruction& i) {
  switch (i.info.mnemonic) {
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_LGDT:
    case ZYDIS_MNEMONIC_LIDT:
      return true;
    default:
      return false;
  }
}

bool loads(const Instruction& i) {
  switch (i.info.mnemonic) {
    case ZYDIS_MNEMONIC_LGDT:
    case ZYDIS_MNEMONIC_LIDT:
    case ZYDIS_MNEMONIC_LLDT:
    case ZYDIS_MNEMONIC_LTR:
      return true;
    default:
      return false;
  }
}

// Instruction identity, bits 29:28 of the instruction-information field. SDM vol. 3C, "Format of
// the VM-Exit Instruction-Information Field as Used for LIDT, LGDT, SIDT, or SGDT", and "... for
// LLDT, LTR, SLDT, and STR".
uint32_t identity(const Instruction& i) {
  switch (i.info.mnemonic) {
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_STR:
      return 1u << 28;
    case ZYDIS_MNEMONIC_LGDT:
    case ZYDIS_MNEMONIC_LLDT:
      return 2u << 28;
    case ZYDIS_MNEMONIC_LIDT:
    case ZYDIS_MNEMONIC_LTR:
      return 3u << 28;
    default:
      return 0;
  }
}

}  // namespace

void UnicornProcessor::trap_table() {
  const Instruction* decoded = decode_current();
  if (decoded == nullptr) return trap_exception(x86::kUD);
  const Instruction& i = *decoded;
  Trap trap;
  trap.kind = descriptor_table(i) ? TrapKind::gdtr_idtr_access : TrapKind::ldtr_tr_access;
  trap.length = i.length();
  trap.instruction_info = (i.vmx_information & 0x0fffffff) | identity(i);
  if (descriptor_table(i) && i.info.operand_width != 16) trap.instruction_info |= 1u << 11;
  if (const auto* memory = i.memory_operand()) {
    trap.displacement = static_cast<uint64_t>(memory->mem.disp.value);
    if (memory->mem.base == ZYDIS_REGISTER_RIP) trap.displacement += engine_->eip + i.length();
    trap.address = linear_address(i);
  }
  const bool user_mode_prevented = !loads(i) && (paging_.cr4 & x86::cr4::UMIP) != 0 && cpl() != 0;
  if (user_mode_prevented) return raise(x86::kGP, 0);
  if (exits(trap)) return;
  if (loads(i) ? load_table(i) : store_table(i)) advance(trap.length);
}

// False: a fault was raised.
bool UnicornProcessor::store_table(const Instruction& i) {
  const auto* memory = i.memory_operand();
  const int segment = memory != nullptr ? ZydisRegisterGetId(memory->mem.segment) : 3;
  const auto seg = static_cast<x86::Seg>(segment < 0 ? 3 : segment);
  if (descriptor_table(i)) {
    const EngineSegment& table =
        i.info.mnemonic == ZYDIS_MNEMONIC_SGDT ? engine_->gdt : engine_->idt;
    uint8_t image[10];
    const auto limit = static_cast<uint16_t>(table.limit);
    std::memcpy(image, &limit, 2);
    std::memcpy(image + 2, &table.base, 8);
    return write_operand(linear_address(i), image, code_is_64bit() ? 10 : 6, seg);
  }
  const EngineSegment& from = i.info.mnemonic == ZYDIS_MNEMONIC_SLDT ? engine_->ldt : engine_->tr;
  const auto selector = static_cast<uint16_t>(from.selector);
  if (memory != nullptr) return write_operand(linear_address(i), &selector, 2, seg);
  uint64_t& reg = engine_->gpr[gpr_number(i.operands[0].reg.value)];
  reg = i.info.operand_width == 16 ? (reg & ~0xffffull) | selector : selector;
  return true;
}

// The library's own LLDT and LTR raise their faults by leaving this function.
bool UnicornProcessor::load_table(const Instruction& i) {
  const auto* memory = i.memory_operand();
  const int segment = memory != nullptr ? ZydisRegisterGetId(memory->mem.segment) : 3;
  const auto seg = static_cast<x86::Seg>(segment < 0 ? 3 : segment);
  if (descriptor_table(i)) {
    const bool wide = code_is_64bit();
    uint8_t image[10] = {};
    if (!read_operand(linear_address(i), image, wide ? 10 : 6, seg)) return false;
    x86::DescriptorTable table;
    std::memcpy(&table.limit, image, 2);
    std::memcpy(&table.base, image + 2, 8);
    if (!wide && i.info.operand_width == 16) table.base &= 0xffffff;
    if (!canonical(table.base)) {
      raise(x86::kGP, 0);
      return false;
    }
    i.info.mnemonic == ZYDIS_MNEMONIC_LGDT ? set_gdtr(table) : set_idtr(table);
    return true;
  }
  uint16_t selector = 0;
  if (memory != nullptr) {
    if (!read_operand(linear_address(i), &selector, 2, seg)) return false;
  } else {
    selector = static_cast<uint16_t>(engine_->gpr[gpr_number(i.operands[0].reg.value)]);
  }
  if (i.info.mnemonic == ZYDIS_MNEMONIC_LLDT) {
    helper_lldt_x86_64(engine_, selector);
  } else {
    helper_ltr_x86_64(engine_, selector);
  }
  return true;
}

}  // namespace cupel::cpu
