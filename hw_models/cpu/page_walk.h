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
  bool dry = false;            // see PhysicalAccess
};

// What guest paging says of a page, and what the second dimension adds, whoever asks.
struct Mapping {
  Gpa gpa;                    // of the access
  uint64_t span = kPageSize;  // size of the guest's page
  bool writable = false, user = false, no_execute = false, dirty = false;
  bool second_readable = false, second_writable = false, second_executable = false;
};

struct WalkResult {
  enum class Outcome : uint8_t { ok, page_fault, physical_fault };
  Outcome outcome = Outcome::ok;
  Hpa hpa;                     // ok
  bool writable = false;       // ok: a later write by the same privilege needs no new walk
  bool executable = false;     // ok: fetches may use this translation
  bool readable = true;        // ok: so may reads
  bool global = false;         // ok: survives MOV to CR3 (leaf's G flag, with CR4.PGE)
  uint32_t error_code = 0;     // page_fault
  PhysicalAccess last;         // physical_fault: what the second dimension denied
  Mapping mapping;             // ok, with paging
  bool virtualized = false;    // ok: as PhysicalTranslation has it, for the access `last`
  bool dirty_missing = false;  // ok, dry: the access would set a dirty flag
};

// Do the rights of a page refuse the access? SDM vol. 3A, "Determination of Access Rights".
bool denied(const PagingState& paging, const WalkRequest& request, const Mapping& mapping);

// What a remembered mapping gives the access without a walk: false when it does not allow it, or
// when a flag would have to be set. Rights are judged by the paging in force; `result` gets all but
// hpa and global.
bool result_of(const PagingState& paging, const WalkRequest& request, const Mapping& mapping,
               WalkResult& result);

// Sets accessed and dirty flags as the architecture does. SDM vol. 3A, "Paging".
WalkResult walk(PhysicalMemory& memory, Monitor& second, const PagingState& paging,
                const WalkRequest& request);

// Loads the four PDPTEs for PAE paging from CR3; false when a present one has reserved bits set
// (#GP(0)) or cannot be read. `refused` tells a second-dimension fault.
enum class PdpteLoad : uint8_t { ok, reserved, physical_fault };
PdpteLoad load_pdptes(PhysicalMemory& memory, Monitor& second, const PagingState& paging,
                      std::array<uint64_t, 4>& out, PhysicalAccess& refused);

}  // namespace cupel::cpu
