// From SVM exit code to Trap, to the monitor's verdict, to the native effect.

#include <cstring>

#include "core/x86/msr.h"
#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {

using x86::Gpr;

void UnicornProcessor::dispatch(uint32_t code) {
  if (stepping_ && code != svm::exception + x86::kDB) end_step();  // it did not complete
  if (code == svm::cpuid) return trap_cpuid();
  if (code >= svm::exception && code < svm::exception + 32) {
    const uint32_t vector = code - svm::exception;
    if (vector == x86::kPF) return trap_page_fault();
    if (vector == x86::kUD) return trap_undefined();
    return trap_exception(vector);
  }
  if (code < svm::read_dr0) return trap_cr(code);
  if (code < svm::exception) return trap_dr(code);
  switch (code) {
    case svm::intr:
      return boundary();
    case svm::rdtsc:
      return trap_rdtsc(TrapKind::rdtsc);
    case svm::rdtscp:
      return trap_rdtsc(TrapKind::rdtscp);
    case svm::msr:
      return trap_msr();
    case svm::io:
      return trap_io();
    case svm::hlt:
      return trap_hlt();
    case svm::invlpg:
      return trap_invlpg();
    case svm::software_interrupt:
      return trap_software_interrupt();
    case svm::icebp:
      return trap_int1();
    case svm::pause:
      return trap_simple(TrapKind::pause);
    case svm::rdpmc:
      return trap_simple(TrapKind::rdpmc);
    case svm::idtr_read:
    case svm::gdtr_read:
    case svm::ldtr_read:
    case svm::tr_read:
    case svm::idtr_write:
    case svm::gdtr_write:
    case svm::ldtr_write:
    case svm::tr_write:
      return trap_table();
    case svm::invd:  // the library tells the two apart wrongly
    case svm::wbinvd:
      return trap_cache();
    case svm::monitor:
      return trap_simple(TrapKind::monitor);
    case svm::mwait:
      return trap_simple(TrapKind::mwait);
    case svm::shutdown:
      return triple_fault();
    default:
      return trap_undefined();  // SVM's own instructions do not exist here
  }
}

void UnicornProcessor::on_direct_trap(uint32_t code, uint32_t information) {
  ++stats_.traps;
  set_engine_error_code(information);
  dispatch(code);
  settle();
  // The loop can be left from the hook only.
  if (quitting_) cpu_vmexit_x86_64(engine_, svm::intr, 0, 0);
}

// Every return behind a switch of stacks is mispredicted: the fewer frames, the better.
[[gnu::flatten]] void UnicornProcessor::on_direct_cpuid() {
  ++stats_.traps;
  if (stepping_) [[unlikely]]
    end_step();
  trap_cpuid();
  settle();
  if (quitting_) cpu_vmexit_x86_64(engine_, svm::intr, 0, 0);
}

bool UnicornProcessor::exits(Trap& trap) {
  if (!monitored_ || !monitor().on_trap(trap)) return false;
  if (!trap.completed) leave();
  return true;
}

void UnicornProcessor::advance(unsigned length) {
  engine_->eip += length;
  if ((engine_->hflags & hf::cs64) == 0) engine_->eip &= 0xffffffffu;
  engine_->hflags &= ~hf::inhibit_irq;
  step_completed_ |= (engine_->eflags & x86::rflags::TF) != 0;
  monitor_step_due_ |= monitor_step_;
  engine_->eflags &= ~x86::rflags::RF;
}

uint64_t UnicornProcessor::linear_rip() const {
  return (engine_->hflags & hf::cs64) != 0 ? engine_->eip
                                           : (engine_->seg[1].base + engine_->eip) & 0xffffffffu;
}

// The page of code at `linear`, through a one-entry cache that is dropped with the TLB, so that it
// is as fresh as the translation the instruction was just executed from.
const std::byte* UnicornProcessor::code_page(uint64_t linear) {
  const uint64_t page = linear & ~(kPageSize - 1);
  auto& own = context();
  if (page == own.fetch_page && own.fetch_from != nullptr) return own.fetch_from;
  const WalkResult r = translate({Gva(linear), Access::fetch, cpl() == 3, false});
  if (r.outcome != WalkResult::Outcome::ok) return nullptr;
  own.fetch_page = page;
  own.fetch_from = memory_.at(r.hpa.align_down(kPageSize), kPageSize);
  return own.fetch_from;
}

unsigned UnicornProcessor::fetch_current(uint8_t* bytes15) {
  const uint64_t linear = linear_rip();
  unsigned have = 0;
  while (have < 15) {
    const uint64_t at = linear + have, offset = at & (kPageSize - 1);
    const std::byte* page = code_page(at);
    if (page == nullptr) break;
    const auto part = static_cast<unsigned>(std::min<uint64_t>(15 - have, kPageSize - offset));
    std::memcpy(bytes15 + have, page + offset, part);
    have += part;
  }
  return have;
}

const Instruction* UnicornProcessor::decode_current() {
  uint8_t bytes[15] = {};
  const unsigned have = fetch_current(bytes);
  const unsigned bits = (engine_->hflags & hf::cs64) != 0   ? 64
                        : (engine_->hflags & hf::cs32) != 0 ? 32
                                                            : 16;
  return decoder_.decode_at(linear_rip(), bits, bytes, have);
}

uint64_t UnicornProcessor::effective_address(const Instruction& i) const {
  const ZydisDecodedOperand* operand = i.memory_operand();
  if (operand == nullptr) return 0;
  const auto& m = operand->mem;
  uint64_t address = static_cast<uint64_t>(m.disp.has_displacement ? m.disp.value : 0);
  if (m.base == ZYDIS_REGISTER_RIP || m.base == ZYDIS_REGISTER_EIP) {
    address += engine_->eip + i.length();
  } else if (const int base = gpr_number(m.base); base >= 0) {
    address += engine_->gpr[base];
  }
  if (const int index = gpr_number(m.index); index >= 0) address += engine_->gpr[index] * m.scale;
  if (i.info.address_width == 16) address &= 0xffff;
  if (i.info.address_width == 32) address &= 0xffffffffu;
  return address;
}

uint64_t UnicornProcessor::linear_address(const Instruction& i) const {
  const ZydisDecodedOperand* operand = i.memory_operand();
  const uint64_t address = effective_address(i);
  if (operand == nullptr) return address;
  unsigned segment = 3;
  switch (operand->mem.segment) {
    case ZYDIS_REGISTER_ES:
      segment = 0;
      break;
    case ZYDIS_REGISTER_CS:
      segment = 1;
      break;
    case ZYDIS_REGISTER_SS:
      segment = 2;
      break;
    case ZYDIS_REGISTER_FS:
      segment = 4;
      break;
    case ZYDIS_REGISTER_GS:
      segment = 5;
      break;
    default:
      break;
  }
  if ((engine_->hflags & hf::cs64) != 0)
    return segment >= 4 ? address + engine_->seg[segment].base : address;
  return (address + engine_->seg[segment].base) & 0xffffffffu;
}

// --- exceptions -------------------------------------------------------------------------------

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

// --- simple instructions ----------------------------------------------------------------------

void UnicornProcessor::trap_cpuid() {
  Trap trap;
  trap.kind = TrapKind::cpuid;
  trap.length = trapped_length(0xa2);
  if (exits(trap)) return;
  auto& r = gpr();
  auto leaf = config_.profile.table.get(static_cast<uint32_t>(r[Gpr::rax]),
                                        static_cast<uint32_t>(r[Gpr::rcx]));
  if (static_cast<uint32_t>(r[Gpr::rax]) == 1)
    leaf.ebx = (leaf.ebx & 0xffffff) | config_.apic_id << 24;
  r[Gpr::rax] = leaf.eax;
  r[Gpr::rbx] = leaf.ebx;
  r[Gpr::rcx] = leaf.ecx;
  r[Gpr::rdx] = leaf.edx;
  advance(trap.length);
}

void UnicornProcessor::trap_rdtsc(TrapKind kind) {
  Trap trap;
  trap.kind = kind;
  trap.length = kind == TrapKind::rdtsc ? trapped_length(0x31) : 3;
  if (exits(trap)) return;
  const uint64_t shown = monitor().visible_tsc(tsc());
  auto& r = gpr();
  r[Gpr::rax] = static_cast<uint32_t>(shown);
  r[Gpr::rdx] = shown >> 32;
  if (kind == TrapKind::rdtscp) r[Gpr::rcx] = static_cast<uint32_t>(tsc_aux_);
  advance(trap.length);
}

void UnicornProcessor::trap_simple(TrapKind kind) {
  const Instruction* decoded = decode_current();
  if (decoded == nullptr) return trap_exception(x86::kUD);
  const Instruction& i = *decoded;
  Trap trap;
  trap.kind = kind;
  trap.length = i.length();
  if (kind == TrapKind::monitor) trap.address = gpr()[Gpr::rax];
  if (exits(trap)) return;
  switch (kind) {
    case TrapKind::rdpmc:
      return raise(x86::kGP, 0);
    // A spin loop waits for time to pass, so it does. Intel Optimization Reference Manual, "Pause
    // Latency in Skylake Client Microarchitecture": up to 140 cycles, about 43 ns at 3.3 GHz.
    case TrapKind::pause:
      clock_.add_ticks(43 * VirtualClock::kTicksPerNanosecond);
      break;
    case TrapKind::monitor:
    case TrapKind::mwait:
      if ((config_.profile.table.get(1, 0).ecx >> 3 & 1) == 0) return trap_exception(x86::kUD);
      break;
    default:
      break;
  }
  advance(trap.length);
}

void UnicornProcessor::trap_cache() {
  const Instruction* i = decode_current();
  const bool invd = i != nullptr && i->info.mnemonic == ZYDIS_MNEMONIC_INVD;
  trap_simple(invd ? TrapKind::invd : TrapKind::wbinvd);
}

void UnicornProcessor::trap_hlt() {
  Trap trap;
  trap.kind = TrapKind::hlt;
  trap.length = trapped_length(0xf4);
  if (exits(trap)) return;
  advance(trap.length);
  activity_ = x86::Activity::hlt;
}

void UnicornProcessor::trap_invlpg() {
  const Instruction* decoded = decode_current();
  if (decoded == nullptr) return trap_exception(x86::kUD);
  const Instruction& i = *decoded;
  Trap trap;
  trap.kind = TrapKind::invlpg;
  trap.length = i.length();
  trap.address = linear_address(i);
  if (exits(trap)) return;
  if (translations_ != nullptr) translations_->page_invalidated(Gva(trap.address));
  flush_tlb_page(Gva(trap.address));
  expire_other_contexts();
  advance(trap.length);
}

// Length of an instruction whose last opcode byte is `opcode`: nearly always without prefixes.
uint8_t UnicornProcessor::trapped_length(uint8_t opcode) {
  const uint64_t linear = linear_rip(), offset = linear & (kPageSize - 1);
  const bool two = opcode != 0xf4;
  const std::byte* page = offset < kPageSize - 1 ? code_page(linear) : nullptr;
  if (page != nullptr) {
    const auto first = static_cast<uint8_t>(page[offset]);
    const auto second = static_cast<uint8_t>(page[offset + 1]);
    if (two && first == 0x0f && second == opcode) return 2;
    if (!two && first == opcode) return 1;
  }
  const Instruction* i = decode_current();
  return i != nullptr ? i->length() : (two ? 2 : 1);
}

}  // namespace cupel::cpu
