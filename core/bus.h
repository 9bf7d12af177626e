// Address decoding for port and memory-mapped devices.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace cupel {

// A device on a bus. `offset` counts from the start of the range it was attached at; size is
// 1, 2, 4 or 8 bytes. Values wider than `size` are cut by the bus.
class BusDevice {
 public:
  virtual ~BusDevice() = default;
  virtual uint64_t read(uint64_t offset, unsigned size) = 0;
  virtual void write(uint64_t offset, unsigned size, uint64_t value) = 0;
};

// Ranges never overlap and are never empty: attach() refuses both with bad_input, naming the
// range and its neighbour. Accesses that no range contains wholly read as all ones and are
// dropped on write, as an ISA or PCI bus does; `handled` tells.
class Bus {
 public:
  explicit Bus(std::string name) : name_(std::move(name)) {}

  Result<void> attach(uint64_t start, uint64_t length, BusDevice& device, std::string_view label);
  void detach(const BusDevice& device);

  // Returns all ones of `size` bytes when nothing answers.
  uint64_t read(uint64_t address, unsigned size);
  // Returns false when nothing answers.
  bool write(uint64_t address, unsigned size, uint64_t value);
  bool covers(uint64_t address, unsigned size) const { return find(address, size) != nullptr; }

 private:
  struct Range {
    uint64_t start;
    uint64_t length;
    BusDevice* device;
    std::string label;
  };
  const Range* find(uint64_t address, unsigned size) const;

  std::string name_;
  std::vector<Range> ranges_;  // ordered by start
  mutable size_t last_ = 0;    // most accesses repeat the previous range
};

}  // namespace cupel
