// Why the hypervisor core gave up, as data; fault_text.h makes the sentence. Freestanding.
#pragma once

#include <array>
#include <cstdint>

namespace cupel::vmx {

enum class FaultKind : uint8_t {
  none,
  // Setting up.
  vmx_disabled,        // IA32_FEATURE_CONTROL is locked with VMX off
  capability_missing,  // a capability MSR cannot be read; number = MSR
  control_refused,     // number = ControlField, detail = bits, code = ControlRefusal::Kind
  ept_unsupported,     // 4-level walk or write-back memory is missing
  out_of_frames,       // the frame allocator is full
  bad_memory_range,    // a hole or the RAM is not page-aligned
  // VMX instructions; code = VmxInstruction, number = VM-instruction error (0: VMfailInvalid).
  vmx_instruction,
  vmcs_access,  // number = field encoding, code = 1 for a write
  // Running.
  entry_failure,         // reason, qualification
  unhandled_exit,        // reason, qualification
  mmio_undecodable,      // bytes, guest_physical
  mmio_unsupported,      // bytes, guest_physical
  mmio_fetch,            // the guest executes outside its RAM
  mmio_during_delivery,  // event delivery or a page walk touched memory that is not RAM
  ram_not_mapped,        // EPT violation inside RAM
  bad_paging_structure,  // a guest paging structure lies outside RAM
  triple_fault,
  bad_state,  // set_state() was given a state VT-x cannot run; number = activity
};

enum class VmxInstruction : uint8_t {
  vmxon,
  vmclear,
  vmptrld,
  vmlaunch,
  vmresume,
  invept,
  invvpid
};

struct Fault {
  FaultKind kind = FaultKind::none;
  uint8_t code = 0;
  uint8_t byte_count = 0;
  std::array<uint8_t, 15> bytes{};  // of the instruction, where the kind has them
  uint32_t number = 0;
  uint32_t reason = 0;  // exit reason field
  uint64_t detail = 0;
  uint64_t rip = 0;
  uint64_t qualification = 0;
  uint64_t guest_physical = 0;
};

}  // namespace cupel::vmx
