// The optional local APIC and I/O APIC of a single-processor PC platform.
#pragma once

#include <cstdint>

#include "core/chips/apic_bus.h"
#include "core/chips/io_apic.h"
#include "core/chips/local_apic.h"
#include "core/chips/pic8259.h"
#include "core/clock.h"

namespace cupel::devices {

// Wired as on a PC: the 8259 pair at LINT0, ISA and PCI interrupts at the I/O APIC pins of their
// own number, IRQ 0 at pin 2.
class ApicPair {
 public:
  static constexpr uint64_t kIoApicAddress = 0xfec00000;

  ApicPair(const VirtualClock& clock, const chips::LocalApicConfig& config,
           chips::DualPic8259& pic);

  void set_irq(unsigned irq, bool level) { io_apic_.set_irq(irq == 0 ? 2 : irq, level); }
  bool pending() const { return local_.highest_pending() >= 0 || local_.extint_pending(); }
  uint8_t acknowledge();
  bool take_nmi();

  // False: not an address of either chip.
  bool mmio_read(Gpa at, unsigned size, uint64_t& value);
  bool mmio_write(Gpa at, unsigned size, uint64_t value);
  // handled: the MSR belongs to the local APIC; ok = false then means #GP(0).
  struct MsrResult {
    bool handled = false;
    bool ok = false;
  };
  MsrResult read_msr(uint32_t index, uint64_t& value);
  MsrResult write_msr(uint32_t index, uint64_t value);

  chips::LocalApic& local() { return local_; }
  void advance(Nanoseconds now) { local_.advance(now); }
  Nanoseconds next_deadline() const { return local_.next_deadline(); }
  void save(ArchiveWriter& out) const;
  void restore(ArchiveReader& in);

 private:
  BusDevice* find(Gpa at, unsigned size, uint64_t& offset);

  chips::DualPic8259& pic_;
  chips::LocalApic local_;
  chips::IoApic io_apic_;
  chips::ApicBus bus_;
  bool nmi_ = false;
};

}  // namespace cupel::devices
