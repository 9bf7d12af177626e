// An 8-bit device on a wider bus.
#pragma once

#include "core/bus.h"

namespace cupel::chips {

// Wider accesses become byte accesses to ascending offsets, as an ISA bus splits them.
class ByteDevice : public BusDevice {
 public:
  uint64_t read(uint64_t offset, unsigned size) final {
    uint64_t value = 0;
    for (unsigned i = 0; i < size && i < 8; ++i)
      value |= static_cast<uint64_t>(read_byte(offset + i)) << (8 * i);
    return value;
  }
  void write(uint64_t offset, unsigned size, uint64_t value) final {
    for (unsigned i = 0; i < size && i < 8; ++i)
      write_byte(offset + i, static_cast<uint8_t>(value >> (8 * i)));
  }

 protected:
  virtual uint8_t read_byte(uint64_t offset) = 0;
  virtual void write_byte(uint64_t offset, uint8_t value) = 0;
};

}  // namespace cupel::chips
