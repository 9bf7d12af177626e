// Exceptions and interrupts of the image itself: its GDT, TSS and IDT, and how a test asks "did
// this instruction fault?". Freestanding.
// SDM vol. 3A, ch. "Interrupt and Exception Handling".
#pragma once

#include <cstdint>

#include "hypervisor/metal/limits.h"
#include "hypervisor/vmx/vcpu_config.h"

namespace cupel::metal {

// Selectors of the image's GDT.
namespace selector {
inline constexpr uint16_t code = 0x08, data = 0x10, user_code = 0x18 | 3, user_data = 0x20 | 3,
                          code32 = 0x28, tss = 0x30;  // of processor 0; the others' follow
}

// Number of the processor that executes this, from the stack it runs on. In root operation and
// handlers' callers only: a guest's stack is a guest's.
inline unsigned this_processor() {
  uint64_t rsp;
  asm("mov %%rsp, %0" : "=r"(rsp));
  return *reinterpret_cast<const uint32_t*>((rsp - 1) & ~uint64_t{PROCESSOR_STACK_SIZE - 1});
}

// What was caught. An exception is caught where the fixup table has an entry for its RIP, and for
// code that runs at CPL 3; everywhere else it ends the run with "Bail out!".
struct Trap {
  bool taken = false;
  uint8_t vector = 0;
  uint32_t error = 0;
  uint64_t rip = 0, cr2 = 0;
};
// Both: of this processor.
const Trap& last_trap();
void clear_trap();

// On processor 0, once: fills the tables of all processors, loads GDT, TR and IDT and masks the
// 8259 pair. traps_load() loads them on processor `n`.
void traps_init();
void traps_load(unsigned n);
// What a processor loads before its first 64-bit instruction.
uint64_t gdt_address();

// What VM exits must load to come back to this environment.
vmx::HostState host_state();
// Limit of the GDT and the TSS, which a guest that shares them needs.
uint16_t gdt_limit();
uint32_t tss_limit();

// How often each vector >= 32 has arrived on this processor in root operation or in a guest that
// shares the IDT. An NMI is counted as vector 2 while `count_nmis` is on, and else is a trap.
uint32_t interrupt_count(uint8_t vector);
void clear_interrupt_counts();
void count_nmis(bool on);

// Runs `code` at CPL 3 on a stack of its own, until it executes INT 30H. Faults in it are caught;
// an instruction without a fixup is left at once, as if by INT 30H.
extern "C" void metal_run_user(const void* code);

}  // namespace cupel::metal
