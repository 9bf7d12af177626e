// The two-dimensional page walk: guest paging, every step through the monitor's second dimension.
#pragma once

#include <array>
#include <cstdint>

#include "core/physical_memory.h"
#include "core/types.h"
#include "hw_models/cpu/trap.h"

namespace cupel::cpu {

// What selects a paging mode. SDM vol. 3A, "Paging Modes and Control Bits".
struct PagingState {
  uint64_t cr0 = 0, cr3 = 0, cr4 = 0, efer = 0;
  std::array<uint64_t, 4> pdptes{};
  uint8_t physical_bits = 40;
  bool paging() const;
  bool pae() const;
  bool long_mode() const;
};

struct WalkRequest {
  Gva linear;
  Access access = Access::read;
  bool user = false;           // CPL 3 and not an implicit supervisor access
  bool smap_enforced = false;  // supervisor data access with AC clear (or implicit)
  unsigned size = 1;           // bytes of the access, as far as they are on the page
};

struct WalkResult {
  enum class Outcome : uint8_t { ok, page_fault, physical_fault };
  Outcome outcome = Outcome::ok;
  Hpa hpa;                   // ok
  bool writable = false;     // ok: a later write by the same privilege needs no new walk
  bool executable = false;   // ok: fetches may use this translation
  bool global = false;       // ok: survives MOV to CR3 (leaf's G flag, with CR4.PGE)
  bool virtualized = false;  // ok: as PhysicalTranslation has it, for the access `last`
  uint32_t error_code = 0;   // page_fault
  PhysicalAccess last;       // physical_fault: what the second dimension denied
};

// Sets accessed and dirty flags as the architecture does. SDM vol. 3A, "Paging".
WalkResult walk(PhysicalMemory& memory, Monitor& second, const PagingState& paging,
                const WalkRequest& request);

// Loads the four PDPTEs for PAE paging from CR3; false when a present one has reserved bits set
// (#GP(0)) or cannot be read. `refused` tells a second-dimension fault.
enum class PdpteLoad : uint8_t { ok, reserved, physical_fault };
PdpteLoad load_pdptes(PhysicalMemory& memory, Monitor& second, const PagingState& paging,
                      std::array<uint64_t, 4>& out, PhysicalAccess& refused);

}  // namespace cupel::cpu
