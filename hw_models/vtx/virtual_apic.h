// The virtual-APIC page, and which accesses to an APIC it stands in for. Pure functions of the page
// and of the controls; logical_processor.h says when they apply.
// SDM vol. 3C, ch. "APIC Virtualization and Virtual Interrupts".
#pragma once

#include <cstdint>
#include <optional>

#include "core/physical_memory.h"

namespace cupel::vtx {

// Page offsets. SDM vol. 3C, "Virtualized APIC Registers"; vol. 3A, "Local APIC Register Address
// Map".
namespace apic {
inline constexpr uint32_t tpr = 0x80, ppr = 0xa0, eoi = 0xb0, isr = 0x100, irr = 0x200,
                          icr_low = 0x300, icr_high = 0x310, self_ipi = 0x3f0;
inline constexpr uint32_t kLowestVector = 16;  // a local APIC refuses those below
}  // namespace apic

// The VM-execution controls that say what of an access is virtualized.
struct ApicControls {
  bool tpr_shadow = false;          // "use TPR shadow"
  bool registers = false;           // "APIC-register virtualization"
  bool interrupt_delivery = false;  // "virtual-interrupt delivery"
};

// Does an access of `size` bytes at `offset` of the APIC-access page go to the virtual-APIC page?
// False: APIC-access VM exit. SDM vol. 3C, "Virtualizing Reads from the APIC-Access Page" and
// "Virtualizing Writes to the APIC-Access Page".
bool read_virtualized(const ApicControls& controls, uint32_t offset, unsigned size);
bool write_virtualized(const ApicControls& controls, uint32_t offset, unsigned size);

// Does this value of VICR_LO send an interrupt that self-IPI virtualization covers?
// SDM vol. 3C, "APIC-Write Emulation".
bool is_self_ipi(uint32_t icr_low);

// Guest interrupt status, a VMCS field. SDM vol. 3C, "Guest Non-Register State".
struct InterruptStatus {
  uint8_t requesting = 0;  // RVI
  uint8_t servicing = 0;   // SVI

  static InterruptStatus decode(uint64_t field) {
    return {static_cast<uint8_t>(field), static_cast<uint8_t>(field >> 8)};
  }
  uint64_t encode() const { return requesting | uint64_t{servicing} << 8; }
};

// A view of the page; memory is borrowed. A page outside of memory reads as ones.
class VirtualApicPage {
 public:
  VirtualApicPage(PhysicalMemory& memory, Hpa page) : memory_(memory), page_(page) {}

  Hpa at(uint32_t offset) const { return page_ + offset; }
  uint32_t read(uint32_t offset) const { return memory_.read<uint32_t>(at(offset)); }
  void write(uint32_t offset, uint32_t value) { memory_.write(at(offset), value); }
  uint64_t read64(uint32_t offset) const { return memory_.read<uint64_t>(at(offset)); }
  void write64(uint32_t offset, uint64_t value) { memory_.write(at(offset), value); }

  // Bits 7:4 of VTPR.
  unsigned task_priority_class() const { return read(apic::tpr) >> 4 & 15; }

  // VISR (apic::isr) and VIRR (apic::irr): 256 bits, 32 of them every 16 bytes.
  void set_bit(uint32_t first, uint8_t vector);
  void clear_bit(uint32_t first, uint8_t vector);
  // Of the highest bit set; 0 when there is none, as RVI and SVI have it.
  uint8_t highest(uint32_t first) const;

 private:
  static uint32_t register_of(uint32_t first, uint8_t vector) { return first + vector / 32 * 16u; }

  PhysicalMemory& memory_;
  Hpa page_;
};

// The three operations on page and status that interrupts consist of.
// SDM vol. 3C, "PPR Virtualization".
void virtualize_ppr(VirtualApicPage page, InterruptStatus status);
// The virtual interrupt with the highest priority is acknowledged. Returns its vector.
// SDM vol. 3C, "Virtual-Interrupt Delivery".
uint8_t accept_interrupt(VirtualApicPage page, InterruptStatus& status);
// The interrupt in service ends. Returns its vector. SDM vol. 3C, "EOI Virtualization".
uint8_t end_interrupt(VirtualApicPage page, InterruptStatus& status);
// SDM vol. 3C, "Self-IPI Virtualization".
void request_interrupt(VirtualApicPage page, InterruptStatus& status, uint8_t vector);

}  // namespace cupel::vtx
