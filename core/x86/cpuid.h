// CPUID leaves as data.
#pragma once

#include <compare>
#include <cstdint>
#include <map>

#include "core/x86/cpuid_leaf.h"

namespace cupel::x86 {

// Leaves of one processor model, ordered by (leaf, subleaf). Leaves without subleaves stand at
// subleaf 0 and answer any ECX. SDM vol. 2A, "CPUID—CPU Identification".
class CpuidTable {
 public:
  void set(uint32_t leaf, uint32_t subleaf, CpuidLeaf value) {
    leaves_[key(leaf, subleaf)] = value;
  }
  void mark_indexed(uint32_t leaf) { indexed_[leaf] = true; }

  // Leaves beyond the maximum answer as the highest basic leaf does (Intel behaviour); absent
  // leaves in range are zero.
  CpuidLeaf get(uint32_t leaf, uint32_t subleaf) const {
    const uint32_t maximum = find(leaf & 0xf0000000u, 0).eax;
    if (leaf > maximum || maximum == 0) {
      leaf = find(0, 0).eax;
    }
    return find(leaf, indexed_.count(leaf) ? subleaf : 0);
  }
  CpuidLeaf& at(uint32_t leaf, uint32_t subleaf = 0) { return leaves_[key(leaf, subleaf)]; }
  const std::map<uint64_t, CpuidLeaf>& all() const { return leaves_; }
  bool indexed(uint32_t leaf) const { return indexed_.count(leaf) != 0; }
  static uint64_t key(uint32_t leaf, uint32_t subleaf) {
    return static_cast<uint64_t>(leaf) << 32 | subleaf;
  }

 private:
  CpuidLeaf find(uint32_t leaf, uint32_t subleaf) const {
    const auto at = leaves_.find(key(leaf, subleaf));
    return at == leaves_.end() ? CpuidLeaf{} : at->second;
  }
  std::map<uint64_t, CpuidLeaf> leaves_;
  std::map<uint32_t, bool> indexed_;
};

}  // namespace cupel::x86
