// EPT violations: memory-mapped I/O, and what must not happen.
#include "core/x86/exit_qualification.h"
#include "hypervisor/vmx/exits/handlers.h"
#include "hypervisor/vmx/mmio_execute.h"

namespace cupel::vmx {
namespace {

using namespace x86;

// The operand of the access: where the exit says, when that is the whole operand; by our own walk
// otherwise (an access across pages, of which the exit shows one).
class Operand {
 public:
  Operand(VcpuContext& vcpu, GuestAccess& access, const MmioInstruction& in, Gva at)
      : vcpu_(vcpu), access_(access), in_(in), at_(at) {
    const bool whole = at.offset_in(kPageSize) + in.size <= kPageSize;
    direct_ = whole && vcpu.vmcs.get(FieldN::guest_linear_address) == at.value();
    if (direct_) gpa_ = Gpa(vcpu.vmcs.get(Field64::guest_physical_address));
  }
  Result<uint64_t, AccessError> load() {
    if (direct_) return vcpu_.platform.mmio_read(gpa_, in_.size) & mask_of(in_.size);
    return access_.read(at_, in_.size, stores(in_) ? Access::write : Access::read);
  }
  Result<void, AccessError> store(uint64_t value) {
    if (!direct_) return access_.write(at_, in_.size, value);
    vcpu_.platform.mmio_write(gpa_, in_.size, value & mask_of(in_.size));
    return {};
  }

 private:
  VcpuContext& vcpu_;
  GuestAccess& access_;
  const MmioInstruction& in_;
  Gva at_;
  Gpa gpa_;
  bool direct_ = false;
};

Outcome emulate_plain(VcpuContext& vcpu, GuestAccess& access, const MmioInstruction& in) {
  GprFile regs = vcpu.regs;
  const uint64_t rsp = vcpu.vmcs.get(FieldN::guest_rsp);
  regs[Gpr::rsp] = rsp;
  const uint64_t offset = effective_address(in, regs, vcpu.vmcs.get(FieldN::guest_rip));
  auto at = access.linear(in.segment, offset, in.size, in.address_size, stores(in));
  if (!at.ok()) return vcpu.raise(at.error());
  Operand operand(vcpu, access, in, *at);
  uint64_t loaded = 0;
  if (loads(in)) {
    auto value = operand.load();
    if (!value.ok()) return vcpu.raise(value.error());
    loaded = *value;
  }
  const uint64_t flags_before = vcpu.vmcs.get(FieldN::guest_rflags);
  uint64_t flags = flags_before;
  const uint64_t result = execute(in, loaded, regs, flags);
  if (stores(in)) {
    auto stored = operand.store(result);
    if (!stored.ok()) return vcpu.raise(stored.error());
  }
  // Nothing can fail any more: the new registers become the guest's.
  vcpu.regs = regs;
  if (regs[Gpr::rsp] != rsp) vcpu.vmcs.set(FieldN::guest_rsp, regs[Gpr::rsp]);
  if (flags != flags_before) vcpu.vmcs.set(FieldN::guest_rflags, flags);
  return vcpu.advance(in.length);
}

Outcome emulate(VcpuContext& vcpu) {
  GuestAccess access = vcpu.access();
  auto code = access.fetch(vcpu.vmcs.get(FieldN::guest_rip));
  if (!code.ok()) return vcpu.raise(code.error());
  auto in = decode_mmio({code->bytes.data(), code->count}, access.code_size());
  if (!in.ok()) {
    vcpu.fault.bytes = code->bytes;
    vcpu.fault.byte_count = code->count;
    return vcpu.stop(in.error() == DecodeError::invalid ? FaultKind::mmio_undecodable
                                                        : FaultKind::mmio_unsupported);
  }
  return in->is_string() ? emulate_string(vcpu, access, *in) : emulate_plain(vcpu, access, *in);
}

}  // namespace

Outcome handle_ept_violation(VcpuContext& vcpu) {
  const auto violation = EptViolation::decode(vcpu.vmcs.get(FieldN::exit_qualification));
  const Gpa gpa(vcpu.vmcs.get(Field64::guest_physical_address));
  vcpu.fault.guest_physical = gpa.value();
  // IRET had unblocked NMIs before the access; the instruction is going to be executed again.
  if (violation.nmi_unblocking_by_iret && !vcpu.delivering) {
    vcpu.vmcs.set(Field32::guest_interruptibility_state,
                  vcpu.vmcs.get(Field32::guest_interruptibility_state) | interruptibility::nmi);
  }
  if (vcpu.ram.contains(gpa, 1)) return vcpu.stop(FaultKind::ram_not_mapped);
  if (violation.fetch) return vcpu.stop(FaultKind::mmio_fetch);
  if (vcpu.delivering || !violation.linear_valid || !violation.translated) {
    return vcpu.stop(FaultKind::mmio_during_delivery);
  }
  return emulate(vcpu);
}

}  // namespace cupel::vmx
