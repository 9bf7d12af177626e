// String instructions with an operand outside RAM. SDM vol. 2, "MOVS", "STOS", "LODS", "REP".
#include "hypervisor/vmx/exits/handlers.h"
#include "hypervisor/vmx/mmio_execute.h"

namespace cupel::vmx {
namespace {

using namespace x86;

constexpr RegisterOperand kSource{Gpr::rsi}, kTarget{Gpr::rdi}, kCounter{Gpr::rcx},
    kAccumulator{Gpr::rax};

// One iteration, without the index registers.
Result<void, AccessError> iterate(VcpuContext& vcpu, GuestAccess& access,
                                  const MmioInstruction& in) {
  const unsigned width = in.address_size;
  Gva to;
  if (in.verb != MmioVerb::lods) {
    auto at =
        access.linear(Seg::es, read_register(vcpu.regs, kTarget, width), in.size, width, true);
    if (!at.ok()) return std::move(at).failure();
    to = *at;
  }
  if (in.verb == MmioVerb::stos) {
    return access.write(to, in.size, read_register(vcpu.regs, kAccumulator, in.size));
  }
  auto from =
      access.linear(in.segment, read_register(vcpu.regs, kSource, width), in.size, width, false);
  if (!from.ok()) return std::move(from).failure();
  // Reading MMIO may change the device, so the store must be known not to fault.
  if (in.verb == MmioVerb::movs) CUPEL_TRY(access.check(to, in.size, Access::write));
  auto value = access.read(*from, in.size);
  if (!value.ok()) return std::move(value).failure();
  if (in.verb == MmioVerb::movs) return access.write(to, in.size, *value);
  write_register(vcpu.regs, kAccumulator, in.size, *value);
  return {};
}

void move_index(VcpuContext& vcpu, RegisterOperand index, unsigned width, uint64_t step) {
  write_register(vcpu.regs, index, width, read_register(vcpu.regs, index, width) + step);
}

}  // namespace

Outcome emulate_string(VcpuContext& vcpu, GuestAccess& access, const MmioInstruction& in) {
  const unsigned width = in.address_size;
  const bool down = (vcpu.vmcs.get(FieldN::guest_rflags) & rflags::DF) != 0;
  const uint64_t step = down ? 0 - uint64_t{in.size} : in.size;
  uint64_t left = in.rep ? read_register(vcpu.regs, kCounter, width) : 1;
  for (uint64_t done = 0; left != 0 && done < kRepBurst; ++done) {
    auto moved = iterate(vcpu, access, in);
    if (!moved.ok()) return vcpu.raise(moved.error());
    if (in.verb != MmioVerb::stos) move_index(vcpu, kSource, width, step);
    if (in.verb != MmioVerb::lods) move_index(vcpu, kTarget, width, step);
    --left;
    if (in.rep) write_register(vcpu.regs, kCounter, width, left);
    if (vcpu.platform.stop_requested()) break;
  }
  return left != 0 ? Outcome::resume : vcpu.advance(in.length);
}

}  // namespace cupel::vmx
