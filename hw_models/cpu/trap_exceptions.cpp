// Exceptions that instructions meet, undefined and software-interrupt instructions among them.

#include <cstring>

#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {

void UnicornProcessor::trap_exception(uint32_t vector) {
  if (vector == x86::kGP && cpl() != 0 && monitored_ && exits_before_privilege_fault()) return;
  std::optional<uint32_t> error_code;
  if (x86::has_error_code(vector)) error_code = engine_error_code();
  uint64_t status = 0;
  if (vector == x86::kDB) {
    status = 1ull << 14;  // single step: the only #DB the engine raises by itself
    if (stepping_) {
      monitor_step_due_ |= monitor_step_;
      status = step_hits_ | (guest_single_steps_ ? status : 0);
      const bool hide = step_pushes_flags_ && !guest_single_steps_;
      end_step();
      if (hide) hide_step_in_pushed_flags();
      if (completion_due_ && complete_virtualized(status)) return;
      if (status == 0) return;  // nobody but us wanted this step
      // The monitor's stop comes before the trap, which stays pending.
      if (monitor_step_due_) {
        pending_debug_ |= status;
        return;
      }
    }
  }
  raise(static_cast<uint8_t>(vector), error_code, status);
}

// MOV DR exits whatever the privilege level. SDM vol. 3C, "Relative Priority of Faults and VM
// Exits".
bool UnicornProcessor::exits_before_privilege_fault() {
  const Instruction* i = decode_current();
  if (i == nullptr || i->info.mnemonic != ZYDIS_MNEMONIC_MOV) return false;
  for (const auto& operand : {i->operands[0], i->operands[1]})
    if (ZydisRegisterGetClass(operand.reg.value) == ZYDIS_REGCLASS_DEBUG) {
      Trap trap = debug_register_trap(*i);
      return exits(trap);
    }
  return false;
}

// Data breakpoints are traps: the instruction completes first. SDM vol. 3B, "Data Memory and I/O
// Breakpoint Exception Conditions".
void UnicornProcessor::step_over(uint64_t hits) {
  stepping_ = true;
  step_hits_ = hits;
  guest_single_steps_ = (engine_->eflags & x86::rflags::TF) != 0;
  engine_->eflags |= x86::rflags::TF;
  const Instruction* i = decode_current();
  step_pushes_flags_ = i != nullptr && (i->info.mnemonic == ZYDIS_MNEMONIC_PUSHF ||
                                        i->info.mnemonic == ZYDIS_MNEMONIC_PUSHFD ||
                                        i->info.mnemonic == ZYDIS_MNEMONIC_PUSHFQ);
}

void UnicornProcessor::hide_step_in_pushed_flags() {
  if (completion_due_) {
    if (std::byte* image = memory_.at(virtualized_at_, 2))
      image[1] &= ~std::byte{x86::rflags::TF >> 8};
    return;
  }
  const bool wide = (engine_->hflags & hf::cs64) != 0;
  const uint64_t top =
      wide ? engine_->gpr[4] : (engine_->seg[2].base + engine_->gpr[4]) & 0xffffffffu;
  uint16_t image = 0;
  if (copy_linear(top, &image, 2, Access::read, cpl() == 3) != Copy::ok) return;
  image = static_cast<uint16_t>(image & ~x86::rflags::TF);
  (void)copy_linear(top, &image, 2, Access::write, cpl() == 3);
}

void UnicornProcessor::end_step() {
  stepping_ = false;
  if (!guest_single_steps_) engine_->eflags &= ~x86::rflags::TF;
}

// Was it the stack operand of the current instruction that reached `address`?
// SDM vol. 3A, "Interrupt 12—Stack Fault Exception (#SS)".
bool UnicornProcessor::through_stack_segment(uint64_t address) {
  const Instruction* i = decode_current();
  if (i == nullptr) return false;
  bool stack = false, other = false;
  for (unsigned n = 0; n < i->info.operand_count; ++n) {
    const auto& operand = i->operands[n];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    (operand.mem.segment == ZYDIS_REGISTER_SS ? stack : other) = true;
  }
  constexpr uint64_t largest_push = 64;  // of one instruction with another memory operand
  const uint64_t top = engine_->gpr[4];
  return stack && (!other || address - (top - largest_push) <= 2 * largest_push);
}

void UnicornProcessor::trap_page_fault() {
  const FillFault fault = fill_fault_;
  fill_fault_.kind = FillFault::Kind::none;
  switch (fault.kind) {
    case FillFault::Kind::physical:
      if (!monitored_) return triple_fault();  // memory that does not exist
      monitor().on_translation_fault(fault.refused);
      return leave();
    case FillFault::Kind::non_canonical:
      return raise(through_stack_segment(fault.address) ? x86::kSS : x86::kGP, 0);
    case FillFault::Kind::code_page_watched: {
      const bool resumed = (engine_->eflags & x86::rflags::RF) != 0;
      const uint64_t hits = resumed ? 0 : breakpoints_.hits(fault.address, 1, Access::fetch);
      return hits != 0 ? raise(x86::kDB, {}, hits) : step_over(0);
    }
    case FillFault::Kind::data_breakpoint:
      return step_over(fault.address);
    case FillFault::Kind::virtualized_write:
      return step_over(0);
    // Where nothing answers, ones are read, and FFH FFH is no instruction.
    case FillFault::Kind::fetch_from_device:
      return raise(x86::kUD);
    default:
      return raise_page_fault(fault.address, fault.error_code);
  }
}

namespace {

// The instructions VMX adds, by their opcode bytes after prefixes. SDM vol. 2D and 3C.
VmxInstruction vmx_instruction(const Instruction& i) {
  switch (i.info.mnemonic) {
    case ZYDIS_MNEMONIC_VMCLEAR:
      return VmxInstruction::vmclear;
    case ZYDIS_MNEMONIC_VMLAUNCH:
      return VmxInstruction::vmlaunch;
    case ZYDIS_MNEMONIC_VMPTRLD:
      return VmxInstruction::vmptrld;
    case ZYDIS_MNEMONIC_VMPTRST:
      return VmxInstruction::vmptrst;
    case ZYDIS_MNEMONIC_VMREAD:
      return VmxInstruction::vmread;
    case ZYDIS_MNEMONIC_VMRESUME:
      return VmxInstruction::vmresume;
    case ZYDIS_MNEMONIC_VMWRITE:
      return VmxInstruction::vmwrite;
    case ZYDIS_MNEMONIC_VMXOFF:
      return VmxInstruction::vmxoff;
    case ZYDIS_MNEMONIC_VMXON:
      return VmxInstruction::vmxon;
    case ZYDIS_MNEMONIC_INVEPT:
      return VmxInstruction::invept;
    case ZYDIS_MNEMONIC_INVVPID:
      return VmxInstruction::invvpid;
    case ZYDIS_MNEMONIC_VMFUNC:
      return VmxInstruction::vmfunc;
    default:
      return VmxInstruction::none;
  }
}

}  // namespace

void UnicornProcessor::trap_undefined() {
  const Instruction* decoded = decode_current();
  // Unknown to the library, which has another use for its opcode.
  if (decoded != nullptr && decoded->info.mnemonic == ZYDIS_MNEMONIC_INT1) return trap_int1();
  if (decoded != nullptr && monitored_) {
    const Instruction& i = *decoded;
    Trap trap;
    trap.length = i.length();
    trap.vmx = vmx_instruction(i);
    if (i.info.mnemonic == ZYDIS_MNEMONIC_VMCALL) {
      trap.kind = TrapKind::vmcall;
      if (exits(trap)) return;
    } else if (trap.vmx != VmxInstruction::none) {
      trap.kind = TrapKind::vmx_instruction;
      trap.instruction_info = i.vmx_information;
      if (const auto* memory = i.memory_operand()) {
        trap.displacement = static_cast<uint64_t>(memory->mem.disp.value);
        trap.address = linear_address(i);
      }
      if (exits(trap)) return;
    } else if (i.info.mnemonic == ZYDIS_MNEMONIC_GETSEC ||
               i.info.mnemonic == ZYDIS_MNEMONIC_XSETBV) {
      trap.kind = i.info.mnemonic == ZYDIS_MNEMONIC_GETSEC ? TrapKind::getsec : TrapKind::xsetbv;
      const bool enabled = trap.kind == TrapKind::getsec ? (paging_.cr4 & x86::cr4::SMXE) != 0
                                                         : (paging_.cr4 & x86::cr4::OSXSAVE) != 0;
      if (enabled && exits(trap)) return;
    }
  }
  trap_exception(x86::kUD);
}

// INT1: a #DB without a status, whose gate is not checked against CPL. SDM vol. 2A, "INT n/INTO/
// INT3/INT1—Call to Interrupt Procedure".
void UnicornProcessor::trap_int1() {
  Event event;
  event.vector = x86::kDB;
  event.type = x86::EventType::privileged_software_exception;
  const Instruction* i = decode_current();
  event.instruction_length = i != nullptr ? i->length() : 1;
  Trap trap;
  trap.kind = TrapKind::exception;
  trap.length = event.instruction_length;
  trap.vector = event.vector;
  trap.type = event.type;
  if (!exits(trap)) deliver(event);
}

void UnicornProcessor::trap_software_interrupt() {
  uint8_t bytes[15];
  const unsigned have = fetch_current(bytes);
  unsigned at = 0;
  while (at + 1 < have && bytes[at] != 0xcc && bytes[at] != 0xcd && bytes[at] != 0xce) ++at;
  Event event;
  event.type = x86::EventType::software_exception;
  event.instruction_length = static_cast<uint8_t>(at + 1);
  if (bytes[at] == 0xcc) {
    event.vector = x86::kBP;
  } else if (bytes[at] == 0xce) {
    event.vector = x86::kOF;
  } else {
    event.type = x86::EventType::software_interrupt;
    event.vector = bytes[at + 1];
    event.instruction_length = static_cast<uint8_t>(at + 2);
  }
  Trap trap;
  trap.kind = event.type == x86::EventType::software_interrupt ? TrapKind::software_interrupt
                                                               : TrapKind::exception;
  trap.length = event.instruction_length;
  trap.vector = event.vector;
  trap.type = event.type;
  if (!exits(trap)) deliver(event);
}

}  // namespace cupel::cpu
