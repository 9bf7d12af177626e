// The extended page tables: walk, permissions, accessed and dirty flags, misconfiguration.
// SDM vol. 3C, "The Extended Page Table Mechanism (EPT)".
#pragma once

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
};

struct EptWalk {
  enum class Outcome : uint8_t { translated, violation, misconfiguration };
  Outcome outcome = Outcome::violation;
  Hpa hpa;                 // translated: of the access itself
  uint64_t page_size = 0;  // translated: 4 KiB, 2 MiB or 1 GiB
  // AND over the entries used; all false at an entry that is not present.
  bool readable = false, writable = false, executable = false;
  bool dirty = false;  // translated: the leaf's dirty flag is set, or not in use
};

// Walks the 4-level tables of `eptp` for one access. `update_flags`: set accessed and dirty flags
// if EPTP bit 6 enables them; only a translation that succeeds sets any. Entries outside memory
// read as ones, which is a misconfiguration.
EptWalk walk_ept(PhysicalMemory& memory, uint64_t eptp, const EptFeatures& features,
                 const cpu::PhysicalAccess& access, bool update_flags);

// The exit qualification of the violation that `walk` found.
// SDM vol. 3C, "Exit Qualification for EPT Violations".
x86::EptViolation violation_of(const EptWalk& walk, uint64_t eptp,
                               const cpu::PhysicalAccess& access);

}  // namespace cupel::vtx
