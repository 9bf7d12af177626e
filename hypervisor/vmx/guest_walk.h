// Software walk of the guest's paging, for the hypervisor's own accesses on the guest's behalf.
// Freestanding. SDM vol. 3A, ch. "Paging".
#pragma once

#include <array>
#include <cstdint>

#include "core/guest_ram.h"
#include "core/result.h"
#include "core/types.h"

namespace cupel::vmx {

enum class Access : uint8_t { read, write, fetch };

// The registers that paging depends on.
struct PagingState {
  uint64_t cr0 = 0, cr3 = 0, cr4 = 0, efer = 0;
  std::array<uint64_t, 4> pdpte{};  // PAE paging only
  bool user = false;                // CPL 3
  bool alignment_check = false;     // RFLAGS.AC, which suspends SMAP
  uint8_t physical_bits = 46;       // MAXPHYADDR of the guest, 32 .. 52
};

struct WalkError {
  enum class Kind : uint8_t {
    page_fault,   // error_code as #PF wants it
    outside_ram,  // the paging structure at `at` is not in RAM
  };
  Kind kind = Kind::page_fault;
  uint32_t error_code = 0;
  Gpa at;
};

// Translates one linear address; sets accessed and dirty flags as the processor does. Unpaged
// addresses are cut to 32 bits.
Result<Gpa, WalkError> walk(GuestRam& memory, const PagingState& state, Gva at, Access access);

}  // namespace cupel::vmx
