// VMREAD and VMWRITE of a guest that has a shadow VMCS.
// SDM vol. 3C, "VMCS Types: Ordinary and Shadow"; "VMREAD—Read Field from Virtual-Machine Control
// Structure", "VMWRITE—Write Field to Virtual-Machine Control Structure".
#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/logical_processor.h"
#include "hw_models/vtx/operands.h"

namespace cupel::vtx {

using cpu::Trap;
using cpu::VmxInstruction;

// Bits 14:0 of the encoding select a bit of the bitmap; an encoding with higher bits exits.
bool LogicalProcessor::vmcs_access_exits(const Trap& trap) {
  if (!proc2(x86::proc2::vmcs_shadowing)) return true;
  uint64_t encoding = processor_.gpr()[register2(trap)];
  if (!processor_.code_is_64bit()) encoding &= 0xffffffff;
  if (encoding >> 15 != 0) return true;
  const F bitmap = trap.vmx == VmxInstruction::vmread ? F::vmread_bitmap : F::vmwrite_bitmap;
  return (memory_.read<uint8_t>(Hpa(vmcs_[bitmap] + encoding / 8)) >> (encoding & 7) & 1) != 0;
}

// The access does not exit: it goes to the VMCS that the link pointer names.
bool LogicalProcessor::on_shadow_access(Trap& trap) {
  if (processor_.privilege_level() != 0) return raise(x86::kGP, 0);
  trap.completed = true;
  const auto encoding = static_cast<uint32_t>(processor_.gpr()[register2(trap)]) & 0x7fff;
  const bool read = trap.vmx == VmxInstruction::vmread;
  const uint64_t link = vmcs_[F::vmcs_link_pointer];
  uint64_t value = 0;
  if (!read && !vmwrite_source(trap, value)) return true;
  Outcome outcome = Outcome::fail_invalid;
  if (link != kNoVmcs)
    outcome = read ? shadow_vmread(Hpa(link), encoding, value)
                   : shadow_vmwrite(Hpa(link), encoding, value);
  if (read && outcome == Outcome::succeed && !vmread_destination(trap, value)) return true;
  conclude(trap, outcome);
  return true;
}

// The error number of an access that fails goes to the current VMCS, as of every VMX instruction.
Outcome LogicalProcessor::shadow_vmread(Hpa region, uint32_t encoding, uint64_t& value) {
  const FieldInfo info = field_of_profile(encoding);
  if (info.index == F::none) return fail(VmxError::unsupported_component);
  value = read_region_field(memory_, region, info.index);
  if (x86::is_high_access(encoding)) value >>= 32;
  return Outcome::succeed;
}

Outcome LogicalProcessor::shadow_vmwrite(Hpa region, uint32_t encoding, uint64_t value) {
  const FieldInfo info = field_of_profile(encoding);
  if (info.index == F::none) return fail(VmxError::unsupported_component);
  if (info.type == x86::FieldType::read_only && !capabilities_.vmwrite_any_field)
    return fail(VmxError::read_only_component);
  value &= width_mask(info.width);
  if (x86::is_high_access(encoding))
    value = (read_region_field(memory_, region, info.index) & 0xffffffff) | value << 32;
  write_region_field(memory_, region, info.index, value);
  processor_.invalidate_code(region, kPageSize);
  return Outcome::succeed;
}

}  // namespace cupel::vtx
