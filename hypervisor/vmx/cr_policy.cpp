#include "hypervisor/vmx/cr_policy.h"

#include "core/x86/registers.h"

namespace cupel::vmx {

using namespace x86;

CrPolicy CrPolicy::from(const VmxCapabilities& caps, bool unrestricted) {
  CrPolicy p;
  const uint64_t fixed0 = caps.cr0_fixed0 & ~(unrestricted ? cr0::PE | cr0::PG : 0);
  p.cr0.mask = fixed0 | cr0::CD | cr0::NW | cr0::ET;
  p.cr0.forced = fixed0 | cr0::ET;
  p.cr4.mask = caps.cr4_fixed0 | cr4::VMXE | cr4::SMXE;
  p.cr4.forced = caps.cr4_fixed0;
  p.cr4_allowed = caps.cr4_fixed1 & ~(cr4::VMXE | cr4::SMXE);
  return p;
}

CrWrite check_cr0_write(const ModeState& now, uint64_t value) {
  CrWrite out;
  out.efer = now.efer;
  const bool paging = (value & cr0::PG) != 0;
  const bool was_paging = (now.cr0 & cr0::PG) != 0;
  const bool pae = (now.cr4 & cr4::PAE) != 0;
  const auto refuse = [&out] {
    out.general_protection = true;
    return out;
  };
  if ((value >> 32) != 0) return refuse();
  if (paging && (value & cr0::PE) == 0) return refuse();
  if ((value & cr0::NW) != 0 && (value & cr0::CD) == 0) return refuse();
  if ((now.cr4 & cr4::CET) != 0 && (value & cr0::WP) == 0) return refuse();
  if (paging && !was_paging && (now.efer & efer::LME) != 0) {
    if (!pae || now.cs_long || now.tr_16bit) return refuse();
    out.efer |= efer::LMA;
  }
  if (!paging && was_paging) {
    if (now.cs_long && (now.efer & efer::LMA) != 0) return refuse();
    if ((now.cr4 & cr4::PCIDE) != 0) return refuse();
    out.efer &= ~efer::LMA;
  }
  constexpr uint64_t reload = cr0::PG | cr0::CD | cr0::NW;
  out.load_pdptes =
      paging && pae && (out.efer & efer::LMA) == 0 && ((value ^ now.cr0) & reload) != 0;
  out.flush = ((value ^ now.cr0) & (cr0::PG | cr0::WP | cr0::PE)) != 0;
  return out;
}

CrWrite check_cr4_write(const ModeState& now, uint64_t value, uint64_t allowed) {
  CrWrite out;
  out.efer = now.efer;
  const bool long_mode = (now.efer & efer::LMA) != 0;
  const uint64_t changed = value ^ now.cr4;
  const bool enters_pcid = (changed & value & cr4::PCIDE) != 0;
  if ((value & ~allowed) != 0 || (long_mode && (value & cr4::PAE) == 0) ||
      (long_mode && (changed & cr4::LA57) != 0) || (enters_pcid && !long_mode) ||
      ((value & cr4::CET) != 0 && (now.cr0 & cr0::WP) == 0)) {
    out.general_protection = true;
    return out;
  }
  const bool pae_paging = (now.cr0 & cr0::PG) != 0 && (value & cr4::PAE) != 0 && !long_mode;
  out.load_pdptes = pae_paging && (changed & (cr4::PAE | cr4::PGE | cr4::PSE | cr4::SMEP)) != 0;
  out.flush = (changed & (cr4::PAE | cr4::PGE | cr4::PSE | cr4::SMEP | cr4::SMAP | cr4::PCIDE |
                          cr4::PKE)) != 0;
  return out;
}

}  // namespace cupel::vmx
