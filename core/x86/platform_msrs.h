// The MSRs of a PC processor that have no effect of their own on this platform, as data.
// Source: SDM vol. 4, "Architectural MSRs"; vol. 3A, "Memory Type Range Registers".
#pragma once

#include <cstdint>
#include <vector>

#include "core/archive.h"

namespace cupel::x86 {

// Memory types do not change what a guest can observe here, so MTRRs and PAT are stored and
// checked, not applied. An MSR that is not in the table, or a value that the architecture refuses,
// is a #GP(0).
class PlatformMsrs {
 public:
  // arch_capabilities: IA32_ARCH_CAPABILITIES; 0 = the MSR does not exist.
  explicit PlatformMsrs(uint64_t arch_capabilities);

  // False: #GP(0).
  bool read(uint32_t index, uint64_t& value) const;
  bool write(uint32_t index, uint64_t value);

  void save(ArchiveWriter& out) const;
  void restore(ArchiveReader& in);

 private:
  struct Row;
  struct Entry {
    uint32_t index;
    uint64_t value;
    const Row* row;
  };
  static const Row kRows[];
  const Entry* find(uint32_t index) const;

  uint64_t arch_capabilities_;
  std::vector<Entry> entries_;  // ordered by index
};

}  // namespace cupel::x86
