#include "scenarios/guests/workload/pci.h"

#include "scenarios/guests/workload/x86.h"

namespace workload::pci {
namespace {

// Between the usual end of RAM below 4 GiB and the I/O APIC at 0xfec00000.
constexpr uint32_t kFirstFreeAddress = 0xe8000000, kLastFreeAddress = 0xfe000000;
uint32_t next_free = kFirstFreeAddress;

void select(const Function& f, uint8_t offset) {
  out32(0xcf8, 1u << 31 | static_cast<uint32_t>(f.device) << 11 |
                   static_cast<uint32_t>(f.number) << 8 | (offset & 0xfcu));
}

}  // namespace

uint32_t Function::read32(uint8_t offset) const {
  select(*this, offset);
  return in32(0xcfc);
}
uint16_t Function::read16(uint8_t offset) const {
  return static_cast<uint16_t>(read32(offset) >> (offset & 2) * 8);
}
uint8_t Function::read8(uint8_t offset) const {
  return static_cast<uint8_t>(read32(offset) >> (offset & 3) * 8);
}
void Function::write32(uint8_t offset, uint32_t value) const {
  select(*this, offset);
  out32(0xcfc, value);
}

void Function::enable() const {
  constexpr uint32_t kMemory = 1 << 1, kBusMaster = 1 << 2, kNoIntx = 1 << 10;
  // The upper half is the status register, whose bits are cleared by writing ones.
  write32(0x04, ((read32(0x04) & 0xffffu) | kMemory | kBusMaster) & ~kNoIntx);
}

volatile uint8_t* Function::map_bar(unsigned index) const {
  if (index > 5) return nullptr;
  const auto offset = static_cast<uint8_t>(0x10 + 4 * index);
  const uint32_t low = read32(offset);
  if ((low & 1) != 0) return nullptr;
  const bool wide = (low >> 1 & 3) == 2;
  if (wide && index == 5) return nullptr;
  const auto high_offset = static_cast<uint8_t>(offset + 4);
  const uint32_t high = wide ? read32(high_offset) : 0;
  uint32_t address = low & ~15u;
  if (address == 0 || high != 0) {
    write32(offset, 0xffffffffu);
    const uint32_t size = ~(read32(offset) & ~15u) + 1;
    if (size == 0 || size > kLastFreeAddress - kFirstFreeAddress) return nullptr;
    address = (next_free + size - 1) & ~(size - 1);
    if (address > kLastFreeAddress - size) return nullptr;
    next_free = address + size;
    write32(offset, address);
    if (wide) write32(high_offset, 0);
  }
  return reinterpret_cast<volatile uint8_t*>(static_cast<uint64_t>(address));
}

bool find(uint16_t vendor, uint16_t device, uint16_t other_device, unsigned n, Function& found) {
  for (unsigned slot = 0; slot < 32; ++slot) {
    for (unsigned number = 0; number < 8; ++number) {
      const Function f{static_cast<uint8_t>(slot), static_cast<uint8_t>(number)};
      const uint32_t id = f.read32(0);
      const auto found_device = static_cast<uint16_t>(id >> 16);
      if (static_cast<uint16_t>(id) == vendor &&
          (found_device == device || found_device == other_device) && n-- == 0) {
        found = f;
        return true;
      }
      const bool multifunction = (f.read8(0x0e) & 0x80) != 0;
      if (number == 0 && (static_cast<uint16_t>(id) == 0xffff || !multifunction)) break;
    }
  }
  return false;
}

}  // namespace workload::pci
