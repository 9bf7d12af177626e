// Control registers of the guest: which bits the host owns, and what a write may do. Pure.
// Freestanding. SDM vol. 3A, "Control Registers"; vol. 3C, "Guest/Host Masks and Read Shadows for
// CR0 and CR4".
#pragma once

#include <cstdint>

#include "hypervisor/vmx/capabilities.h"

namespace cupel::vmx {

// Real value, guest/host mask and read shadow of one control register.
struct ShadowedRegister {
  uint64_t mask = 0;    // bits owned by the host
  uint64_t forced = 0;  // the value of the owned bits in the real register

  uint64_t real(uint64_t guest_value) const { return (guest_value & ~mask) | forced; }
  uint64_t guest(uint64_t real_value, uint64_t shadow) const {
    return (real_value & ~mask) | (shadow & mask);
  }
};

struct CrPolicy {
  ShadowedRegister cr0, cr4;
  uint64_t cr4_allowed = 0;  // bits the guest may set

  // Owned in CR0: what VMX fixes, and CD and NW, which a guest must not change under shared
  // memory. With unrestricted guest PE and PG are the guest's. Owned in CR4: what VMX fixes (VMXE)
  // and SMXE.
  static CrPolicy from(const VmxCapabilities& caps, bool unrestricted);
};

// The mode as a write to CR0 or CR4 sees it.
struct ModeState {
  uint64_t cr0 = 0, cr4 = 0, efer = 0;  // as the guest sees them
  bool cs_long = false;
  bool tr_16bit = false;
};

struct CrWrite {
  bool general_protection = false;  // #GP(0); nothing else is valid
  uint64_t efer = 0;                // with LMA adjusted
  bool load_pdptes = false;         // PAE paging is on after the write
  bool flush = false;               // the processor would have flushed the TLB
};

CrWrite check_cr0_write(const ModeState& now, uint64_t value);
CrWrite check_cr4_write(const ModeState& now, uint64_t value, uint64_t allowed);

// Reserved bits of a PAE page-directory-pointer entry; a present entry with any of them is #GP.
constexpr bool valid_pdpte(uint64_t entry, unsigned physical_bits) {
  if ((entry & 1) == 0) return true;
  return (entry & (0x1e6ull | ~((1ull << physical_bits) - 1))) == 0;
}

}  // namespace cupel::vmx
