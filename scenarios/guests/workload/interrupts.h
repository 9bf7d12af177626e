// IDT, the two 8259 interrupt controllers, and sleeping on the 8254 timer.
#pragma once

#include <stdint.h>

namespace workload {

// Loads the IDT, remaps the controllers to vectors 0x20-0x2f, masks every line, enables
// interrupts. Exceptions print their vector and RIP and end the run.
void interrupts_init();

// Calls `handler(context)` with interrupts off whenever ISA line `irq` (1..15) is asserted; lines
// are level-triggered and may be shared. Returns false for a line that does not exist.
using IrqHandler = void (*)(void* context);
bool add_irq_handler(uint8_t irq, IrqHandler handler, void* context);

// Interrupts are off on entry and on return: lets one interrupt (or the timer) happen, halted.
void wait_for_interrupt();
// From now on nothing may halt: some device has no interrupt line and must be polled, or the
// command line says so.
void forbid_halt();

// Halts for about that time; `background` runs with interrupts off after every wake-up.
void sleep_us(uint64_t microseconds, void (*background)());

}  // namespace workload
