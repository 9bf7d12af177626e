// The extended page tables: walk, permissions, accessed and dirty flags, misconfiguration.
// SDM vol. 3C, "The Extended Page Table Mechanism (EPT)".
#pragma once

#include <array>
#include <cstdint>

#include "core/physical_memory.h"
#include "core/x86/exit_qualification.h"
#include "hw_models/cpu/trap.h"

namespace cupel::vtx {

inline constexpr uint64_t kEptpFlags = 1 << 6;  // accessed and dirty flags are enabled

// What the processor offers, out of IA32_VMX_EPT_VPID_CAP.
struct EptFeatures {
  bool execute_only = true, page_2m = true, page_1g = true;
  uint8_t physical_bits = 40;
  bool violation_information = false;  // bits 11:9 of the exit qualification
  uint64_t capabilities = 0;           // all of the MSR
};

// Would VM entry take this EPT pointer? INVEPT and EPTP switching ask the same.
// SDM vol. 3C, "VM-Execution Control Fields" (checks), "EPTP Switching".
bool eptp_valid(uint64_t eptp, const EptFeatures& features);

// The EPT paging structures in use.
struct EptMode {
  uint64_t pointer = ~0ull;
  bool mode_based = false;  // "mode-based execute control for EPT"
  bool flags() const { return (pointer & kEptpFlags) != 0; }
  // Bits 51:12 of the pointer, which tag cached mappings (EP4TA).
  uint64_t tag() const { return pointer & 0x000ffffffffff000ull; }
  bool operator==(const EptMode&) const = default;
};

struct EptWalk {
  enum class Outcome : uint8_t { translated, violation, misconfiguration };
  struct Step {
    Hpa at;
    uint64_t entry = 0;
  };
  Outcome outcome = Outcome::violation;
  bool convertible = false;  // violation: may become a virtualization exception
  Hpa hpa;                   // translated: of the access itself
  uint64_t page_size = 0;    // translated: 4 KiB, 2 MiB or 1 GiB
  // AND over the entries used; all false at an entry that is not present. `user_executable`: the
  // right that fetches from user pages need, `executable` that of all others.
  bool readable = false, writable = false, executable = false, user_executable = false;
  bool dirty = false;          // translated: the leaf's dirty flag is set by then, or not in use
  bool flags_missing = false;  // translated: accessed or dirty flags must be set first
  bool dirty_missing = false;  // and the leaf's dirty flag is one of them
  std::array<Step, 5> steps;
  unsigned used = 0;  // of `steps`
};

// Walks the tables for one access and changes nothing: a translation that is used must have its
// flags set. Entries outside memory read as ones, which is a misconfiguration.
EptWalk walk_ept(const PhysicalMemory& memory, const EptMode& mode, const EptFeatures& features,
                 const cpu::PhysicalAccess& access);
void set_flags(PhysicalMemory& memory, const EptWalk& walk);

// Does EPT's treatment make this access a write? Accesses to guest paging structures are, when
// accessed and dirty flags are enabled. SDM vol. 3C, "Accessed and Dirty Flags for EPT".
constexpr bool is_ept_write(const cpu::PhysicalAccess& access, bool flags) {
  return access.access == cpu::Access::write || (access.paging_structure && flags);
}

// The exit qualification of the violation that `walk` found, NMI unblocking apart.
// SDM vol. 3C, "Exit Qualification for EPT Violations".
x86::EptViolation violation_of(const EptWalk& walk, const EptMode& mode,
                               const EptFeatures& features, const cpu::PhysicalAccess& access);

}  // namespace cupel::vtx
