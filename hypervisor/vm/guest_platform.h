// What a virtual CPU needs of its virtual machine, whatever executes it.
#pragma once

#include <cstdint>

#include "core/types.h"
#include "core/x86/cpuid_leaf.h"

namespace cupel::vm {

// Implemented by hypervisor/devices. All values come from or go to a hostile guest.
class GuestPlatform {
 public:
  virtual ~GuestPlatform() = default;

  // size 1, 2, 4. Nothing there: all ones, writes dropped.
  virtual uint32_t port_in(uint16_t port, unsigned size) = 0;
  virtual void port_out(uint16_t port, unsigned size, uint32_t value) = 0;
  // size 1, 2, 4, 8. Nothing there: all ones, writes dropped.
  virtual uint64_t mmio_read(Gpa at, unsigned size) = 0;
  virtual void mmio_write(Gpa at, unsigned size, uint64_t value) = 0;
  // MSRs that belong to the platform (APIC base, x2APIC, TSC deadline, MTRRs...); false = #GP(0).
  virtual bool read_msr(uint32_t index, uint64_t& value) = 0;
  virtual bool write_msr(uint32_t index, uint64_t value) = 0;
  virtual x86::CpuidLeaf cpuid(uint32_t leaf, uint32_t subleaf) = 0;

  // The INTR pin of this vCPU, and the acknowledge cycle that yields the vector.
  virtual bool interrupt_pending() = 0;
  virtual uint8_t acknowledge_interrupt() = 0;
  virtual bool take_nmi() = 0;  // true once for each NMI

  // Device time: advance() lets timers fire that are due at `now`; next_deadline() is the exact
  // virtual time of the next one.
  virtual void advance(Nanoseconds now) = 0;
  virtual Nanoseconds next_deadline() = 0;

  // The guest asked for power-off, reset or debug exit: the vCPU must return.
  virtual bool stop_requested() const = 0;
};

}  // namespace cupel::vm
