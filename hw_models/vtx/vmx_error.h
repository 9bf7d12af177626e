// VM-instruction error numbers. SDM vol. 3C, "VM Instruction Error Numbers".
#pragma once

#include <cstdint>

namespace cupel::vtx {

enum class VmxError : uint32_t {
  none = 0,
  vmcall_in_root = 1,
  vmclear_address = 2,
  vmclear_vmxon_pointer = 3,
  vmlaunch_not_clear = 4,
  vmresume_not_launched = 5,
  vmresume_after_vmxoff = 6,
  entry_controls = 7,
  entry_host_state = 8,
  vmptrld_address = 9,
  vmptrld_vmxon_pointer = 10,
  vmptrld_revision = 11,
  unsupported_component = 12,
  read_only_component = 13,
  vmxon_in_root = 15,
  // 16-20 and 22-25 belong to the dual-monitor treatment of SMM, which no profile offers.
  entry_executive_vmcs_pointer = 16,
  entry_executive_vmcs_not_launched = 17,
  entry_executive_vmcs_not_vmxon_pointer = 18,
  vmcall_not_clear = 19,
  vmcall_exit_controls = 20,
  vmcall_mseg_revision = 22,
  vmxoff_dual_monitor = 23,
  vmcall_smm_features = 24,
  entry_executive_vmcs_controls = 25,
  entry_blocked_by_mov_ss = 26,
  invalid_operand = 28,
};

// Outcome of a VMX instruction whose operands are resolved: flags, or the fault it raises.
enum class Outcome : uint8_t {
  succeed,
  fail_invalid,
  fail_valid,
  undefined_opcode,
  general_protection
};

// VMX-abort indicators. SDM vol. 3C, "VMX Aborts".
enum class VmxAbort : uint32_t {
  none = 0,
  saving_guest_msrs = 1,
  host_pdptes = 2,
  corrupted_vmcs = 3,
  loading_host_msrs = 4,
  machine_check = 5,
  host_mode = 6,
};

}  // namespace cupel::vtx
