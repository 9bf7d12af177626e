// What a processor reaches beyond its own pins: port space, memory-mapped devices, its local APIC.
#pragma once

#include <cstdint>

#include "core/types.h"

namespace cupel::cpu {

// One processor's connection to a board. Called on the thread and, possibly, on the fiber of the
// processor, while an instruction is under way; an implementation must not run the processor. It
// may call Processor::request_boundary() and set_deadline().
class SystemBus {
 public:
  virtual ~SystemBus() = default;

  // size: 1, 2, 4. Nothing there: reads give ones, writes are dropped.
  virtual uint32_t port_in(uint16_t port, unsigned size) = 0;
  virtual void port_out(uint16_t port, unsigned size, uint32_t value) = 0;

  // Physical addresses that are not RAM. size: 1, 2, 4, 8.
  virtual uint64_t read(Hpa at, unsigned size) = 0;
  virtual void write(Hpa at, unsigned size, uint64_t value) = 0;

  // MSRs that live on the board: IA32_APIC_BASE, IA32_TSC_DEADLINE, x2APIC (800H-8FFH).
  // absent: not one of them; refused: #GP(0), nothing changed.
  enum class MsrOutcome : uint8_t { absent, done, refused };
  virtual MsrOutcome read_msr(uint32_t index, uint64_t& value) = 0;
  virtual MsrOutcome write_msr(uint32_t index, uint64_t value) = 0;

  // CR8 is the task priority of the local APIC. 0-15.
  virtual uint8_t cr8() = 0;
  virtual void set_cr8(uint8_t value) = 0;

  // The INTR pin, and what the processor does when it takes the interrupt.
  virtual bool interrupt_pending() = 0;
  virtual uint8_t acknowledge_interrupt() = 0;
};

}  // namespace cupel::cpu
