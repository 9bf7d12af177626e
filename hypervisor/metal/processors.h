// The other processors: started by INIT and start-up messages, each with a Lab of its own, each
// waiting for jobs. Freestanding.
// SDM vol. 3A, "Multiple-Processor (MP) Initialization", "Issuing Interprocessor Interrupts".
#pragma once

#include <cstdint>

#include "hypervisor/metal/lab.h"

namespace cupel::metal {

// What the firmware configuration device says (QEMU docs/specs/fw_cfg), 1 where there is none, and
// at most MOST_PROCESSORS.
unsigned firmware_processor_count();

// An interprocessor interrupt from the local APIC at its default address, in xAPIC mode. `to`: an
// APIC ID. `command`: the low half of the interrupt command register, vector and delivery mode.
namespace ipi {
inline constexpr uint32_t fixed = 0x4000, nmi = 0x4400, init = 0x4500, startup = 0x4600,
                          all_but_self = 0xc0000;
}
void send_ipi(uint32_t to, uint32_t command);
uint32_t apic_id();  // of this processor
void enable_apic();  // software-enables it, lets every priority through
void end_of_interrupt();
void pause_for_ticks(uint64_t tsc_ticks);

// What a processor had in its registers when it came out of the start-up message.
struct StartRegisters {
  uint16_t cs, sp;
  uint32_t edx, cr0;
};

class Processors {
 public:
  using Job = void (*)(Lab& lab, void* argument);

  // The others have the APIC IDs 1 to count - 1. `frames` must outlive the object; it is used by
  // one processor at a time, because processors start one after the other.
  Processors(vmx::FrameAllocator& frames, unsigned count);
  unsigned count() const { return count_; }

  // INIT, then a start-up message; waits until processor `n` has its Lab. False: it did not answer.
  bool start(unsigned n);
  // The start-up message alone, to a processor that INIT has reset already.
  bool start_after_init(unsigned n);
  StartRegisters start_registers() const;  // of the processor that started last

  // Processor `n` does `job`; returns at once. wait() is false when it has not finished in time,
  // after which the processor is lost until start().
  void run(unsigned n, Job job, void* argument);
  bool finished(unsigned n) const;
  bool wait(unsigned n);

 private:
  unsigned count_;
};

}  // namespace cupel::metal
