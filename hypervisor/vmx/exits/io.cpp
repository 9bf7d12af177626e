// IN, OUT, INS and OUTS. SDM vol. 3C, "Exit Qualification for I/O Instructions"; vol. 2, "INS",
// "OUTS", "REP".
#include "core/x86/exit_qualification.h"
#include "hypervisor/vmx/exits/handlers.h"
#include "hypervisor/vmx/mmio_execute.h"

namespace cupel::vmx {
namespace {

using namespace x86;

// The operand of INS or OUTS. "VM-Exit Instruction-Information Field for INS and OUTS".
struct StringOperand {
  unsigned address_size;  // bytes
  Seg segment;
  RegisterOperand index;

  static StringOperand decode(const IoAccess& io, uint32_t info) {
    const unsigned address_size = 2u << (info >> 7 & 3);
    if (io.in) return {address_size, Seg::es, {Gpr::rdi}};
    return {address_size, static_cast<Seg>(info >> 15 & 7), {Gpr::rsi}};
  }
};

Result<void, AccessError> transfer(VcpuContext& vcpu, GuestAccess& access, const IoAccess& io,
                                   const StringOperand& operand) {
  const uint64_t offset = read_register(vcpu.regs, operand.index, operand.address_size);
  auto at = access.linear(operand.segment, offset, io.size, operand.address_size, io.in);
  if (!at.ok()) return std::move(at).failure();
  if (io.in) {
    // The port must not be read when the store would fault: reading may change the device.
    CUPEL_TRY(access.check(*at, io.size, Access::write));
    return access.write(*at, io.size, vcpu.platform.port_in(io.port, io.size));
  }
  auto value = access.read(*at, io.size);
  if (!value.ok()) return std::move(value).failure();
  vcpu.platform.port_out(io.port, io.size, static_cast<uint32_t>(*value));
  return {};
}

Outcome string_io(VcpuContext& vcpu, const IoAccess& io) {
  // Every processor with unrestricted guest reports the operand (IA32_VMX_BASIC bit 54).
  if ((vcpu.caps.basic >> 54 & 1) == 0) return handle_unexpected(vcpu);
  const auto operand = StringOperand::decode(io, vcpu.vmcs.get(Field32::exit_instruction_info));
  const RegisterOperand counter{Gpr::rcx};
  const unsigned width = operand.address_size;
  GuestAccess access = vcpu.access();
  const bool down = (vcpu.vmcs.get(FieldN::guest_rflags) & rflags::DF) != 0;
  const uint64_t step = down ? 0 - uint64_t{io.size} : io.size;
  uint64_t left = io.rep ? read_register(vcpu.regs, counter, width) : 1;
  for (uint64_t done = 0; left != 0 && done < kRepBurst; ++done) {
    // A fault leaves the registers at the iteration that met it, so that it can be restarted.
    auto moved = transfer(vcpu, access, io, operand);
    if (!moved.ok()) return vcpu.raise(moved.error());
    write_register(vcpu.regs, operand.index, width,
                   read_register(vcpu.regs, operand.index, width) + step);
    --left;
    if (io.rep) write_register(vcpu.regs, counter, width, left);
    if (vcpu.platform.stop_requested()) break;
  }
  // More to do: the guest executes the rest of the instruction again, after any interrupt.
  return left != 0 ? Outcome::resume : vcpu.advance();
}

}  // namespace

Outcome handle_io(VcpuContext& vcpu) {
  const auto io = IoAccess::decode(vcpu.vmcs.get(FieldN::exit_qualification));
  if (io.string) return string_io(vcpu, io);
  const RegisterOperand accumulator{Gpr::rax};
  if (io.in) {
    write_register(vcpu.regs, accumulator, io.size, vcpu.platform.port_in(io.port, io.size));
  } else {
    vcpu.platform.port_out(io.port, io.size,
                           static_cast<uint32_t>(read_register(vcpu.regs, accumulator, io.size)));
  }
  return vcpu.advance();
}

}  // namespace cupel::vmx
