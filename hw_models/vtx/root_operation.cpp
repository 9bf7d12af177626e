// VMX root operation, and no VMX operation, of code that the processor itself executes: the VMX
// instructions with their operands, and the switch between host and guest in one processor.
// SDM vol. 3C, ch. "VMX Instruction Reference".
#include <utility>

#include "core/probe.h"
#include "core/x86/msr.h"
#include "hw_models/vtx/logical_processor.h"
#include "hw_models/vtx/operands.h"

namespace cupel::vtx {

using cpu::Trap;
using cpu::TrapKind;
using cpu::VmxInstruction;

namespace {

constexpr bool is_capability_msr(uint32_t index) {
  return index >= x86::msr::VMX_BASIC && index <= x86::msr::VMX_EXIT2;
}

}  // namespace

void LogicalProcessor::execute_root_mode(cpu::SystemBus& bus) {
  bus_ = &bus;
  processor_.stay_in_loop();
}

bool LogicalProcessor::read_msr(uint32_t index, uint64_t& value) {
  if (!executed() || !is_capability_msr(index)) return false;
  const auto capability = capabilities_.msr(index);
  value = capability.value_or(0);
  return capability.has_value();
}

bool LogicalProcessor::fault(uint8_t vector) {
  const bool has_code = vector == x86::kGP;
  processor_.inject({vector, x86::EventType::hardware_exception, has_code, 0, 0});
  return true;
}

// The flags say how it ended. SDM vol. 3C, "Conventions".
void LogicalProcessor::conclude(const Trap& trap, Outcome outcome) {
  switch (outcome) {
    case Outcome::undefined_opcode:
      fault(x86::kUD);
      return;
    case Outcome::general_protection:
      fault(x86::kGP);
      return;
    default:
      break;
  }
  processor_.set_status_flags(outcome == Outcome::fail_invalid ? x86::rflags::CF
                              : outcome == Outcome::fail_valid ? x86::rflags::ZF
                                                               : 0);
  processor_.complete(trap);
}

// What entries and VMXON look at.
void LogicalProcessor::take_host_registers() {
  constexpr uint64_t kept_by_switches = 0x7ffaffd0;  // of CR0
  const bool was_ia32e = host_.ia32e();
  const uint64_t cr0 = processor_.cr(0);
  if (((cr0 ^ host_.cr0) & kept_by_switches) != 0) guest_.load_again(group::control_registers);
  host_.cr0 = cr0;
  host_.cr3 = processor_.cr(3);
  host_.cr4 = processor_.cr(4);
  host_.efer = processor_.efer();
  host_.blocking_by_mov_ss = (processor_.interruptibility() & x86::interruptibility::mov_ss) != 0;
  if (host_.ia32e() != was_ia32e) due_ = checks_.all();
}

// What the guest gets where the entry controls load nothing.
void LogicalProcessor::take_shared_registers() {
  host_.dr7 = processor_.dr(7);
  (void)processor_.read_msr(x86::msr::PAT, host_.pat);
  (void)processor_.read_msr(x86::msr::DEBUGCTL, host_.debugctl);
}

bool LogicalProcessor::on_root_trap(Trap& trap) {
  switch (trap.kind) {
    case TrapKind::vmx_instruction:
    case TrapKind::vmcall:
      return execute_instruction(trap);
    case TrapKind::cr_access:
      // SDM vol. 3C, "Restrictions on VMX Operation".
      if (vmx_root_ && trap.cr.kind != x86::CrAccess::Kind::mov_from_cr &&
          (trap.cr.cr == 0 || trap.cr.cr == 4)) {
        const bool cr0 = trap.cr.cr == 0;
        const uint64_t must = cr0 ? capabilities_.cr0_fixed0 : capabilities_.cr4_fixed0;
        const uint64_t may = cr0 ? capabilities_.cr0_fixed1 : capabilities_.cr4_fixed1;
        trap.reject = (trap.value & must) != must || (trap.value & ~may) != 0;
      } else if (trap.cr.cr == 4 && trap.cr.kind == x86::CrAccess::Kind::mov_to_cr) {
        trap.reject = (trap.value & ~capabilities_.cr4_fixed1) != 0;
      }
      return false;
    default:
      return false;
  }
}

// Faults that come before the operands. SDM vol. 3C, each instruction's "Operation".
bool LogicalProcessor::execute_instruction(const Trap& trap) {
  const bool vmxon = trap.vmx == VmxInstruction::vmxon;
  const bool real = (processor_.cr(0) & x86::cr0::PE) == 0;
  const bool v86 = (processor_.rflags() & x86::rflags::VM) != 0;
  const bool compatibility =
      (processor_.efer() & x86::efer::LMA) != 0 && !processor_.code_is_64bit();
  const bool possible = vmxon ? (processor_.cr(4) & x86::cr4::VMXE) != 0 : vmx_root_;
  if (!possible || real || v86 || compatibility || trap.vmx == VmxInstruction::vmfunc)
    return fault(x86::kUD);
  if (processor_.privilege_level() != 0) return fault(x86::kGP);
  if (trap.kind == TrapKind::vmcall) {
    conclude(trap, execute_vmcall());
    return true;
  }
  switch (trap.vmx) {
    case VmxInstruction::vmread:
      return execute_vmread_operands(trap);
    case VmxInstruction::vmwrite:
      return execute_vmwrite_operands(trap);
    case VmxInstruction::vmlaunch:
      return execute_entry_here(trap, true);
    case VmxInstruction::vmresume:
      return execute_entry_here(trap, false);
    case VmxInstruction::vmxoff:
      conclude(trap, execute_vmxoff());
      return true;
    case VmxInstruction::vmxon:
    case VmxInstruction::vmclear:
    case VmxInstruction::vmptrld:
    case VmxInstruction::vmptrst:
      return execute_pointer_operand(trap);
    case VmxInstruction::invept:
    case VmxInstruction::invvpid:
      return execute_invalidation(trap);
    default:
      return fault(x86::kUD);
  }
}

bool LogicalProcessor::execute_pointer_operand(const Trap& trap) {
  uint64_t pointer = 0;
  const x86::Seg segment = operand_segment(trap);
  if (trap.vmx == VmxInstruction::vmptrst) {
    Hpa current;
    const Outcome outcome = execute_vmptrst(current);
    pointer = current.value();
    if (processor_.write_operand(trap.address, &pointer, 8, segment)) conclude(trap, outcome);
    return true;
  }
  if (trap.vmx == VmxInstruction::vmxon) {
    take_host_registers();
    (void)processor_.read_msr(x86::msr::FEATURE_CONTROL, host_.feature_control);
    // The conditions on the processor's state come before the operand.
    if (!vmx_root_ && !vmxon_permitted()) return fault(x86::kGP);
  }
  if (!processor_.read_operand(trap.address, &pointer, 8, segment)) return true;
  const Hpa region(pointer);
  conclude(trap, trap.vmx == VmxInstruction::vmxon     ? execute_vmxon(region)
                 : trap.vmx == VmxInstruction::vmclear ? execute_vmclear(region)
                                                       : execute_vmptrld(region));
  return true;
}

// Operands are 64 bits in 64-bit mode and 32 bits outside; an encoding wider than 32 bits names no
// field. SDM vol. 3C, "VMREAD—Read Field from Virtual-Machine Control Structure".
bool LogicalProcessor::execute_vmread_operands(const Trap& trap) {
  const bool wide = processor_.code_is_64bit();
  const auto& gpr = processor_.gpr();
  const uint64_t encoding = wide ? gpr[register2(trap)] : gpr[register2(trap)] & 0xffffffff;
  uint64_t value = 0;
  const Outcome outcome = encoding >> 32 == 0
                              ? execute_vmread(static_cast<uint32_t>(encoding), value)
                          : has_current() ? fail(VmxError::unsupported_component)
                                          : Outcome::fail_invalid;
  if (outcome == Outcome::succeed) {
    coverage_.read.set(static_cast<size_t>(field_info(static_cast<uint32_t>(encoding)).index));
    if (!vmread_destination(trap, value)) return true;
  }
  conclude(trap, outcome);
  return true;
}

// False: the access to the operand has faulted.
bool LogicalProcessor::vmread_destination(const Trap& trap, uint64_t value) {
  const bool wide = processor_.code_is_64bit();
  if (!wide) value &= 0xffffffff;
  if (!in_register(trap))
    return processor_.write_operand(trap.address, &value, wide ? 8 : 4, operand_segment(trap));
  processor_.gpr()[register1(trap)] = value;
  return true;
}

bool LogicalProcessor::vmwrite_source(const Trap& trap, uint64_t& value) {
  const bool wide = processor_.code_is_64bit();
  value = 0;
  if (!in_register(trap))
    return processor_.read_operand(trap.address, &value, wide ? 8 : 4, operand_segment(trap));
  value = processor_.gpr()[register1(trap)];
  if (!wide) value &= 0xffffffff;
  return true;
}

bool LogicalProcessor::execute_vmwrite_operands(const Trap& trap) {
  uint64_t encoding = processor_.gpr()[register2(trap)], value = 0;
  if (!vmwrite_source(trap, value)) return true;
  if (!processor_.code_is_64bit()) encoding &= 0xffffffff;
  const Outcome outcome = encoding >> 32 == 0
                              ? execute_vmwrite(static_cast<uint32_t>(encoding), value)
                          : has_current() ? fail(VmxError::unsupported_component)
                                          : Outcome::fail_invalid;
  if (outcome == Outcome::succeed)
    coverage_.written.set(static_cast<size_t>(field_info(static_cast<uint32_t>(encoding)).index));
  conclude(trap, outcome);
  return true;
}

bool LogicalProcessor::execute_invalidation(const Trap& trap) {
  const bool invept = trap.vmx == VmxInstruction::invept;
  const uint64_t offered = invept ? eptcap::invept : eptcap::invvpid;
  if ((capabilities_.ept_vpid & offered) == 0) return fault(x86::kUD);
  uint64_t type = processor_.gpr()[register2(trap)];
  if (!processor_.code_is_64bit()) type &= 0xffffffff;
  uint64_t descriptor[2] = {};
  if (!processor_.read_operand(trap.address, descriptor, 16, operand_segment(trap))) return true;
  if (invept) {
    conclude(trap, execute_invept(type, {descriptor[0], descriptor[1]}));
    return true;
  }
  // Bits 63:16 of the descriptor are reserved. SDM vol. 3C, "INVVPID—Invalidate Translations Based
  // on VPID".
  const Outcome outcome =
      descriptor[0] >> 16 != 0
          ? fail(VmxError::invalid_operand)
          : execute_invvpid(type, {static_cast<uint16_t>(descriptor[0]), descriptor[1]});
  conclude(trap, outcome);
  return true;
}

// VMLAUNCH and VMRESUME: afterwards the processor holds the guest, or the host of a failed entry.
bool LogicalProcessor::execute_entry_here(const Trap& trap, bool launch) {
  take_host_registers();
  const Outcome outcome = execute_entry(launch);
  if (outcome != Outcome::succeed) {
    conclude(trap, outcome);
  } else if (in_guest_ && (exited_ || reinject_)) {
    take_effect();  // an event was due before the guest's first instruction
  }
  return true;
}

// A VM exit has been recorded, or an event is to go to the guest.
void LogicalProcessor::take_effect() {
  if (exited_) {
    leave_guest();
  } else if (reinject_) {
    deliver_event();
  }
}

// SDM vol. 3C, "Loading Host Segment and Descriptor-Table Registers".
void LogicalProcessor::load_host_segments() {
  using x86::Seg;
  using x86::Segment;
  const bool wide = exit_control(x86::exitctl::host_address_space_size);
  const auto put = [this](Seg s, F selector, uint32_t access, uint64_t base) {
    const auto value = static_cast<uint16_t>(vmcs_[selector]);
    if (value == 0 && s != Seg::cs && s != Seg::tr) access = Segment::kUnusable;
    processor_.set_segment(s, {value, access, 0xffffffff, base});
  };
  constexpr uint32_t data = 0xc093;
  put(Seg::cs, F::host_cs_selector, wide ? 0xa09b : 0xc09b, 0);
  put(Seg::ss, F::host_ss_selector, data, 0);
  put(Seg::ds, F::host_ds_selector, data, 0);
  put(Seg::es, F::host_es_selector, data, 0);
  put(Seg::fs, F::host_fs_selector, data, vmcs_[F::host_fs_base]);
  put(Seg::gs, F::host_gs_selector, data, vmcs_[F::host_gs_base]);
  processor_.set_segment(Seg::tr, {static_cast<uint16_t>(vmcs_[F::host_tr_selector]), 0x8b, 0x67,
                                   vmcs_[F::host_tr_base]});
  processor_.set_segment(Seg::ldtr, {0, Segment::kUnusable, 0, 0});
  processor_.set_gdtr({vmcs_[F::host_gdtr_base], 0xffff});
  processor_.set_idtr({vmcs_[F::host_idtr_base], 0xffff});
}

// host_ holds what the exit loads; here it goes into the processor that has been the guest.
// SDM vol. 3C, "Loading Host State".
void LogicalProcessor::put_host_into_processor() {
  constexpr unsigned bank = GuestState::kHostBank;
  const uint32_t nmi = blocking_by_nmi_after_exit() ? x86::interruptibility::nmi : 0;
  processor_.use_translations({});
  if (flush_at_entry_) processor_.flush_tlb();  // VPID 0 is the host's too
  if (tlb_) [[unlikely]]
    change_kept_space({});
  if (host_bank_good_ && processor_.bank_cr0(bank) == host_.cr0 &&
      processor_.bank_efer(bank) == host_.efer) {
    processor_.load_bank(bank);
  } else {
    build_host_state();
    processor_.store_bank(bank);
    host_bank_good_ = true;
  }
  if (!host_.ia32e() && !load_pdptes(host_.cr3)) abort_vmx(VmxAbort::host_pdptes);
  if (exit_control(x86::exitctl::load_pat)) (void)processor_.write_msr(x86::msr::PAT, host_.pat);
  processor_.gpr()[x86::Gpr::rsp] = vmcs_[F::host_rsp];
  if (nmi != 0) processor_.set_interruptibility(nmi);
  watch_windows();
  if (slice_end_ != Nanoseconds::max() || deadline_set_) arm_deadline();
}

void LogicalProcessor::build_host_state() {
  namespace msr = x86::msr;
  processor_.set_activity(x86::Activity::active);
  processor_.set_rflags(x86::rflags::fixed1);
  processor_.set_control_registers(host_.cr0, host_.cr3, host_.cr4, host_.efer);
  load_host_segments();
  processor_.set_rip(vmcs_[F::host_rip]);
  processor_.set_dr(7, 0x400);
  (void)processor_.write_msr(msr::DEBUGCTL, 0);
  (void)processor_.write_msr(msr::SYSENTER_CS, host_.sysenter_cs);
  (void)processor_.write_msr(msr::SYSENTER_ESP, host_.sysenter_esp);
  (void)processor_.write_msr(msr::SYSENTER_EIP, host_.sysenter_eip);
  processor_.set_pending_debug(0);
  processor_.set_interruptibility(0);
}

// SDM vol. 3C, "Updating Non-Register State".
bool LogicalProcessor::blocking_by_nmi_after_exit() {
  const auto info = static_cast<uint32_t>(vmcs_[F::exit_interruption_info]);
  const bool by_nmi =
      (info & 0x80000700) == 0x80000200 &&
      vmcs_[F::exit_reason] == static_cast<uint32_t>(x86::ExitReason::exception_or_nmi);
  if (by_nmi) return true;
  if (pin(x86::pin::virtual_nmis)) return false;
  return (processor_.interruptibility() & x86::interruptibility::nmi) != 0;
}

}  // namespace cupel::vtx
