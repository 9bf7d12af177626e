// Matching of accesses against the debug registers. SDM vol. 3B, "Debug Registers".
#pragma once

#include <array>
#include <cstdint>

#include "core/types.h"
#include "hw_models/cpu/trap.h"

namespace cupel::cpu {

// One reading of DR0-3 and DR7. Bit n of a result stands for breakpoint n, as in DR6.
class Breakpoints {
 public:
  Breakpoints() = default;
  explicit Breakpoints(const std::array<uint64_t, 8>& dr);

  bool any() const { return enabled_ != 0; }
  // A breakpoint of this kind of access lies on the page.
  bool on_page(uint64_t page, Access access) const;
  // Which match an access of `size` bytes; a fetch matches by its first byte.
  uint64_t hits(uint64_t linear, unsigned size, Access access) const;

 private:
  enum class Kind : uint8_t { execute = 0, write = 1, io = 2, read_write = 3 };
  struct One {
    uint64_t first = 0;
    uint64_t last = 0;
    Kind kind = Kind::execute;
  };
  static bool matches(Kind kind, Access access);
  bool enabled(unsigned n) const { return (enabled_ >> n & 1) != 0; }

  uint32_t enabled_ = 0;
  std::array<One, 4> list_{};
};

}  // namespace cupel::cpu
