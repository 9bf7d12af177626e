#include "hw_models/vtx/virtual_apic.h"

#include <algorithm>
#include <bit>
#include <span>

namespace cupel::vtx {
namespace {

// Registers, 4 bytes each, from `first` to `last` in steps of 16.
struct Registers {
  uint32_t first, last;
};

constexpr Registers kReadable[] = {
    {0x020, 0x030},  // ID, version
    {0x080, 0x080},  // TPR
    {0x0b0, 0x0b0},  // EOI
    {0x0d0, 0x0f0},  // LDR, DFR, spurious-interrupt vector
    {0x100, 0x270},  // ISR, TMR, IRR
    {0x280, 0x280},  // error status
    {0x300, 0x310},  // ICR
    {0x320, 0x370},  // LVT
    {0x380, 0x380},  // initial count
    {0x3e0, 0x3e0},  // divide configuration
};
constexpr Registers kWritable[] = {
    {0x020, 0x020}, {0x080, 0x080}, {0x0b0, 0x0b0}, {0x0d0, 0x0f0}, {0x280, 0x280},
    {0x300, 0x310}, {0x320, 0x370}, {0x380, 0x380}, {0x3e0, 0x3e0},
};

// Within the low 4 bytes of a naturally aligned 16-byte region.
constexpr bool inside_register(uint32_t offset, unsigned size) {
  const uint32_t last = offset + size - 1;
  return size <= 4 && (offset & 12) == 0 && (last & 12) == 0 && offset / 16 == last / 16;
}

bool virtualized(const ApicControls& controls, uint32_t offset, unsigned size,
                 std::span<const Registers> registers) {
  if (!controls.tpr_shadow || !inside_register(offset, size)) return false;
  if (controls.registers) {
    const uint32_t base = offset & ~15u;
    return std::any_of(registers.begin(), registers.end(),
                       [=](const Registers& r) { return base >= r.first && base <= r.last; });
  }
  if (offset == apic::tpr) return true;
  return controls.interrupt_delivery && (offset == apic::eoi || offset == apic::icr_low);
}

}  // namespace

bool read_virtualized(const ApicControls& controls, uint32_t offset, unsigned size) {
  return virtualized(controls, offset, size, kReadable);
}

bool write_virtualized(const ApicControls& controls, uint32_t offset, unsigned size) {
  return virtualized(controls, offset, size, kWritable);
}

// Fixed, edge-triggered, to itself, with a legal vector; reserved bits and delivery status are 0.
// The destination mode (bit 11) and the level (bit 14) do not matter.
bool is_self_ipi(uint32_t icr_low) {
  constexpr uint32_t must_be_zero = 0xfff33000;  // 31:20, 17:16, 13, 12
  constexpr uint32_t shorthand = 3u << 18, self = 1u << 18, trigger = 1u << 15, mode = 7u << 8;
  return (icr_low & (must_be_zero | trigger | mode)) == 0 && (icr_low & shorthand) == self &&
         (icr_low & 0xf0) != 0;
}

void VirtualApicPage::set_bit(uint32_t first, uint8_t vector) {
  const uint32_t offset = register_of(first, vector);
  write(offset, read(offset) | 1u << (vector & 31));
}

void VirtualApicPage::clear_bit(uint32_t first, uint8_t vector) {
  const uint32_t offset = register_of(first, vector);
  write(offset, read(offset) & ~(1u << (vector & 31)));
}

uint8_t VirtualApicPage::highest(uint32_t first) const {
  for (int n = 7; n >= 0; --n) {
    const uint32_t bits = read(first + static_cast<uint32_t>(n) * 16);
    if (bits != 0) return static_cast<uint8_t>(n * 32 + std::bit_width(bits) - 1);
  }
  return 0;
}

void virtualize_ppr(VirtualApicPage page, InterruptStatus status) {
  const uint32_t vtpr = page.read(apic::tpr);
  const bool by_task = (vtpr >> 4 & 15) >= status.servicing >> 4;
  page.write(apic::ppr, by_task ? vtpr & 0xff : status.servicing & 0xf0u);
}

uint8_t accept_interrupt(VirtualApicPage page, InterruptStatus& status) {
  const uint8_t vector = status.requesting;
  page.set_bit(apic::isr, vector);
  status.servicing = vector;
  page.write(apic::ppr, vector & 0xf0u);
  page.clear_bit(apic::irr, vector);
  status.requesting = page.highest(apic::irr);
  return vector;
}

uint8_t end_interrupt(VirtualApicPage page, InterruptStatus& status) {
  const uint8_t vector = status.servicing;
  page.clear_bit(apic::isr, vector);
  status.servicing = page.highest(apic::isr);
  virtualize_ppr(page, status);
  return vector;
}

void request_interrupt(VirtualApicPage page, InterruptStatus& status, uint8_t vector) {
  page.set_bit(apic::irr, vector);
  status.requesting = std::max(status.requesting, vector);
}

}  // namespace cupel::vtx
