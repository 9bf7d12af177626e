// VMX non-root operation: which events cause VM exits, and what the guest sees where they do not.
// SDM vol. 3C, ch. "VMX Non-Root Operation".
#include "core/x86/msr.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {

using cpu::Trap;
using cpu::TrapKind;
using x86::ExitReason;

bool LogicalProcessor::exit_on(ExitReason reason, const Trap& trap, uint64_t qualification) {
  record_exit(reason, qualification, trap.length, trap.instruction_info);
  return true;
}

// A fault that VMX non-root operation adds to an instruction: it goes to the exception bitmap like
// any other and else to the guest.
bool LogicalProcessor::raise(uint8_t vector, std::optional<uint32_t> error_code) {
  Trap fault;
  fault.kind = TrapKind::exception;
  fault.vector = vector;
  fault.has_error_code = error_code.has_value();
  fault.error_code = error_code.value_or(0);
  if (on_exception(fault)) return true;
  reinject_ = cpu::Event{vector, x86::EventType::hardware_exception, fault.has_error_code,
                         fault.error_code, 0};
  return true;
}

// SDM vol. 3C, "Exceptions" (other causes of VM exits); "Exit Qualification for Debug Exceptions".
bool LogicalProcessor::on_exception(const Trap& trap) {
  if (trap.type == x86::EventType::nmi) {
    if (!pin(x86::pin::nmi_exiting)) return false;
    record_exit(ExitReason::exception_or_nmi, 0, 0);
    record_event({x86::kNMI, trap.type, false, false, true}, 0);
    return true;
  }
  bool exits = (vmcs_[F::exception_bitmap] >> (trap.vector & 31) & 1) != 0;
  if (trap.vector == x86::kPF) {
    const bool match = (trap.error_code & vmcs_[F::page_fault_error_code_mask]) ==
                       vmcs_[F::page_fault_error_code_match];
    exits = exits == match;
  }
  if (!exits) return false;
  uint64_t qualification = 0;
  if (trap.vector == x86::kPF) qualification = trap.address;
  if (trap.vector == x86::kDB) qualification = trap.debug_status & 0x1600f;
  const bool software = trap.type == x86::EventType::software_exception ||
                        trap.type == x86::EventType::privileged_software_exception;
  record_exit(ExitReason::exception_or_nmi, qualification, software ? trap.length : 0);
  record_event({trap.vector, trap.type, trap.has_error_code, false, true}, trap.error_code);
  // A double fault that exits has no vectoring information: the first event is part of it.
  if (trap.vector != x86::kDF) record_vectoring();
  save_rf_ = !software && trap.vector != x86::kDB;
  return true;
}

// I/O bitmap A holds ports 0000H-7FFFH, B 8000H-FFFFH. An access that wraps around exits.
// SDM vol. 3C, "I/O-Bitmap Addresses".
bool LogicalProcessor::io_bitmap_exits(uint16_t port, unsigned size) const {
  for (uint32_t p = port; p < uint32_t{port} + size; ++p) {
    if (p > 0xffff) return true;
    const uint64_t bitmap = p < 0x8000 ? vmcs_[F::io_bitmap_a] : vmcs_[F::io_bitmap_b];
    const auto byte = memory_.read<uint8_t>(Hpa(bitmap + (p & 0x7fff) / 8));
    if ((byte >> (p & 7) & 1) != 0) return true;
  }
  return false;
}

bool LogicalProcessor::on_io(const Trap& trap) {
  using namespace x86;
  const bool exits = proc(proc::io_bitmaps) ? io_bitmap_exits(trap.io.port, trap.io.size)
                                            : proc(proc::unconditional_io);
  if (!exits) return false;
  uint32_t info = 0;
  if (trap.io.string) {
    // Address size 0, 1, 2 for 16, 32, 64 bits; segment register for OUTS.
    const uint32_t address_size = trap.io_address_size == 2 ? 0 : trap.io_address_size == 4 ? 1 : 2;
    info = address_size << 7 | (trap.io.in ? 0u : static_cast<uint32_t>(trap.io_segment)) << 15;
    vmcs_[F::guest_linear_address] = trap.io_linear;
  }
  record_exit(ExitReason::io_instruction, trap.io.encode(), trap.length, info);
  return true;
}

// Four 1-KByte bitmaps: read low, read high, write low, write high; others always exit.
// SDM vol. 3C, "MSR-Bitmap Address".
bool LogicalProcessor::msr_bitmap_exits(uint32_t index, bool write) const {
  const bool low = index <= 0x1fff, high = index >= 0xc0000000 && index <= 0xc0001fff;
  if (!low && !high) return true;
  const uint32_t bit = index & 0x1fff;
  const uint64_t offset = (high ? 1024 : 0) + (write ? 2048 : 0) + bit / 8;
  const auto byte = memory_.read<uint8_t>(Hpa(vmcs_[F::msr_bitmap] + offset));
  return (byte >> (bit & 7) & 1) != 0;
}

bool LogicalProcessor::on_msr(Trap& trap, bool write) {
  if (!proc(x86::proc::msr_bitmaps) || msr_bitmap_exits(trap.msr, write))
    return exit_on(write ? ExitReason::wrmsr : ExitReason::rdmsr, trap);
  const bool x2apic = trap.msr >= x86::msr::X2APIC_FIRST && trap.msr <= x86::msr::X2APIC_LAST;
  if (x2apic && proc2(x86::proc2::virtualize_x2apic))
    write ? virtualize_x2apic_write(trap) : virtualize_x2apic_read(trap);
  return false;
}

// Bits the host owns keep their value; the rest must suit VMX operation, or #GP(0).
// SDM vol. 3C, "Changes to Instruction Behavior in VMX Non-Root Operation" (MOV to CR0, CR4).
bool LogicalProcessor::on_cr0_or_cr4_value(Trap& trap, uint64_t value) {
  const bool cr0 = trap.cr.cr == 0;
  const uint64_t mask = vmcs_[cr0 ? F::cr0_guest_host_mask : F::cr4_guest_host_mask];
  value = (processor_.cr(trap.cr.cr) & mask) | (value & ~mask);
  uint64_t must = cr0 ? capabilities_.cr0_fixed0 : capabilities_.cr4_fixed0;
  const uint64_t may = cr0 ? capabilities_.cr0_fixed1 : capabilities_.cr4_fixed1;
  if (cr0 && proc2(x86::proc2::unrestricted_guest)) must &= ~(x86::cr0::PE | x86::cr0::PG);
  trap.reject = (value & must) != must || (value & ~may) != 0;
  trap.value = value;
  return false;
}

// SDM vol. 3C, "Instructions That Cause VM Exits Conditionally": MOV CR, CLTS, LMSW.
bool LogicalProcessor::on_cr(Trap& trap) {
  using Kind = x86::CrAccess::Kind;
  using namespace x86;
  const auto exits = [&] { return exit_on(ExitReason::cr_access, trap, trap.cr.encode()); };
  const unsigned n = trap.cr.cr;
  const uint64_t mask = vmcs_[n == 0 ? F::cr0_guest_host_mask : F::cr4_guest_host_mask];
  const uint64_t shadow = vmcs_[n == 0 ? F::cr0_read_shadow : F::cr4_read_shadow];
  switch (trap.cr.kind) {
    case Kind::mov_from_cr:
      if (n == 3 && proc(proc::cr3_store_exiting)) return exits();
      if (n == 8 && proc(proc::cr8_store_exiting)) return exits();
      if (n == 8 && proc(proc::tpr_shadow)) virtualize_cr8(trap);
      return false;
    case Kind::clts:
      if ((mask & shadow & cr0::TS) != 0) return exits();
      return on_cr0_or_cr4_value(trap, processor_.cr(0) & ~cr0::TS);
    case Kind::lmsw: {
      const uint64_t source = trap.cr.lmsw_source & 0xf;
      const bool sets_pe = (mask & source & ~shadow & cr0::PE) != 0;  // LMSW cannot clear PE
      if (sets_pe || ((source ^ shadow) & mask & 0xe) != 0) {
        if (trap.cr.lmsw_memory) vmcs_[F::guest_linear_address] = trap.address;
        return exits();
      }
      return on_cr0_or_cr4_value(trap, (processor_.cr(0) & ~0xeull) | source);
    }
    case Kind::mov_to_cr:
      break;
  }
  if (n == 8) {
    if (proc(proc::cr8_load_exiting)) return exits();
    if (proc(proc::tpr_shadow)) virtualize_cr8(trap);
    return false;
  }
  if (n == 3) {
    if (!proc(proc::cr3_load_exiting)) return false;
    const F targets[] = {F::cr3_target_0, F::cr3_target_1, F::cr3_target_2, F::cr3_target_3};
    for (uint64_t t = 0; t < vmcs_[F::cr3_target_count] && t < 4; ++t)
      if (vmcs_[targets[t]] == trap.value) return false;
    return exits();
  }
  if (((trap.value ^ shadow) & mask) != 0) return exits();
  return on_cr0_or_cr4_value(trap, trap.value);
}

// VMX instructions exit unconditionally, except where they are undefined: outside protected mode,
// in virtual-8086 mode and in compatibility mode. SDM vol. 3C, "Relative Priority of Faults and VM
// Exits".
bool LogicalProcessor::on_vmx_instruction(Trap& trap) {
  using cpu::VmxInstruction;
  const bool undefined =
      (processor_.cr(0) & x86::cr0::PE) == 0 || (processor_.rflags() & x86::rflags::VM) != 0 ||
      ((processor_.efer() & x86::efer::LMA) != 0 && !processor_.segment(x86::Seg::cs).long_mode());
  const auto exits = [&](ExitReason reason) {
    return undefined ? raise(x86::kUD) : exit_on(reason, trap, trap.displacement);
  };
  switch (trap.vmx) {
    case VmxInstruction::vmclear:
      return exits(ExitReason::vmclear);
    case VmxInstruction::vmlaunch:
      return exits(ExitReason::vmlaunch);
    case VmxInstruction::vmptrld:
      return exits(ExitReason::vmptrld);
    case VmxInstruction::vmptrst:
      return exits(ExitReason::vmptrst);
    case VmxInstruction::vmread:
      if (!undefined && !vmcs_access_exits(trap)) return on_shadow_access(trap);
      return exits(ExitReason::vmread);
    case VmxInstruction::vmresume:
      return exits(ExitReason::vmresume);
    case VmxInstruction::vmwrite:
      if (!undefined && !vmcs_access_exits(trap)) return on_shadow_access(trap);
      return exits(ExitReason::vmwrite);
    case VmxInstruction::vmxoff:
      return exits(ExitReason::vmxoff);
    case VmxInstruction::vmxon:
      return exits(ExitReason::vmxon);
    case VmxInstruction::invept:
      return exits(ExitReason::invept);
    case VmxInstruction::invvpid:
      return exits(ExitReason::invvpid);
    case VmxInstruction::vmfunc:
      return on_vmfunc(trap);
    // Not offered: undefined whatever the mode.
    case VmxInstruction::none:
    case VmxInstruction::getsec:
    case VmxInstruction::invpcid:
    case VmxInstruction::rdrand:
    case VmxInstruction::rdseed:
    case VmxInstruction::xsaves:
    case VmxInstruction::xrstors:
      break;
  }
  return raise(x86::kUD);
}

// SDM vol. 3C, "Instructions That Cause VM Exits Unconditionally" and "Conditionally".
bool LogicalProcessor::on_trap(Trap& trap) {
  if (!executed()) return on_guest_trap(trap);
  if (!in_guest_) return on_root_trap(trap);
  if (!on_guest_trap(trap)) return false;
  if (!trap.completed) take_effect();
  return true;
}

bool LogicalProcessor::on_guest_trap(Trap& trap) {
  using namespace x86;
  switch (trap.kind) {
    case TrapKind::cpuid:
      return exit_on(ExitReason::cpuid, trap);
    case TrapKind::io:
      return on_io(trap);
    case TrapKind::hlt:
      return proc(proc::hlt_exiting) && exit_on(ExitReason::hlt, trap);
    case TrapKind::rdmsr:
      return on_msr(trap, false);
    case TrapKind::wrmsr:
      return on_msr(trap, true);
    case TrapKind::rdtsc:
      return proc(proc::rdtsc_exiting) && exit_on(ExitReason::rdtsc, trap);
    case TrapKind::rdtscp:
      if (!proc2(proc2::enable_rdtscp)) return raise(kUD);
      return proc(proc::rdtsc_exiting) && exit_on(ExitReason::rdtscp, trap);
    case TrapKind::cr_access:
      return on_cr(trap);
    case TrapKind::dr_access:
      return proc(proc::mov_dr_exiting) && exit_on(ExitReason::mov_dr, trap, trap.dr.encode());
    case TrapKind::exception:
      return on_exception(trap);
    case TrapKind::software_interrupt:
      return false;
    case TrapKind::invlpg:
      return proc(proc::invlpg_exiting) && exit_on(ExitReason::invlpg, trap, trap.address);
    case TrapKind::pause:
      return on_pause(trap);
    case TrapKind::mwait:
      return proc(proc::mwait_exiting) && exit_on(ExitReason::mwait, trap);
    case TrapKind::monitor:
      return proc(proc::monitor_exiting) && exit_on(ExitReason::monitor, trap);
    case TrapKind::rdpmc:
      return proc(proc::rdpmc_exiting) && exit_on(ExitReason::rdpmc, trap);
    case TrapKind::invd:
      return exit_on(ExitReason::invd, trap);
    case TrapKind::wbinvd:
      return proc2(proc2::wbinvd_exiting) && exit_on(ExitReason::wbinvd, trap);
    case TrapKind::xsetbv:
      return exit_on(ExitReason::xsetbv, trap);
    case TrapKind::gdtr_idtr_access:
      return proc2(proc2::descriptor_table_exiting) &&
             exit_on(ExitReason::gdtr_idtr_access, trap, trap.displacement);
    case TrapKind::ldtr_tr_access:
      return proc2(proc2::descriptor_table_exiting) &&
             exit_on(ExitReason::ldtr_tr_access, trap, trap.displacement);
    case TrapKind::task_switch:
      exit_on(ExitReason::task_switch, trap, trap.value);
      record_vectoring();
      return true;
    case TrapKind::vmx_instruction:
      return on_vmx_instruction(trap);
    case TrapKind::vmcall:
      return exit_on(ExitReason::vmcall, trap);
    case TrapKind::triple_fault:
      return exit_on(ExitReason::triple_fault, trap);
    // Undefined in a guest of this processor: no PCID, no RDRAND and RDSEED, no SMX, not in SMM.
    case TrapKind::invpcid:
    case TrapKind::rdrand:
    case TrapKind::rdseed:
    case TrapKind::getsec:
    case TrapKind::rsm:
      return raise(kUD);
  }
  return false;
}

// SDM vol. 3C, "CR0 guest/host masks and read shadows".
uint64_t LogicalProcessor::visible_cr(unsigned number, uint64_t real) {
  uint64_t mask = 0, shadow = 0;
  if (executed() && !in_guest_) return real;
  if (number == 0) {
    mask = vmcs_[F::cr0_guest_host_mask];
    shadow = vmcs_[F::cr0_read_shadow];
  } else if (number == 4) {
    mask = vmcs_[F::cr4_guest_host_mask];
    shadow = vmcs_[F::cr4_read_shadow];
  }
  return (shadow & mask) | (real & ~mask);
}

}  // namespace cupel::vtx
