#include "hypervisor/vmx/vcpu_context.h"

namespace cupel::vmx {

using namespace x86;

namespace {
constexpr uint64_t kDr6SingleStep = 1 << 14;
constexpr uint64_t kSingleContext = 1, kAllContexts = 2;
}  // namespace

Outcome VcpuContext::advance(uint32_t length) {
  const uint64_t rip = vmcs.get(FieldN::guest_rip);
  uint64_t next = rip + length;
  if (((next ^ rip) >> 32) != 0 && (vmcs.get(Field32::guest_cs_access_rights) >> 13 & 1) == 0)
      [[unlikely]] {
    next &= 0xffffffff;
  }
  vmcs.set(FieldN::guest_rip, next);
  constexpr uint32_t shadows = interruptibility::sti | interruptibility::mov_ss;
  const uint32_t blocking = vmcs.get(Field32::guest_interruptibility_state);
  if ((blocking & shadows) != 0) [[unlikely]] {
    vmcs.set(Field32::guest_interruptibility_state, blocking & ~shadows);
  }
  const uint64_t flags = vmcs.get(FieldN::guest_rflags);
  if ((flags & (rflags::RF | rflags::TF)) == 0) [[likely]]
    return Outcome::resume;
  vmcs.set(FieldN::guest_rflags, flags & ~rflags::RF);
  if ((flags & rflags::TF) == 0) return Outcome::resume;
  cpu.write_dr(6, cpu.read_dr(6) | kDr6SingleStep);
  return raise(kDB);
}

Outcome VcpuContext::raise(uint8_t vector) { return raise(Event::exception(vector, 0, false)); }

Outcome VcpuContext::raise(uint8_t vector, uint32_t error) {
  return raise(Event::exception(vector, error, true));
}

Outcome VcpuContext::raise(const Event& exception) {
  // Real mode has no error codes, and injecting one fails the entry checks.
  Event event = exception;
  if (event.has_error && (vmcs.get(FieldN::guest_cr0) & cr0::PE) == 0) {
    event.has_error = false;
    event.error = 0;
  }
  return events.raise(event) == EventQueue::Raised::triple_fault ? Outcome::triple_fault
                                                                 : Outcome::resume;
}

Outcome VcpuContext::raise(const AccessError& error) {
  switch (error.kind) {
    case AccessError::Kind::exception:
      if (error.exception.vector == kPF) cpu.write_cr2(error.cr2);
      return raise(error.exception);
    case AccessError::Kind::paging_outside_ram:
      fault.guest_physical = error.at.value();
      return stop(FaultKind::bad_paging_structure);
    case AccessError::Kind::fetch_outside_ram:
      fault.guest_physical = error.at.value();
      return stop(FaultKind::mmio_fetch);
  }
  return stop(FaultKind::bad_state);
}

Outcome VcpuContext::stop(FaultKind kind) {
  fault.kind = kind;
  fault.reason = exit_reason;
  fault.rip = vmcs.get(FieldN::guest_rip);
  fault.qualification = vmcs.get(FieldN::exit_qualification);
  return Outcome::fault;
}

bool VcpuContext::note(VmxInstruction instruction, VmxStatus status) {
  if (status == VmxStatus::succeed) return true;
  fault = Fault{};
  fault.kind = FaultKind::vmx_instruction;
  fault.code = static_cast<uint8_t>(instruction);
  if (status == VmxStatus::fail_valid) fault.number = vmcs.get(Field32::vm_instruction_error);
  fault.rip = vmcs.get(FieldN::guest_rip);
  return false;
}

bool VcpuContext::flush_linear() {
  // Without VPIDs every entry and exit flushes by itself.
  if (!controls.vpid()) return true;
  const uint64_t type = caps.invvpid_single() ? kSingleContext : kAllContexts;
  return note(VmxInstruction::invvpid, cpu.invvpid(type, InvvpidDescriptor{vpid, 0}));
}

bool VcpuContext::flush_guest_physical() {
  const uint64_t type = caps.invept_single() ? kSingleContext : kAllContexts;
  return note(VmxInstruction::invept, cpu.invept(type, InveptDescriptor{ept.pointer(), 0}));
}

}  // namespace cupel::vmx
