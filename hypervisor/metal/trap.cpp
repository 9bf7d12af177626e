#include "hypervisor/metal/trap.h"

#include <array>

#include "hypervisor/metal/console.h"
#include "hypervisor/metal/instructions.h"

extern "C" {
extern const char trap_stubs[];
extern const char user_return[];
extern uint64_t user_return_rsp;
struct Fixup {
  uint64_t fault, resume;
};
extern const Fixup fixups_begin[], fixups_end[];
}

namespace cupel::metal {
namespace {

constexpr unsigned kStubSize = 16;
constexpr uint8_t kUserReturn = 0x30, kFirstInterrupt = 0x20;
constexpr uint32_t kApicBase = 0xfee00000;

// Pushed by trap_common, the stub and the processor.
struct Frame {
  uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
  uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

// SDM vol. 3A, "Task Management in 64-bit Mode".
struct [[gnu::packed]] Tss {
  uint32_t reserved0;
  uint64_t rsp[3];
  uint64_t reserved1;
  uint64_t ist[7];
  uint64_t reserved2;
  uint16_t reserved3;
  uint16_t io_map;
};
static_assert(sizeof(Tss) == 104);

// SDM vol. 3A, "64-Bit IDT Gate Descriptors".
struct Gate {
  uint16_t offset_low, selector;
  uint8_t ist, attributes;
  uint16_t offset_middle;
  uint32_t offset_high, reserved;
};
static_assert(sizeof(Gate) == 16);

struct [[gnu::packed]] TablePointer {
  uint16_t limit;
  uint64_t base;
};

constexpr uint8_t kInterruptGate = 0x8e, kUserInterruptGate = 0xee;
constexpr unsigned kIstOfDoubleFault = 1;

constexpr unsigned kFirstTss = selector::tss / 8;  // a TSS descriptor takes two entries

alignas(16) std::array<uint64_t, kFirstTss + 2 * MOST_PROCESSORS> gdt;

// What each processor has for itself.
struct alignas(16) PerProcessor {
  Tss tss{};
  alignas(16) std::array<Gate, 256> idt{};
  alignas(16) std::array<uint8_t, 16384> trap_stack{};
  alignas(16) std::array<uint8_t, 4096> double_fault_stack{};
  Trap trap{};
  std::array<uint32_t, 256> interrupts{};
  bool count_nmis = false;
};
constinit std::array<PerProcessor, MOST_PROCESSORS> processors;

PerProcessor& mine() { return processors[this_processor()]; }
uint16_t tss_selector(unsigned n) { return static_cast<uint16_t>(selector::tss + 16 * n); }

uint64_t address_of(const void* p) { return reinterpret_cast<uint64_t>(p); }

void fill_gdt() {
  gdt = {0,
         0x00af9b000000ffff,   // 64-bit code
         0x00cf93000000ffff,   // data
         0x00affb000000ffff,   // 64-bit code, DPL 3
         0x00cff3000000ffff,   // data, DPL 3
         0x00cf9b000000ffff};  // 32-bit code
}

void fill_tss(unsigned n) {
  PerProcessor& p = processors[n];
  p.tss.rsp[0] = address_of(p.trap_stack.data() + p.trap_stack.size());
  p.tss.ist[0] = address_of(p.double_fault_stack.data() + p.double_fault_stack.size());
  p.tss.io_map = sizeof p.tss;
  const uint64_t base = address_of(&p.tss);
  uint64_t* const descriptor = &gdt[kFirstTss + 2 * n];
  descriptor[0] =
      (sizeof(Tss) - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
  descriptor[1] = base >> 32;
}

void fill_idt(unsigned n) {
  for (unsigned vector = 0; vector < 256; ++vector) {
    const uint64_t at = address_of(trap_stubs) + (n * 256 + vector) * kStubSize;
    const bool from_user = vector == kUserReturn || vector == x86::kBP || vector == x86::kOF;
    processors[n].idt[vector] = {static_cast<uint16_t>(at),
                                 selector::code,
                                 static_cast<uint8_t>(vector == x86::kDF ? kIstOfDoubleFault : 0),
                                 from_user ? kUserInterruptGate : kInterruptGate,
                                 static_cast<uint16_t>(at >> 16),
                                 static_cast<uint32_t>(at >> 32),
                                 0};
  }
}

void load_tables(unsigned n) {
  const TablePointer gdtr{gdt_limit(), gdt_address()};
  const TablePointer idtr{sizeof processors[n].idt - 1, address_of(processors[n].idt.data())};
  // TR is loaded again when a processor starts again: LTR wants a TSS that is not busy.
  gdt[kFirstTss + 2 * n] &= ~(2ull << 40);
  asm volatile(
      "lgdt %0\n lidt %1\n"
      "pushq %2\n leaq 1f(%%rip), %%rax\n pushq %%rax\n lretq\n 1:\n"
      "mov %3, %%ds\n mov %3, %%es\n mov %3, %%ss\n ltr %w4"
      :
      : "m"(gdtr), "m"(idtr), "i"(selector::code), "r"(uint32_t{selector::data}),
        "r"(uint32_t{tss_selector(n)})
      : "rax", "memory");
}

// Source: Intel 8259A data sheet, "Initialization Command Words". Vectors 20H-2FH, all masked.
void mask_8259() {
  out8(0x20, 0x11);
  out8(0xa0, 0x11);
  out8(0x21, 0x20);
  out8(0xa1, 0x28);
  out8(0x21, 0x04);
  out8(0xa1, 0x02);
  out8(0x21, 0x01);
  out8(0xa1, 0x01);
  out8(0x21, 0xff);
  out8(0xa1, 0xff);
}

const Fixup* find_fixup(uint64_t rip) {
  for (const Fixup* f = fixups_begin; f != fixups_end; ++f) {
    if (f->fault == rip) return f;
  }
  return nullptr;
}

void back_to_root(Frame& frame) {
  frame.rip = address_of(user_return);
  frame.cs = selector::code;
  frame.rflags = x86::rflags::fixed1;
  frame.rsp = user_return_rsp;
  frame.ss = selector::data;
}

}  // namespace

const Trap& last_trap() { return mine().trap; }
void clear_trap() { mine().trap = Trap{}; }
uint64_t gdt_address() { return address_of(gdt.data()); }
uint16_t gdt_limit() { return sizeof gdt - 1; }
uint32_t tss_limit() { return sizeof(Tss) - 1; }
uint32_t interrupt_count(uint8_t vector) {
  return *const_cast<volatile uint32_t*>(&mine().interrupts[vector]);
}
void clear_interrupt_counts() { mine().interrupts = {}; }
void count_nmis(bool on) { mine().count_nmis = on; }

void traps_init() {
  fill_gdt();
  for (unsigned n = 0; n < MOST_PROCESSORS; ++n) {
    fill_tss(n);
    fill_idt(n);
  }
  load_tables(0);
  mask_8259();
}

void traps_load(unsigned n) { load_tables(n); }

vmx::HostState host_state() {
  vmx::HostState host;
  host.cs = selector::code;
  host.ss = host.ds = host.es = selector::data;
  host.tr = tss_selector(this_processor());
  host.tr_base = address_of(&mine().tss);
  host.gdtr_base = gdt_address();
  host.idtr_base = address_of(mine().idt.data());
  return host;
}

namespace {

void on_interrupt(PerProcessor& processor, uint8_t vector) {
  ++processor.interrupts[vector];
  // End of interrupt to the local APIC; a spurious one does no harm.
  *reinterpret_cast<volatile uint32_t*>(uint64_t{kApicBase} + 0xb0) = 0;
}

}  // namespace

extern "C" void trap_entry(Frame* frame) {
  PerProcessor& processor = processors[frame->vector >> 8];
  const auto vector = static_cast<uint8_t>(frame->vector);
  const bool user = (frame->cs & 3) == 3;
  if (vector == kUserReturn && user) return back_to_root(*frame);
  if (vector >= kFirstInterrupt) return on_interrupt(processor, vector);
  if (vector == x86::kNMI && processor.count_nmis) {
    ++processor.interrupts[vector];
    return;
  }
  Trap& trap = processor.trap;
  trap = {true, vector, static_cast<uint32_t>(frame->error), frame->rip, read_cr2()};
  if (const Fixup* fixup = find_fixup(frame->rip)) {
    frame->rip = fixup->resume;
  } else if (user) {
    back_to_root(*frame);
  } else {
    bail_out("unexpected exception ", uint32_t{vector}, " error ", Hex{frame->error}, " rip ",
             Hex{frame->rip}, " cr2 ", Hex{trap.cr2}, " rsp ", Hex{frame->rsp});
  }
}

}  // namespace cupel::metal
