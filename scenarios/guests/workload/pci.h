// PCI configuration space of bus 0 through ports 0xcf8/0xcfc.
#pragma once

#include <stdint.h>

namespace workload::pci {

struct Function {
  uint8_t device = 0, number = 0;

  uint32_t read32(uint8_t offset) const;
  uint16_t read16(uint8_t offset) const;
  uint8_t read8(uint8_t offset) const;
  void write32(uint8_t offset, uint32_t value) const;

  uint8_t interrupt_line() const { return read8(0x3c); }
  // Memory decoding, bus mastering and INTx on.
  void enable() const;
  // Where memory BAR `index` answers; assigns an address below 4 GiB when it has none that the
  // guest maps. nullptr: no memory BAR.
  volatile uint8_t* map_bar(unsigned index) const;
};

// The n-th function on bus 0 with that vendor and one of two device numbers (modern and
// transitional); false when there are fewer.
bool find(uint16_t vendor, uint16_t device, uint16_t other_device, unsigned n, Function& found);

}  // namespace workload::pci
