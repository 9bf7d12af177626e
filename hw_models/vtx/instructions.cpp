// The VMX instructions with resolved operands, and their hosted form.
// SDM vol. 3C, ch. "VMX Instruction Reference".
#include "core/x86/registers.h"
#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {
namespace {

constexpr uint32_t kShadowVmcs = 1u << 31;  // in the revision-identifier word

x86::VmxStatus hosted(Outcome outcome) {
  switch (outcome) {
    case Outcome::succeed:
      return x86::VmxStatus::succeed;
    case Outcome::fail_valid:
      return x86::VmxStatus::fail_valid;
    default:
      return x86::VmxStatus::fail_invalid;
  }
}

}  // namespace

// VMfail(number): with a current VMCS the number goes to the VM-instruction error field.
// SDM vol. 3C, "Conventions".
Outcome LogicalProcessor::fail(VmxError error) {
  if (!has_current()) return Outcome::fail_invalid;
  coverage_.error(static_cast<uint32_t>(error));
  vmcs_[F::vm_instruction_error] = static_cast<uint32_t>(error);
  return Outcome::fail_valid;
}

bool LogicalProcessor::valid_region(Hpa region) const {
  return region.offset_in(kPageSize) == 0 && region.value() >> physical_bits_ == 0;
}

void LogicalProcessor::retire_current() {
  if (!has_current()) return;
  guest_.pull_all();
  store_region(memory_, Hpa(current_), vmcs_);
  processor_.invalidate_code(Hpa(current_), kPageSize);
}

bool LogicalProcessor::vmxon_permitted() const {
  const auto& c = capabilities_;
  const bool fixed = (host_.cr0 & c.cr0_fixed0) == c.cr0_fixed0 &&
                     (host_.cr0 & ~c.cr0_fixed1) == 0 && (host_.cr4 & c.cr4_fixed0) == c.cr4_fixed0;
  constexpr uint64_t locked_and_enabled = 5;
  return fixed && (host_.feature_control & locked_and_enabled) == locked_and_enabled;
}

Outcome LogicalProcessor::execute_vmxon(Hpa region) {
  if ((host_.cr4 & x86::cr4::VMXE) == 0) return Outcome::undefined_opcode;
  if (vmx_root_) return fail(VmxError::vmxon_in_root);
  if (!vmxon_permitted()) return Outcome::general_protection;
  if (!valid_region(region)) return Outcome::fail_invalid;
  if (region_revision(memory_, region) != capabilities_.revision) return Outcome::fail_invalid;
  vmx_root_ = true;
  vmxon_region_ = region;
  ++vmxon_epoch_;
  current_ = kNoVmcs;
  return Outcome::succeed;
}

Outcome LogicalProcessor::execute_vmxoff() {
  if (!vmx_root_) return Outcome::undefined_opcode;
  retire_current();
  current_ = kNoVmcs;
  vmx_root_ = false;
  // "Unblocks INIT signals": one that waits is taken before the next instruction.
  if (init_) processor_.request_boundary();
  return Outcome::succeed;
}

Outcome LogicalProcessor::execute_vmclear(Hpa vmcs) {
  if (!vmx_root_) return Outcome::undefined_opcode;
  if (!valid_region(vmcs)) return fail(VmxError::vmclear_address);
  if (vmcs == vmxon_region_) return fail(VmxError::vmclear_vmxon_pointer);
  if (vmcs.value() == current_) {
    retire_current();
    current_ = kNoVmcs;
  }
  store_launch_state(memory_, vmcs, LaunchState::clear);
  processor_.invalidate_code(vmcs, kPageSize);
  return Outcome::succeed;
}

Outcome LogicalProcessor::execute_vmptrld(Hpa vmcs) {
  if (!vmx_root_) return Outcome::undefined_opcode;
  if (!valid_region(vmcs)) return fail(VmxError::vmptrld_address);
  if (vmcs == vmxon_region_) return fail(VmxError::vmptrld_vmxon_pointer);
  const uint32_t revision = region_revision(memory_, vmcs);
  const bool shadowing = capabilities_.proc2.offers(x86::proc2::vmcs_shadowing);
  if ((revision & ~kShadowVmcs) != capabilities_.revision ||
      ((revision & kShadowVmcs) != 0 && !shadowing))
    return fail(VmxError::vmptrld_revision);
  if (vmcs.value() == current_) return Outcome::succeed;
  retire_current();
  current_ = vmcs.value();
  current_is_shadow_ = (revision & kShadowVmcs) != 0;
  load_region(memory_, vmcs, vmcs_);
  guest_.vmcs_replaced();
  host_bank_good_ = false;
  due_ = checks_.all();
  controls_changed_ = true;
  return Outcome::succeed;
}

Outcome LogicalProcessor::execute_vmptrst(Hpa& vmcs) {
  if (!vmx_root_) return Outcome::undefined_opcode;
  vmcs = Hpa(current_);
  return Outcome::succeed;
}

namespace {

// Bits of a guest-state field that some entry check looks at. What a hypervisor writes at nearly
// every exit, the next RIP and flags, then costs no check.
uint64_t checked_bits(F field) {
  using namespace x86::rflags;
  switch (field) {
    case F::guest_rip:
      return 0xffffffff00000000;  // canonical; 63:32 clear outside of 64-bit mode
    case F::guest_rflags:
      return ~(CF | PF | AF | ZF | SF | DF | OF | NT | RF | AC | ID);
    default:
      return ~0ull;
  }
}

}  // namespace

inline uint64_t LogicalProcessor::read_field(const FieldInfo& info) {
  return info.type == x86::FieldType::guest_state ? guest_.read(info.index) : vmcs_[info.index];
}

// What nearly every VMREAD is: a field that exists, all of it. A current VMCS implies VMX root
// operation.
inline bool LogicalProcessor::read_whole(uint32_t encoding, uint64_t& value) {
  if (!has_current() || !lookup_covers(encoding) || x86::is_high_access(encoding)) [[unlikely]]
    return false;
  const FieldInfo& info = fields_[lookup_slot(encoding)];
  if (info.index == F::none) [[unlikely]]
    return false;
  value = read_field(info);
  return true;
}

Outcome LogicalProcessor::execute_vmread(uint32_t encoding, uint64_t& value) {
  if (read_whole(encoding, value)) return Outcome::succeed;
  if (!vmx_root_) return Outcome::undefined_opcode;
  if (!has_current()) return Outcome::fail_invalid;
  if (!lookup_covers(encoding)) return fail(VmxError::unsupported_component);
  const FieldInfo& info = fields_[lookup_slot(encoding)];
  if (info.index == F::none || info.width != x86::FieldWidth::bits64)
    return fail(VmxError::unsupported_component);
  value = read_field(info) >> 32;
  return Outcome::succeed;
}

Outcome LogicalProcessor::execute_vmwrite(uint32_t encoding, uint64_t value) {
  if (!vmx_root_) return Outcome::undefined_opcode;
  if (!has_current()) return Outcome::fail_invalid;
  const FieldInfo info = field_of_profile(encoding);
  const bool high = x86::is_high_access(encoding);
  if (info.index == F::none) return fail(VmxError::unsupported_component);
  if (info.type == x86::FieldType::read_only && !capabilities_.vmwrite_any_field)
    return fail(VmxError::read_only_component);
  value &= width_mask(info.width);
  if (info.type == x86::FieldType::guest_state) {
    const uint64_t old = guest_.read(info.index);
    if (high) value = (old & 0xffffffff) | value << 32;
    guest_.write(info.index, value);
    if (((old ^ value) & checked_bits(info.index)) != 0) due_ |= checks_.reading(info.index);
    return Outcome::succeed;
  }
  if (high) value = (vmcs_[info.index] & 0xffffffff) | value << 32;
  if (info.type == x86::FieldType::control) written(info.index);
  if (info.type == x86::FieldType::host_state) host_bank_good_ = false;
  vmcs_[info.index] = value;
  due_ |= checks_.reading(info.index);
  return Outcome::succeed;
}

// Called before a control changes. What the last exit saved depends on the old control words, so
// the guest state comes out of the processor first.
void LogicalProcessor::written(F field) {
  switch (field) {
    case F::pin_based_controls:
    case F::primary_processor_controls:
    case F::secondary_processor_controls:
    case F::exit_controls:
    case F::entry_controls:
      guest_.pull_all();
      host_bank_good_ = false;
      guest_.load_again(group::control_registers | group::debug | group::pat | group::pdptes);
      controls_changed_ = true;
      break;
    case F::ept_pointer:
    case F::vpid:
    case F::apic_access_address:
      controls_changed_ = true;
      break;
    default:
      break;
  }
}

Outcome LogicalProcessor::execute_invept(uint64_t type, const x86::InveptDescriptor& descriptor) {
  if (!vmx_root_) return Outcome::undefined_opcode;
  const uint64_t caps = capabilities_.ept_vpid;
  constexpr uint64_t needed = eptcap::invept;
  if ((caps & needed) == 0) return Outcome::undefined_opcode;
  const bool single = type == 1 && (caps & eptcap::invept_single) != 0;
  const bool all = type == 2 && (caps & eptcap::invept_all) != 0;
  if ((!single && !all) || descriptor.reserved != 0) return fail(VmxError::invalid_operand);
  if (single) {
    if (!eptp_valid(descriptor.eptp, ept_features_)) return fail(VmxError::invalid_operand);
    const uint64_t tag = EptMode{descriptor.eptp}.tag();
    ept_caches_.clear_tag(tag);
    if (tlb_) tlb_->drop_ept(tag);
    processor_.drop_translations_of_ept(tag);
    return Outcome::succeed;
  }
  ept_caches_.clear_all();
  if (tlb_) tlb_->drop_all_ept();
  processor_.drop_all_translations();
  return Outcome::succeed;
}

Outcome LogicalProcessor::execute_invvpid(uint64_t type, const x86::InvvpidDescriptor& descriptor) {
  if (!vmx_root_) return Outcome::undefined_opcode;
  const uint64_t caps = capabilities_.ept_vpid;
  if ((caps & eptcap::invvpid) == 0) return Outcome::undefined_opcode;
  const bool offered = type <= 3 && (caps >> (40 + type) & 1) != 0;
  constexpr uint64_t address = 0, all = 2;
  if (!offered || (type != all && descriptor.vpid == 0)) return fail(VmxError::invalid_operand);
  const auto high = static_cast<int64_t>(descriptor.linear_address) >> (linear_bits_ - 1);
  if (type == address && high != 0 && high != -1) return fail(VmxError::invalid_operand);
  if (type == all) {
    processor_.drop_all_translations();
  } else if (type == address) {
    processor_.drop_page_of_vpid(descriptor.vpid, Gva(descriptor.linear_address));
  } else {
    processor_.drop_translations_of_vpid(descriptor.vpid);
  }
  if (tlb_) invalidate_kept(type, descriptor);
  return Outcome::succeed;
}

void LogicalProcessor::invalidate_kept(uint64_t type, const x86::InvvpidDescriptor& descriptor) {
  switch (type) {
    case 0:
      return tlb_->drop_page(descriptor.vpid, Gva(descriptor.linear_address));
    case 1:
      return tlb_->drop_vpid(descriptor.vpid);
    case 2:
      return tlb_->drop_vpids();
    default:
      return tlb_->drop_vpid_but_globals(descriptor.vpid);
  }
}

Outcome LogicalProcessor::execute_vmcall() {
  if (!vmx_root_) return Outcome::undefined_opcode;
  return fail(VmxError::vmcall_in_root);
}

x86::VmxStatus LogicalProcessor::vmxon(Hpa region) { return hosted(execute_vmxon(region)); }
x86::VmxStatus LogicalProcessor::vmxoff() { return hosted(execute_vmxoff()); }
x86::VmxStatus LogicalProcessor::vmclear(Hpa vmcs) { return hosted(execute_vmclear(vmcs)); }
x86::VmxStatus LogicalProcessor::vmptrld(Hpa vmcs) { return hosted(execute_vmptrld(vmcs)); }
x86::VmxStatus LogicalProcessor::vmptrst(Hpa& vmcs) { return hosted(execute_vmptrst(vmcs)); }
x86::VmxStatus LogicalProcessor::vmread(uint32_t encoding, uint64_t& value) {
  if (read_whole(encoding, value)) [[likely]]
    return x86::VmxStatus::succeed;
  return hosted(execute_vmread(encoding, value));
}
x86::VmxStatus LogicalProcessor::vmwrite(uint32_t encoding, uint64_t value) {
  return hosted(execute_vmwrite(encoding, value));
}
x86::VmxStatus LogicalProcessor::invept(uint64_t type, const x86::InveptDescriptor& d) {
  return hosted(execute_invept(type, d));
}
x86::VmxStatus LogicalProcessor::invvpid(uint64_t type, const x86::InvvpidDescriptor& d) {
  return hosted(execute_invvpid(type, d));
}
x86::VmxStatus LogicalProcessor::vmlaunch(x86::GprFile& regs) { return enter(true, regs); }
x86::VmxStatus LogicalProcessor::vmresume(x86::GprFile& regs) { return enter(false, regs); }
x86::VmxStatus LogicalProcessor::vmcall() { return hosted(execute_vmcall()); }

VmxError LogicalProcessor::last_error() const {
  return has_current() ? static_cast<VmxError>(vmcs_[F::vm_instruction_error]) : VmxError::none;
}

}  // namespace cupel::vtx
