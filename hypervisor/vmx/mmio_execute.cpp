#include "hypervisor/vmx/mmio_execute.h"

namespace cupel::vmx {

using namespace x86;

uint64_t read_register(const GprFile& regs, RegisterOperand reg, unsigned size) {
  return regs[reg.gpr] >> (reg.high ? 8 : 0) & mask_of(size);
}

void write_register(GprFile& regs, RegisterOperand reg, unsigned size, uint64_t value) {
  uint64_t& target = regs[reg.gpr];
  const unsigned shift = reg.high ? 8 : 0;
  const uint64_t mask = mask_of(size);
  value &= mask;
  target = size >= 4 ? value : (target & ~(mask << shift)) | value << shift;
}

uint64_t effective_address(const MmioInstruction& in, const GprFile& regs, uint64_t rip) {
  uint64_t at = in.displacement;
  if (in.rip_relative) at += rip + in.length;
  if (in.has_base) at += regs[in.base];
  if (in.has_index) at += regs[in.index] * in.scale;
  // A bit offset in a register reaches beyond the operand. SDM vol. 2A, "BT - Bit Test".
  const bool bits = in.verb >= MmioVerb::bit_test && in.verb <= MmioVerb::bit_toggle;
  if (bits && !in.has_immediate) {
    const auto offset = static_cast<int64_t>(
        sign_extend(read_register(regs, in.reg, in.register_size), in.register_size));
    const int64_t width = in.size * 8;
    at += static_cast<uint64_t>((offset >= 0 ? offset / width : -((width - 1 - offset) / width)) *
                                in.size);
  }
  return at & mask_of(in.address_size);
}

bool loads(const MmioInstruction& in) {
  return !(in.verb == MmioVerb::mov && in.memory_is_destination);
}

bool stores(const MmioInstruction& in) {
  switch (in.verb) {
    case MmioVerb::mov:
      return in.memory_is_destination;
    case MmioVerb::movzx:
    case MmioVerb::movsx:
    case MmioVerb::bit_test:
      return false;
    case MmioVerb::alu:
      return in.memory_is_destination && in.op != AluOp::cmp && in.op != AluOp::test;
    default:
      return true;
  }
}

namespace {

uint64_t source(const MmioInstruction& in, const GprFile& regs) {
  return in.has_immediate ? in.immediate & mask_of(in.size)
                          : read_register(regs, in.reg, in.register_size);
}

uint64_t bit_operation(const MmioInstruction& in, uint64_t loaded, const GprFile& regs,
                       uint64_t& rflags) {
  const uint64_t bit = 1ull << (source(in, regs) % (in.size * 8u));
  rflags = (rflags & ~rflags::CF) | ((loaded & bit) != 0 ? rflags::CF : 0);
  switch (in.verb) {
    case MmioVerb::bit_set:
      return loaded | bit;
    case MmioVerb::bit_reset:
      return loaded & ~bit;
    case MmioVerb::bit_toggle:
      return loaded ^ bit;
    default:
      return loaded;
  }
}

uint64_t compare_exchange(const MmioInstruction& in, uint64_t loaded, GprFile& regs,
                          uint64_t& rflags) {
  const RegisterOperand accumulator{Gpr::rax, false};
  alu(AluOp::cmp, read_register(regs, accumulator, in.size), loaded, in.size, rflags);
  if ((rflags & rflags::ZF) != 0) return source(in, regs);
  write_register(regs, accumulator, in.size, loaded);
  return loaded;  // the processor writes the old value back
}

// INC and DEC keep CF.
uint64_t step(AluOp op, uint64_t loaded, unsigned size, uint64_t& rflags) {
  const uint64_t carry = rflags & rflags::CF;
  const uint64_t result = alu(op, loaded, 1, size, rflags);
  rflags = (rflags & ~rflags::CF) | carry;
  return result;
}

uint64_t arithmetic(const MmioInstruction& in, uint64_t loaded, GprFile& regs, uint64_t& rflags) {
  const uint64_t other = source(in, regs);
  if (in.memory_is_destination) return alu(in.op, loaded, other, in.size, rflags);
  const uint64_t result = alu(in.op, other, loaded, in.size, rflags);
  if (in.op != AluOp::cmp && in.op != AluOp::test) {
    write_register(regs, in.reg, in.register_size, result);
  }
  return loaded;
}

}  // namespace

uint64_t execute(const MmioInstruction& in, uint64_t loaded, GprFile& regs, uint64_t& rflags) {
  loaded &= mask_of(in.size);
  switch (in.verb) {
    case MmioVerb::mov:
      if (in.memory_is_destination) return source(in, regs);
      write_register(regs, in.reg, in.register_size, loaded);
      return loaded;
    case MmioVerb::movzx:
      write_register(regs, in.reg, in.register_size, loaded);
      return loaded;
    case MmioVerb::movsx:
      write_register(regs, in.reg, in.register_size, sign_extend(loaded, in.size));
      return loaded;
    case MmioVerb::alu:
      return arithmetic(in, loaded, regs, rflags);
    case MmioVerb::xchg: {
      const uint64_t value = source(in, regs);
      write_register(regs, in.reg, in.register_size, loaded);
      return value;
    }
    case MmioVerb::cmpxchg:
      return compare_exchange(in, loaded, regs, rflags);
    case MmioVerb::xadd: {
      const uint64_t sum = alu(AluOp::add, loaded, source(in, regs), in.size, rflags);
      write_register(regs, in.reg, in.register_size, loaded);
      return sum;
    }
    case MmioVerb::bit_test:
    case MmioVerb::bit_set:
    case MmioVerb::bit_reset:
    case MmioVerb::bit_toggle:
      return bit_operation(in, loaded, regs, rflags);
    case MmioVerb::increment:
      return step(AluOp::add, loaded, in.size, rflags);
    case MmioVerb::decrement:
      return step(AluOp::sub, loaded, in.size, rflags);
    case MmioVerb::bit_not:
      return ~loaded & mask_of(in.size);
    case MmioVerb::negate:
      return alu(AluOp::sub, 0, loaded, in.size, rflags);
    case MmioVerb::stos:
    case MmioVerb::movs:
    case MmioVerb::lods:
      break;  // strings have their own loop
  }
  return loaded;
}

}  // namespace cupel::vmx
