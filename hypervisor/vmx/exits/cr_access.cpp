// Control-register accesses that touch bits the host owns, and CR8.
#include "core/x86/exit_qualification.h"
#include "core/x86/msr.h"
#include "hypervisor/vmx/exits/handlers.h"
#include "hypervisor/vmx/guest_state.h"

namespace cupel::vmx {
namespace {

using namespace x86;

uint64_t read_gpr(VcpuContext& vcpu, Gpr gpr) {
  return gpr == Gpr::rsp ? vcpu.vmcs.get(FieldN::guest_rsp) : vcpu.regs[gpr];
}

void write_gpr(VcpuContext& vcpu, Gpr gpr, uint64_t value) {
  if (gpr == Gpr::rsp) {
    vcpu.vmcs.set(FieldN::guest_rsp, value);
  } else {
    vcpu.regs[gpr] = value;
  }
}

ModeState mode_of(VcpuContext& vcpu) {
  const uint32_t tr_type = vcpu.vmcs.get(Field32::guest_tr_access_rights) & 15;
  return {guest_cr0(vcpu), guest_cr4(vcpu), vcpu.vmcs.get(Field64::guest_efer),
          (vcpu.vmcs.get(Field32::guest_cs_access_rights) >> 13 & 1) != 0,
          tr_type == 3 || tr_type == 1};
}

// The four entries of PAE paging, which the processor loads when it executes such a write itself.
bool load_pdptes(VcpuContext& vcpu) {
  const Gpa table(vcpu.vmcs.get(FieldN::guest_cr3) & 0xffffffe0);
  std::array<uint64_t, 4> pdpte{};
  if (!vcpu.memory.read(table, pdpte)) return false;
  for (const uint64_t entry : pdpte) {
    if (!valid_pdpte(entry, vcpu.physical_bits)) return false;
  }
  write_pdptes(vcpu, pdpte);
  return true;
}

// Carries out what check_cr*_write() allowed, except for the register itself.
bool apply(VcpuContext& vcpu, const CrWrite& write) {
  if (write.general_protection || (write.load_pdptes && !load_pdptes(vcpu))) return false;
  write_efer(vcpu, write.efer);
  return true;
}

Outcome finish(VcpuContext& vcpu, const CrWrite& write) {
  if (write.flush && !vcpu.flush_linear()) return Outcome::fault;
  return vcpu.advance();
}

Outcome write_cr0(VcpuContext& vcpu, uint64_t value) {
  value |= cr0::ET;
  const CrWrite write = check_cr0_write(mode_of(vcpu), value);
  if (!apply(vcpu, write)) return vcpu.raise(kGP, 0);
  set_guest_cr0(vcpu, value);
  return finish(vcpu, write);
}

Outcome write_cr4(VcpuContext& vcpu, uint64_t value) {
  const CrWrite write = check_cr4_write(mode_of(vcpu), value, vcpu.policy.cr4_allowed);
  if (!apply(vcpu, write)) return vcpu.raise(kGP, 0);
  set_guest_cr4(vcpu, value);
  return finish(vcpu, write);
}

Outcome move_to_cr(VcpuContext& vcpu, const CrAccess& access) {
  uint64_t value = read_gpr(vcpu, access.gpr);
  const bool long_mode = (vcpu.vmcs.get(Field64::guest_efer) & efer::LMA) != 0;
  if (!long_mode) value &= 0xffffffff;
  switch (access.cr) {
    case 0:
      return write_cr0(vcpu, value);
    case 4:
      return write_cr4(vcpu, value);
    case 8:
      if (value > 15) return vcpu.raise(kGP, 0);
      write_task_priority(vcpu, value);
      return vcpu.advance();
    default:
      return handle_unexpected(vcpu);
  }
}

Outcome move_from_cr(VcpuContext& vcpu, const CrAccess& access) {
  switch (access.cr) {
    case 3:
      write_gpr(vcpu, access.gpr, vcpu.vmcs.get(FieldN::guest_cr3));
      break;
    case 8:
      write_gpr(vcpu, access.gpr, read_task_priority(vcpu));
      break;
    default:
      return handle_unexpected(vcpu);
  }
  return vcpu.advance();
}

}  // namespace

Outcome handle_cr_access(VcpuContext& vcpu) {
  const auto access = CrAccess::decode(vcpu.vmcs.get(FieldN::exit_qualification));
  switch (access.kind) {
    case CrAccess::Kind::mov_to_cr:
      return move_to_cr(vcpu, access);
    case CrAccess::Kind::mov_from_cr:
      return move_from_cr(vcpu, access);
    case CrAccess::Kind::clts:
      return write_cr0(vcpu, guest_cr0(vcpu) & ~cr0::TS);
    case CrAccess::Kind::lmsw: {
      // LMSW sets PE but cannot clear it.
      const uint64_t now = guest_cr0(vcpu);
      constexpr uint64_t low = cr0::PE | cr0::MP | cr0::EM | cr0::TS;
      return write_cr0(vcpu, (now & ~low) | (now & cr0::PE) | (access.lmsw_source & low));
    }
  }
  return handle_unexpected(vcpu);
}

}  // namespace cupel::vmx
