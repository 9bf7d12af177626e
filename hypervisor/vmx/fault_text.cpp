#include "hypervisor/vmx/fault_text.h"

#include <cstdio>

#include "core/x86/exit_reason.h"
#include "hypervisor/vmx/control_names.h"

namespace cupel::vmx {
namespace {

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string bytes_of(const Fault& fault) {
  std::string text;
  for (unsigned n = 0; n < fault.byte_count; ++n) {
    char byte[4];
    std::snprintf(byte, sizeof byte, n == 0 ? "%02x" : " %02x", fault.bytes[n]);
    text += byte;
  }
  return text;
}

std::string reason_of(const Fault& fault) {
  const uint32_t basic = fault.reason & 0xffff;
  return std::string(to_string(static_cast<x86::ExitReason>(basic))) + " (" +
         std::to_string(basic) + ")";
}

std::string at_rip(const Fault& fault) { return " at RIP " + hex(fault.rip); }
std::string at_gpa(const Fault& fault) { return " at guest-physical " + hex(fault.guest_physical); }

const char* instruction_name(uint8_t code) {
  switch (static_cast<VmxInstruction>(code)) {
    case VmxInstruction::vmxon:
      return "VMXON";
    case VmxInstruction::vmclear:
      return "VMCLEAR";
    case VmxInstruction::vmptrld:
      return "VMPTRLD";
    case VmxInstruction::vmlaunch:
      return "VMLAUNCH";
    case VmxInstruction::vmresume:
      return "VMRESUME";
    case VmxInstruction::invept:
      return "INVEPT";
    case VmxInstruction::invvpid:
      return "INVVPID";
  }
  return "a VMX instruction";
}

// SDM vol. 3C, "VM-Entry Failures During or After Loading Guest State".
std::string entry_failure(const Fault& fault) {
  std::string text = "VM entry failed: " + reason_of(fault);
  if ((fault.reason & 0xffff) == 34) {
    return text + ", MSR-load entry number " + std::to_string(fault.qualification);
  }
  switch (fault.qualification) {
    case 0:
      break;
    case 2:
      return text + ", the PDPTEs are not valid";
    case 3:
      return text + ", NMI injection while blocking by STI";
    case 4:
      return text + ", the VMCS link pointer is not valid";
    default:
      return text + ", qualification " + std::to_string(fault.qualification);
  }
  return text + ", the guest state breaks a rule";
}

std::string refusal(const Fault& fault) {
  const auto field = static_cast<ControlField>(fault.number);
  const auto bits = bit_names(field, static_cast<uint32_t>(fault.detail));
  const std::string where = std::string("the ") + field_name(field) + ": ";
  switch (static_cast<ControlRefusal::Kind>(fault.code)) {
    case ControlRefusal::Kind::contradiction:
      return where + "both required and forbidden: " + bits;
    case ControlRefusal::Kind::unsupported:
      return where + "this processor cannot set: " + bits;
    case ControlRefusal::Kind::forced:
      return where + "this processor insists on: " + bits;
  }
  return where + bits;
}

Error environment(std::string message, std::string hint) {
  return {ErrorKind::environment, std::move(message), std::move(hint)};
}
Error guest(std::string message, std::string hint = {}) {
  return {ErrorKind::guest, std::move(message), std::move(hint)};
}
Error internal(std::string message) { return {ErrorKind::internal, std::move(message), {}}; }

std::string vmx_instruction(const Fault& fault) {
  const std::string text = std::string(instruction_name(fault.code)) + " failed: ";
  if (fault.number == 0) return text + "VMfailInvalid";
  return text + "VM-instruction error " + std::to_string(fault.number) + ", " +
         instruction_error_text(fault.number);
}

Error setup_error(const Fault& fault) {
  switch (fault.kind) {
    case FaultKind::vmx_disabled:
      return environment("IA32_FEATURE_CONTROL is locked with VMX off",
                         "turn VT-x on in the firmware's setup");
    case FaultKind::capability_missing:
      return environment("the processor refuses MSR " + hex(fault.number),
                         "use a processor or a capability profile with VT-x and EPT");
    case FaultKind::control_refused:
      return environment(refusal(fault), "choose a capability profile that has them");
    case FaultKind::ept_unsupported:
      return environment("EPT lacks the 4-level walk or write-back memory",
                         "choose a capability profile that has them");
    case FaultKind::out_of_frames:
      return environment("the hypervisor's own memory is used up",
                         "give the frame allocator a larger range");
    default:
      return {ErrorKind::bad_input,
              "guest memory or a hole in it is not page-aligned, or there are more than 8 holes",
              "use multiples of 4 KiB"};
  }
}

}  // namespace

Error to_error(const Fault& fault) {
  switch (fault.kind) {
    case FaultKind::vmx_instruction:
      return internal(vmx_instruction(fault));
    case FaultKind::vmcs_access:
      return internal(std::string(fault.code == 1 ? "VMWRITE" : "VMREAD") + " of field " +
                      hex(fault.number) + " failed");
    case FaultKind::entry_failure:
      return guest(entry_failure(fault) + at_rip(fault));
    case FaultKind::unhandled_exit:
      return guest("VM exit that is not handled: " + reason_of(fault) + at_rip(fault) +
                   ", qualification " + hex(fault.qualification));
    case FaultKind::mmio_undecodable:
      return guest("MMIO" + at_gpa(fault) +
                   " by bytes that are no instruction: " + bytes_of(fault) + at_rip(fault));
    case FaultKind::mmio_unsupported:
      return guest("MMIO" + at_gpa(fault) +
                   " by an instruction that is not emulated: " + bytes_of(fault) + at_rip(fault));
    case FaultKind::mmio_fetch:
      return guest("the guest executes outside its RAM," + at_gpa(fault) + at_rip(fault));
    case FaultKind::mmio_during_delivery:
      return guest("event delivery or a page walk of the guest touches what is not RAM," +
                   at_gpa(fault) + at_rip(fault));
    case FaultKind::ram_not_mapped:
      return internal("EPT violation inside RAM," + at_gpa(fault) + at_rip(fault));
    case FaultKind::bad_paging_structure:
      return guest("a paging structure of the guest is not in RAM," + at_gpa(fault) +
                   at_rip(fault));
    case FaultKind::triple_fault:
      return guest("triple fault" + at_rip(fault));
    case FaultKind::bad_state:
      return {ErrorKind::bad_input,
              "activity state " + std::to_string(fault.number) + " cannot be run",
              "set the state to active or hlt"};
    case FaultKind::none:
      return internal("no fault");
    default:
      return setup_error(fault);
  }
}

const char* instruction_error_text(uint32_t number) {
  switch (number) {
    case 1:
      return "VMCALL executed in VMX root operation";
    case 2:
      return "VMCLEAR with invalid physical address";
    case 3:
      return "VMCLEAR with VMXON pointer";
    case 4:
      return "VMLAUNCH with non-clear VMCS";
    case 5:
      return "VMRESUME with non-launched VMCS";
    case 6:
      return "VMRESUME after VMXOFF";
    case 7:
      return "VM entry with invalid control fields";
    case 8:
      return "VM entry with invalid host-state fields";
    case 9:
      return "VMPTRLD with invalid physical address";
    case 10:
      return "VMPTRLD with VMXON pointer";
    case 11:
      return "VMPTRLD with incorrect VMCS revision identifier";
    case 12:
      return "VMREAD or VMWRITE of an unsupported VMCS component";
    case 13:
      return "VMWRITE to a read-only VMCS component";
    case 15:
      return "VMXON executed in VMX root operation";
    case 16:
      return "VM entry with invalid executive-VMCS pointer";
    case 17:
      return "VM entry with non-launched executive VMCS";
    case 18:
      return "VM entry with executive-VMCS pointer that is not the VMXON pointer";
    case 19:
      return "VMCALL with non-clear VMCS";
    case 20:
      return "VMCALL with invalid VM-exit control fields";
    case 22:
      return "VMCALL with incorrect MSEG revision identifier";
    case 23:
      return "VMXOFF under dual-monitor treatment";
    case 24:
      return "VMCALL with invalid SMM-monitor features";
    case 25:
      return "VM entry with invalid execution controls in the executive VMCS";
    case 26:
      return "VM entry with events blocked by MOV SS";
    case 28:
      return "invalid operand to INVEPT or INVVPID";
    default:
      return "an undocumented error";
  }
}

}  // namespace cupel::vmx
