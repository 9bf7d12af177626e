// Delivery of exceptions and interrupts through the guest's IDT, in every mode.
// SDM vol. 3A, ch. "Interrupt and Exception Handling".

#include <cstring>

#include "hw_models/cpu/self_check.h"
#include "hw_models/cpu/unicorn_processor.h"

namespace cupel::cpu {

using x86::EventType;
using x86::Gpr;
using x86::Seg;

namespace {

constexpr uint64_t kPresentBit = 1ull << 47;

bool external(const Event& e) {
  return e.type == EventType::external_interrupt || e.type == EventType::nmi ||
         e.type == EventType::hardware_exception ||
         e.type == EventType::privileged_software_exception;
}
bool software(const Event& e) {
  return e.type == EventType::software_interrupt || e.type == EventType::software_exception;
}

// Instructions that deliver an event push the address behind them.
uint64_t pushed_length(const Event& e) {
  return software(e) || e.type == EventType::privileged_software_exception ? e.instruction_length
                                                                           : 0;
}

// SDM vol. 3A, "Interrupt 8—Double Fault Exception (#DF)", table of exception classes.
enum class FaultClass { benign, contributory, page_fault };
FaultClass fault_class(const Event& e) {
  if (e.type != EventType::hardware_exception) return FaultClass::benign;
  switch (e.vector) {
    case x86::kDE:
    case x86::kTS:
    case x86::kNP:
    case x86::kSS:
    case x86::kGP:
    case x86::kCP:
      return FaultClass::contributory;
    case x86::kPF:
    case x86::kVE:
      return FaultClass::page_fault;
    default:
      return FaultClass::benign;
  }
}

Trap exception_trap(const Event& fault, uint64_t address) {
  Trap trap;
  trap.kind = TrapKind::exception;
  trap.vector = fault.vector;
  trap.has_error_code = fault.has_error_code;
  trap.error_code = fault.error_code;
  trap.address = address;
  return trap;
}

// Faults push RF set; traps and interrupts push it as it is.
bool is_fault(const Event& e) {
  return e.type == EventType::hardware_exception && e.vector != x86::kDB && e.vector != x86::kDF &&
         e.vector != x86::kMC;
}

x86::Segment from_descriptor(uint16_t selector, uint64_t d) {
  x86::Segment s;
  s.selector = selector;
  s.access = static_cast<uint32_t>(d >> 40) & 0xf0ff;
  s.limit = static_cast<uint32_t>((d & 0xffff) | (d >> 32 & 0xf0000));
  if ((d >> 55 & 1) != 0) s.limit = s.limit << 12 | 0xfff;
  s.base = (d >> 16 & 0xffffff) | (d >> 32 & 0xff000000);
  return s;
}

}  // namespace

// --- raising ----------------------------------------------------------------------------------

void UnicornProcessor::raise(uint8_t vector, std::optional<uint32_t> error_code,
                             uint64_t debug_status) {
  Trap trap;
  trap.kind = TrapKind::exception;
  trap.vector = vector;
  trap.has_error_code = error_code.has_value();
  trap.error_code = error_code.value_or(0);
  trap.debug_status = debug_status;
  if (exits(trap)) return;
  if (vector == x86::kDB) {
    dr_[6] |= debug_status;
    dr_[7] &= ~(1ull << 13);
  }
  deliver({vector, EventType::hardware_exception, trap.has_error_code, trap.error_code, 0});
}

void UnicornProcessor::raise_page_fault(uint64_t address, uint32_t error_code) {
  ++stats_.page_faults;
  // A page fault invalidates what is cached for its address: rights that were too small.
  if ((error_code & x86::pf::P) != 0) {
    context().fetch_from = nullptr;
    drop_page(address & ~(kPageSize - 1));
  }
  Trap trap;
  trap.kind = TrapKind::exception;
  trap.vector = x86::kPF;
  trap.has_error_code = true;
  trap.error_code = error_code;
  trap.address = address;
  if (exits(trap)) return;
  cr2_ = address;
  deliver({x86::kPF, EventType::hardware_exception, true, error_code, 0});
}

void UnicornProcessor::triple_fault() {
  Trap trap;
  trap.kind = TrapKind::triple_fault;
  vectoring_.reset();
  if (exits(trap)) return;
  activity_ = x86::Activity::shutdown;
}

// Delivers `first`, or what its faults turn it into, until a handler's first instruction is next.
void UnicornProcessor::deliver(const Event& first) {
  Event event = first;
  iret_unblocked_nmi_ = false;
  for (;;) {
    vectoring_ = event;
    nested_.reset();
    parked_in_delivery_ = false;
    if (event.type == EventType::external_interrupt) ++stats_.interrupts;
    const bool done = (paging_.cr0 & x86::cr0::PE) == 0 ? deliver_real(event)
                      : paging_.long_mode()             ? deliver_long(event)
                                                        : deliver_protected(event);
    if (done) {
      if (event.type == EventType::nmi) nmi_blocked_ = true;
      engine_->hflags &= ~hf::inhibit_irq;
      vectoring_.reset();
      monitor_step_due_ |= monitor_step_;
      return;
    }
    if (parked_in_delivery_) return;
    if (!next_fault(event)) return;
  }
}

// Turns the fault met while delivering `event` into the next event; false when the guest is gone
// or the monitor took over. The monitor sees the fault itself before what the two make together.
// SDM vol. 3C, "Other Causes of VM Exits": a triple fault exits if the exception met while calling
// the double-fault handler "does not cause a VM exit due to the exception bitmap".
bool UnicornProcessor::next_fault(Event& event) {
  const FaultClass before = fault_class(event), now = fault_class(nested_->event);
  Trap fault = exception_trap(nested_->event, nested_->address);
  if (exits(fault)) return false;
  if (event.type == EventType::hardware_exception && event.vector == x86::kDF) {
    triple_fault();
    return false;
  }
  const bool doubled = (before == FaultClass::contributory && now == FaultClass::contributory) ||
                       (before == FaultClass::page_fault && now != FaultClass::benign);
  if (doubled) {
    event = {x86::kDF, EventType::hardware_exception, true, 0, 0};
    Trap double_fault = exception_trap(event, 0);
    return !exits(double_fault);
  }
  event = nested_->event;
  if (event.vector == x86::kPF) cr2_ = nested_->address;
  return true;
}

// Notes a fault met during delivery; the caller unwinds with false.
bool UnicornProcessor::delivery_fault(uint8_t vector, std::optional<uint32_t> error_code) {
  nested_ = NestedFault{
      {vector, EventType::hardware_exception, error_code.has_value(), error_code.value_or(0), 0},
      0};
  return false;
}

// --- guest memory -----------------------------------------------------------------------------

// `probe`: writes nothing, but meets every fault that a write would.
UnicornProcessor::Copy UnicornProcessor::copy_linear(uint64_t linear, void* data, unsigned size,
                                                     Access access, bool user, bool probe) {
  auto* at = static_cast<std::byte*>(data);
  while (size > 0) {
    const unsigned part =
        static_cast<unsigned>(std::min<uint64_t>(size, kPageSize - (linear & (kPageSize - 1))));
    const bool smap = !user && (paging_.cr4 & x86::cr4::SMAP) != 0;
    const WalkResult r = translate({Gva(linear), access, user, smap, part});
    if (r.outcome == WalkResult::Outcome::page_fault) {
      if (vectoring_) {
        nested_ =
            NestedFault{{x86::kPF, EventType::hardware_exception, true, r.error_code, 0}, linear};
      } else {
        raise_page_fault(linear, r.error_code);
      }
      return Copy::page_fault;
    }
    if (r.outcome == WalkResult::Outcome::physical_fault) {
      parked_in_delivery_ = true;
      if (monitored_) {
        monitor().on_translation_fault(r.last);
        leave();
      } else {
        triple_fault();
      }
      return Copy::parked;
    }
    std::byte* host = memory_.at(r.hpa, part);
    if (access == Access::write) {
      if (r.virtualized && !probe) {
        monitor().on_virtualized_write(r.last);
        completion_due_ = true;
      }
      if (host != nullptr && !probe) {
        if (holds_code(r.hpa.value())) invalidate_code(r.hpa, part);
        std::memcpy(host, at, part);
      }
    } else if (host != nullptr) {
      std::memcpy(at, host, part);
    } else {
      std::memset(at, 0xff, part);
    }
    at += part;
    linear += part;
    size -= part;
  }
  return Copy::ok;
}

// SDM vol. 1, "Canonical Addressing"; the stack segment's own exception: vol. 3A, "Interrupt
// 12—Stack Fault Exception (#SS)".
bool UnicornProcessor::operand_address_valid(uint64_t linear, unsigned size, Seg segment) {
  if (!paging_.long_mode()) return true;
  for (const uint64_t at : {linear, linear + size - 1}) {
    const int64_t top = static_cast<int64_t>(at) >> 47;
    if (top == 0 || top == -1) continue;
    raise(segment == Seg::ss ? x86::kSS : x86::kGP, 0);
    return false;
  }
  return true;
}
bool UnicornProcessor::read_operand(uint64_t linear, void* data, unsigned size, Seg segment) {
  return operand_address_valid(linear, size, segment) &&
         copy_linear(linear, data, size, Access::read, cpl() == 3) == Copy::ok;
}
bool UnicornProcessor::write_operand(uint64_t linear, const void* data, unsigned size,
                                     Seg segment) {
  return operand_address_valid(linear, size, segment) &&
         copy_linear(linear, const_cast<void*>(data), size, Access::write, cpl() == 3) == Copy::ok;
}

bool UnicornProcessor::read_system(uint64_t linear, void* data, unsigned size) {
  return copy_linear(linear, data, size, Access::read, false) == Copy::ok;
}
bool UnicornProcessor::write_stack(uint64_t linear, const void* data, unsigned size, bool user) {
  return copy_linear(linear, const_cast<void*>(data), size, Access::write, user) == Copy::ok;
}

// False: a fault is noted (or the processor has parked). `in_table` false: outside the table.
bool UnicornProcessor::load_descriptor(uint16_t selector, uint64_t& low, bool& in_table) {
  const bool local = (selector & 4) != 0;
  const EngineSegment& table = local ? engine_->ldt : engine_->gdt;
  const uint32_t offset = selector & ~7u;
  in_table = offset + 7u <= table.limit && !(local && (table.flags >> 15 & 1) == 0);
  if (!in_table) return true;
  return read_system(table.base + offset, &low, 8);
}

// --- real mode --------------------------------------------------------------------------------

bool UnicornProcessor::deliver_real(const Event& event) {
  const uint32_t offset = event.vector * 4u;
  if (offset + 3 > engine_->idt.limit)
    return delivery_fault(event.vector == x86::kGP ? x86::kDF : x86::kGP, {});
  uint16_t target[2];
  if (!read_system(engine_->idt.base + offset, target, 4)) return false;
  const uint64_t next = engine_->eip + pushed_length(event);
  const uint16_t frame[3] = {static_cast<uint16_t>(next),
                             static_cast<uint16_t>(engine_->seg[1].selector),
                             static_cast<uint16_t>(rflags())};
  const uint16_t sp = static_cast<uint16_t>(engine_->gpr[4] - 6);
  if (!write_stack(engine_->seg[2].base + sp, frame, 6, false)) return false;
  engine_->gpr[4] = (engine_->gpr[4] & ~0xffffull) | sp;
  engine_->eflags &= ~(x86::rflags::IF | x86::rflags::TF | x86::rflags::AC | x86::rflags::RF);
  x86::Segment cs = segment(Seg::cs);
  cs.selector = target[1];
  cs.base = target[1] * 16u;
  set_segment(Seg::cs, cs);
  engine_->eip = target[0];
  return true;
}

// --- protected mode ---------------------------------------------------------------------------

// Checks shared by protected and long mode: the gate's code segment. Returns false with the fault
// noted; `inner` = the handler runs at a lower CPL.
bool UnicornProcessor::check_target(const Event& event, uint16_t selector, x86::Segment& cs,
                                    bool& inner) {
  const uint32_t ext = external(event) ? 1 : 0;
  if ((selector & ~3u) == 0) return delivery_fault(x86::kGP, ext);
  uint64_t descriptor = 0;
  bool in_table = false;
  if (!load_descriptor(selector, descriptor, in_table)) return false;
  const uint32_t code = (selector & ~7u) | (selector & 4u) | ext;
  if (!in_table) return delivery_fault(x86::kGP, code);
  cs = from_descriptor(selector, descriptor);
  const bool is_code = (cs.access & 0x18) == 0x18;
  if (!is_code || cs.dpl() > cpl()) return delivery_fault(x86::kGP, code);
  if (paging_.long_mode() && (!cs.long_mode() || (cs.access >> 14 & 1) != 0))
    return delivery_fault(x86::kGP, code);
  if ((descriptor & kPresentBit) == 0) return delivery_fault(x86::kNP, code);
  const bool conforming = (cs.access & 4) != 0;
  inner = !conforming && cs.dpl() < cpl();
  const unsigned new_cpl = conforming ? cpl() : cs.dpl();
  cs.selector = static_cast<uint16_t>((selector & ~3u) | new_cpl);
  cs.access |= 1;  // accessed
  return true;
}

bool UnicornProcessor::deliver_protected(const Event& event) {
  const uint32_t ext = external(event) ? 1 : 0;
  const uint32_t gate_error = event.vector * 8u + 2 + ext;
  if (event.vector * 8u + 7 > engine_->idt.limit) return delivery_fault(x86::kGP, gate_error);
  uint64_t gate = 0;
  if (!read_system(engine_->idt.base + event.vector * 8u, &gate, 8)) return false;
  const unsigned type = gate >> 40 & 0x1f, dpl = gate >> 45 & 3;
  const bool is_gate = type == 5 || type == 6 || type == 7 || type == 14 || type == 15;
  if (!is_gate || (software(event) && dpl < cpl())) return delivery_fault(x86::kGP, gate_error);
  if ((gate & kPresentBit) == 0) return delivery_fault(x86::kNP, gate_error);
  if (type == 5) {
    Trap trap;
    trap.kind = TrapKind::task_switch;
    trap.address = gate >> 16 & 0xffff;
    parked_in_delivery_ = true;
    if (!exits(trap)) triple_fault();  // hardware task switches by gate are not modelled
    return false;
  }
  const bool wide = type >= 14;
  x86::Segment cs;
  bool inner = false;
  if (!check_target(event, static_cast<uint16_t>(gate >> 16), cs, inner)) return false;
  const bool v86 = (engine_->eflags & x86::rflags::VM) != 0;
  if (v86 && (!inner || cs.dpl() != 0)) return delivery_fault(x86::kGP, (cs.selector & ~3u) | ext);

  x86::Segment ss = segment(Seg::ss);
  uint64_t sp = engine_->gpr[4];
  if (inner && !inner_stack(event, cs.dpl(), ss, sp)) return false;

  uint64_t frame[11];
  unsigned count = 0;
  if (event.has_error_code) frame[count++] = event.error_code;
  frame[count++] = engine_->eip + pushed_length(event);
  frame[count++] = engine_->seg[1].selector;
  frame[count++] = rflags() | (is_fault(event) ? x86::rflags::RF : 0);
  if (inner) {
    frame[count++] = engine_->gpr[4];
    frame[count++] = engine_->seg[2].selector;
  }
  if (v86)
    for (const unsigned s : {0u, 3u, 4u, 5u}) frame[count++] = engine_->seg[s].selector;

  const unsigned size = wide ? 4 : 2;
  uint8_t bytes[44];
  for (unsigned i = 0; i < count; ++i) std::memcpy(bytes + i * size, &frame[i], size);
  const uint64_t mask = (ss.access >> 14 & 1) != 0 ? 0xffffffffull : 0xffffull;
  const uint64_t top = (sp - count * size) & mask;
  if (!write_stack((ss.base + top) & 0xffffffffu, bytes, count * size, cs.dpl() == 3)) return false;

  finish_delivery(cs, (type & 1) == 0);
  if (inner) set_segment(Seg::ss, ss);
  if (v86)
    for (const Seg s : {Seg::es, Seg::ds, Seg::fs, Seg::gs}) set_segment(s, x86::Segment{});
  engine_->gpr[4] = (engine_->gpr[4] & ~mask) | top;
  const uint64_t offset = (gate & 0xffff) | (gate >> 32 & 0xffff0000);
  engine_->eip = wide ? offset : offset & 0xffff;
  recompute_hflags();
  return true;
}

// SS:ESP of the inner privilege level from the TSS. SDM vol. 3A, "Stack Switching".
bool UnicornProcessor::inner_stack(const Event& event, unsigned level, x86::Segment& ss,
                                   uint64_t& sp) {
  const uint32_t ext = external(event) ? 1 : 0;
  const EngineSegment& tr = engine_->tr;
  const bool wide = (tr.flags >> 8 & 8) != 0;  // 32-bit TSS
  const uint32_t offset = wide ? 4 + level * 8 : 2 + level * 4;
  if (offset + (wide ? 7u : 3u) > tr.limit)
    return delivery_fault(x86::kTS, (tr.selector & ~3u) | ext);
  uint16_t selector = 0;
  if (wide) {
    uint32_t pair[2];
    if (!read_system(tr.base + offset, pair, 8)) return false;
    sp = pair[0];
    selector = static_cast<uint16_t>(pair[1]);
  } else {
    uint16_t pair[2];
    if (!read_system(tr.base + offset, pair, 4)) return false;
    sp = pair[0];
    selector = pair[1];
  }
  const uint32_t code = (selector & ~3u) | ext;
  uint64_t descriptor = 0;
  bool in_table = false;
  if ((selector & ~3u) == 0) return delivery_fault(x86::kTS, ext);
  if (!load_descriptor(selector, descriptor, in_table)) return false;
  ss = from_descriptor(selector, descriptor);
  const bool writable_data = (ss.access & 0x1a) == 0x12;
  if (!in_table || (selector & 3u) != level || ss.dpl() != level || !writable_data)
    return delivery_fault(x86::kTS, code);
  if ((descriptor & kPresentBit) == 0) return delivery_fault(x86::kSS, code);
  ss.access |= 1;
  return true;
}

void UnicornProcessor::finish_delivery(const x86::Segment& cs, bool interrupt_gate) {
  engine_->eflags &= ~(x86::rflags::TF | x86::rflags::NT | x86::rflags::RF | x86::rflags::VM);
  if (interrupt_gate) engine_->eflags &= ~x86::rflags::IF;
  set_segment(Seg::cs, cs);
  EngineSegment& ss = engine_->seg[2];
  ss.flags = (ss.flags & ~(3u << 13)) | (cs.selector & 3u) << 13;  // CPL is SS.DPL
  recompute_hflags();
}

// --- long mode --------------------------------------------------------------------------------

bool UnicornProcessor::deliver_long(const Event& event) {
  const uint32_t ext = external(event) ? 1 : 0;
  const uint32_t gate_error = event.vector * 8u + 2 + ext;
  if (event.vector * 16u + 15 > engine_->idt.limit) return delivery_fault(x86::kGP, gate_error);
  uint64_t gate[2];
  if (!read_system(engine_->idt.base + event.vector * 16u, gate, 16)) return false;
  const unsigned type = gate[0] >> 40 & 0x1f, dpl = gate[0] >> 45 & 3, ist = gate[0] >> 32 & 7;
  if ((type != 14 && type != 15) || (software(event) && dpl < cpl()))
    return delivery_fault(x86::kGP, gate_error);
  if ((gate[0] & kPresentBit) == 0) return delivery_fault(x86::kNP, gate_error);
  x86::Segment cs;
  bool inner = false;
  if (!check_target(event, static_cast<uint16_t>(gate[0] >> 16), cs, inner)) return false;

  uint64_t sp = engine_->gpr[4];
  if (inner || ist != 0) {
    const uint32_t offset = ist != 0 ? 28 + 8 * ist : 4 + 8 * cs.dpl();
    if (offset + 7 > engine_->tr.limit)
      return delivery_fault(x86::kTS, (engine_->tr.selector & ~3u) | ext);
    if (!read_system(engine_->tr.base + offset, &sp, 8)) return false;
  }
  uint64_t frame[6];
  unsigned count = 0;
  if (event.has_error_code) frame[count++] = event.error_code;
  frame[count++] = engine_->eip + pushed_length(event);
  frame[count++] = engine_->seg[1].selector;
  frame[count++] = rflags() | (is_fault(event) ? x86::rflags::RF : 0);
  frame[count++] = engine_->gpr[4];
  frame[count++] = engine_->seg[2].selector;
  const uint64_t top = (sp & ~15ull) - 8 * count;
  const int64_t sign = static_cast<int64_t>(top) >> 47;
  if (sign != 0 && sign != -1) return delivery_fault(x86::kSS, ext);
  if (!write_stack(top, frame, 8 * count, (cs.selector & 3) == 3)) return false;

  const unsigned new_cpl = cs.selector & 3u;
  if (inner) {
    // A null SS of the new CPL. SDM vol. 3A, "Stack Switching in IA-32e Mode".
    x86::Segment ss;
    ss.selector = static_cast<uint16_t>(new_cpl);
    ss.access = x86::Segment::kUnusable | new_cpl << 5;
    set_segment(Seg::ss, ss);
  }
  finish_delivery(cs, type == 14);
  engine_->gpr[4] = top;
  engine_->eip = (gate[0] & 0xffff) | (gate[0] >> 32 & 0xffff0000) | gate[1] << 32;
  return true;
}

// --- SYSCALL ----------------------------------------------------------------------------------

// SDM vol. 2B, "SYSCALL—Fast System Call".
void UnicornProcessor::on_syscall(uint64_t length, uintptr_t return_to) {
  if ((paging_.efer & x86::efer::SCE) == 0 || (engine_->hflags & hf::cs64) == 0)
    cpu_vmexit_x86_64(engine_, svm::exception + x86::kUD, 0, return_to);
  const EngineLayout& at = engine_layout();
  const uint64_t star = env64(at.star), flags = unstepped(rflags());
  engine_->gpr[1] = engine_->eip + length;
  engine_->gpr[11] = flags & ~x86::rflags::RF;
  const uint16_t selector = static_cast<uint16_t>(star >> 32 & 0xfffc);
  set_segment(Seg::ss, {static_cast<uint16_t>(selector + 8), 0xc093, 0xffffffff, 0});
  set_segment(Seg::cs, {selector, 0xa09b, 0xffffffff, 0});
  set_rflags(flags & ~(env64(at.fmask) | x86::rflags::RF));
  engine_->eip = env64(at.lstar);
}

}  // namespace cupel::cpu
