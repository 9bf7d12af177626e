// Operands of VMX instructions, as the VM-exit instruction-information field has them.
// SDM vol. 3C, "Information for VM Exits Due to Instruction Execution".
#pragma once

#include "hw_models/cpu/trap.h"

namespace cupel::vtx {

inline x86::Gpr register1(const cpu::Trap& t) {
  return static_cast<x86::Gpr>(t.instruction_info >> 3 & 15);
}
inline x86::Gpr register2(const cpu::Trap& t) {
  return static_cast<x86::Gpr>(t.instruction_info >> 28 & 15);
}
inline bool in_register(const cpu::Trap& t) { return (t.instruction_info >> 10 & 1) != 0; }
inline x86::Seg operand_segment(const cpu::Trap& t) {
  return static_cast<x86::Seg>(t.instruction_info >> 15 & 7);
}

}  // namespace cupel::vtx
