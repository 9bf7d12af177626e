// The firmware configuration device of QEMU's PC, by which images learn RAM size and processors.
// Source: QEMU docs/specs/fw_cfg, "Register Locations" and "Data Item" sections.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/bus.h"
#include "core/chips/chip.h"

namespace cupel::platform {

// Two ports, 0x510-0x511: a 16-bit write at the first selects an item and rewinds it, a byte read
// at either gives its next byte. Bytes behind an item's end, and of items that do not exist, are 0.
// No DMA interface (bit 1 of the ID is clear); items cannot be written.
class FwCfg : public BusDevice, public chips::Chip {
 public:
  static constexpr uint16_t kPort = 0x510;
  enum Item : uint16_t {
    signature = 0x00,  // "QEMU"
    id = 0x01,         // 32 bits: interface features
    ram_size = 0x03,   // 64 bits, bytes
    no_graphic = 0x04,
    processors = 0x05,      // 16 bits
    max_processors = 0x0f,  // 16 bits
    max_ram = 0x11,         // 64 bits, bytes, as some images read it
    file_directory = 0x19,  // empty: 32 bits, big-endian, 0
  };

  FwCfg(uint64_t ram, unsigned processor_count);

  uint64_t read(uint64_t offset, unsigned size) override;
  void write(uint64_t offset, unsigned size, uint64_t value) override;
  void save(ArchiveWriter& out) const override;
  void restore(ArchiveReader& in) override;

 private:
  void set(Item item, uint64_t value, unsigned size);

  std::map<uint16_t, std::string> items_;
  uint16_t selected_ = 0;
  uint32_t next_ = 0;  // byte of the selected item
};

}  // namespace cupel::platform
