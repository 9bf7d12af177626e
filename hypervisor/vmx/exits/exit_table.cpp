#include "hypervisor/vmx/exits/exit_table.h"

#include "hypervisor/vmx/exits/handlers.h"

namespace cupel::vmx {
namespace {

using enum x86::ExitReason;

constexpr std::array<ExitRow, x86::kExitReasonCount> make_table() {
  std::array<ExitRow, x86::kExitReasonCount> table{};
  for (ExitRow& row : table) row = {handle_unexpected};
  const auto set = [&table](x86::ExitReason reason, Outcome (*handle)(VcpuContext&),
                            bool delivering = false) {
    table[static_cast<unsigned>(reason)] = {handle, delivering};
  };
  set(exception_or_nmi, handle_exception_or_nmi, true);
  set(external_interrupt, handle_back_to_loop);
  set(triple_fault, handle_triple_fault);
  set(interrupt_window, handle_back_to_loop);
  set(nmi_window, handle_back_to_loop);
  set(task_switch, handle_unexpected, true);
  set(x86::ExitReason::cpuid, handle_cpuid);
  set(hlt, handle_hlt);
  set(invd, handle_skip);
  set(rdpmc, handle_rdpmc);
  set(cr_access, handle_cr_access);
  set(io_instruction, handle_io);
  set(rdmsr, handle_rdmsr);
  set(wrmsr, handle_wrmsr);
  set(entry_failure_guest_state, handle_entry_failure);
  set(entry_failure_msr_loading, handle_entry_failure);
  set(entry_failure_machine_check, handle_entry_failure);
  set(pause, handle_skip);
  set(ept_violation, handle_ept_violation, true);
  set(ept_misconfiguration, handle_unexpected, true);
  set(preemption_timer, handle_back_to_loop);
  set(wbinvd, handle_skip);
  set(xsetbv, handle_xsetbv);
  // The guest's CPUID offers none of these.
  for (const auto reason :
       {getsec, monitor,  mwait,   vmcall, vmclear, vmlaunch,  vmptrld,  vmptrst,
        vmread, vmresume, vmwrite, vmxoff, vmxon,   invept,    invvpid,  vmfunc,
        encls,  enclv,    pconfig, umwait, tpause,  loadiwkey, seamcall, tdcall}) {
    set(reason, handle_invalid_opcode);
  }
  return table;
}

}  // namespace

constinit const std::array<ExitRow, x86::kExitReasonCount> kExitTable = make_table();

}  // namespace cupel::vmx
