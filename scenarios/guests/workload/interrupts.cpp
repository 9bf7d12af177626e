#include "scenarios/guests/workload/interrupts.h"

#include <initializer_list>

#include "scenarios/guests/workload/console.h"
#include "scenarios/guests/workload/x86.h"

extern "C" {
extern const char interrupt_stubs[];

// What interrupt_common of start.S leaves on the stack.
struct InterruptFrame {
  uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
  uint64_t vector, error_code;
  uint64_t rip, cs, rflags, rsp, ss;
};
void interrupt_entry(const InterruptFrame* frame);
}

namespace workload {
namespace {

constexpr uint16_t kPic1 = 0x20, kPic2 = 0xa0, kElcr = 0x4d0;
constexpr uint16_t kPit = 0x40;
constexpr uint8_t kFirstVector = 0x20;
constexpr unsigned kVectors = 48, kStubSize = 16;
constexpr uint64_t kPitHz = 1193182;
constexpr uint64_t kLongestShotUs = 50000;  // the counter has 16 bits: 54.9 ms

struct IdtEntry {
  uint16_t offset_low, selector, attributes, offset_middle;
  uint32_t offset_high, reserved;
};
struct [[gnu::packed]] IdtPointer {
  uint16_t limit;
  const void* base;
};

struct Handler {
  IrqHandler call;
  void* context;
  uint8_t irq;
};

IdtEntry idt[kVectors];
Handler handlers[8];
unsigned handler_count = 0;
uint16_t irq_mask = 0xffff;
bool may_halt = true;
volatile bool shot_fired = false;

void write_mask() {
  out8(kPic1 + 1, static_cast<uint8_t>(irq_mask));
  out8(kPic2 + 1, static_cast<uint8_t>(irq_mask >> 8));
}

void init_pics() {
  for (const uint16_t pic : {kPic1, kPic2}) {
    out8(pic, 0x11);  // ICW1: edge, cascade, ICW4
    out8(pic + 1, pic == kPic1 ? kFirstVector : kFirstVector + 8);
    out8(pic + 1, pic == kPic1 ? 0x04 : 0x02);  // the second one hangs on line 2
    out8(pic + 1, 0x01);                        // 8086 mode, EOI by command
  }
  write_mask();
}

void unmask(uint8_t irq) {
  irq_mask = static_cast<uint16_t>(irq_mask & ~(1u << irq));
  if (irq >= 8) irq_mask = static_cast<uint16_t>(irq_mask & ~(1u << 2));
  write_mask();
}

// PCI lines are level-triggered; without firmware nobody else says so.
void make_level(uint8_t irq) {
  const uint16_t port = static_cast<uint16_t>(kElcr + irq / 8);
  out8(port, static_cast<uint8_t>(in8(port) | 1u << irq % 8));
}

// Where a local APIC stands between the controllers and the processor, it must pass their
// interrupts through (virtual wire mode). SDM vol. 3A, "Local Interrupt Vector Table" (ExtINT).
void init_virtual_wire() {
  constexpr uint32_t kApicBaseMsr = 0x1b;
  if ((cpuid(1).edx >> 9 & 1) == 0) return;
  const uint64_t base = read_msr(kApicBaseMsr);
  constexpr uint64_t kEnabled = 1 << 11, kX2Apic = 1 << 10;
  if ((base & kEnabled) == 0 || (base & kX2Apic) != 0) return;
  auto* const apic = reinterpret_cast<volatile uint32_t*>(base & 0xfffff000u);
  if (apic[0x30 / 4] == 0xffffffffu) return;
  apic[0xf0 / 4] = 0x1ff;   // software enable, spurious vector 0xff
  apic[0x350 / 4] = 0x700;  // LINT0: ExtINT
}

void end_of_interrupt(uint8_t irq) {
  if (irq >= 8) out8(kPic2, 0x20);
  out8(kPic1, 0x20);
}

void handle_irq(uint8_t irq) {
  if (irq == 0) shot_fired = true;
  for (unsigned i = 0; i < handler_count; ++i) {
    if (handlers[i].irq == irq) handlers[i].call(handlers[i].context);
  }
  end_of_interrupt(irq);
}

// Mode 0: the line rises once, when the count has run out.
void start_shot(uint64_t microseconds) {
  const uint64_t counts = microseconds * kPitHz / 1000000 + 1;
  shot_fired = false;
  out8(kPit + 3, 0x30);
  out8(kPit, static_cast<uint8_t>(counts));
  out8(kPit, static_cast<uint8_t>(counts >> 8));
}

}  // namespace

void interrupts_init() {
  for (unsigned v = 0; v < kVectors; ++v) {
    const uint64_t entry = reinterpret_cast<uint64_t>(interrupt_stubs) + v * kStubSize;
    idt[v] = {static_cast<uint16_t>(entry),       0x08, 0x8e00, static_cast<uint16_t>(entry >> 16),
              static_cast<uint32_t>(entry >> 32), 0};
  }
  const IdtPointer pointer{sizeof idt - 1, idt};
  asm volatile("lidt %0" ::"m"(pointer));
  init_pics();
  init_virtual_wire();
  unmask(0);
  enable_interrupts();
}

bool add_irq_handler(uint8_t irq, IrqHandler handler, void* context) {
  if (irq == 0 || irq > 15 || irq == 2 || handler_count == sizeof handlers / sizeof handlers[0]) {
    return false;
  }
  handlers[handler_count++] = {handler, context, irq};
  make_level(irq);
  unmask(irq);
  return true;
}

void wait_for_interrupt() {
  if (may_halt) {
    enable_and_halt();
  } else {
    enable_interrupts();
    pause();
  }
  disable_interrupts();
}

void forbid_halt() { may_halt = false; }

void sleep_us(uint64_t microseconds, void (*background)()) {
  disable_interrupts();
  while (microseconds != 0) {
    const uint64_t part = microseconds < kLongestShotUs ? microseconds : kLongestShotUs;
    microseconds -= part;
    start_shot(part);
    while (!shot_fired) {
      wait_for_interrupt();
      if (background != nullptr) background();
    }
  }
  enable_interrupts();
}

}  // namespace workload

void interrupt_entry(const InterruptFrame* frame) {
  using namespace workload;
  if (frame->vector >= kFirstVector) {
    handle_irq(static_cast<uint8_t>(frame->vector - kFirstVector));
    return;
  }
  uint64_t cr2;
  asm volatile("mov %%cr2, %0" : "=r"(cr2));
  print_all("WORKLOAD exception vector=", frame->vector, " error=", Hex{frame->error_code},
            " rip=", Hex{frame->rip}, " cr2=", Hex{cr2}, "\n");
  leave(Exit::exception);
}
