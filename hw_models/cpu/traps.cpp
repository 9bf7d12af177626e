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
