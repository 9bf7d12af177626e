// Basic exit reasons. SDM vol. 3D, appendix "VMX Basic Exit Reasons" (edition 087). Freestanding.
#pragma once

#include <cstdint>

namespace cupel::x86 {

#define CUPEL_EXIT_REASONS(X)        \
  X(exception_or_nmi, 0)             \
  X(external_interrupt, 1)           \
  X(triple_fault, 2)                 \
  X(init_signal, 3)                  \
  X(sipi, 4)                         \
  X(io_smi, 5)                       \
  X(other_smi, 6)                    \
  X(interrupt_window, 7)             \
  X(nmi_window, 8)                   \
  X(task_switch, 9)                  \
  X(cpuid, 10)                       \
  X(getsec, 11)                      \
  X(hlt, 12)                         \
  X(invd, 13)                        \
  X(invlpg, 14)                      \
  X(rdpmc, 15)                       \
  X(rdtsc, 16)                       \
  X(rsm, 17)                         \
  X(vmcall, 18)                      \
  X(vmclear, 19)                     \
  X(vmlaunch, 20)                    \
  X(vmptrld, 21)                     \
  X(vmptrst, 22)                     \
  X(vmread, 23)                      \
  X(vmresume, 24)                    \
  X(vmwrite, 25)                     \
  X(vmxoff, 26)                      \
  X(vmxon, 27)                       \
  X(cr_access, 28)                   \
  X(mov_dr, 29)                      \
  X(io_instruction, 30)              \
  X(rdmsr, 31)                       \
  X(wrmsr, 32)                       \
  X(entry_failure_guest_state, 33)   \
  X(entry_failure_msr_loading, 34)   \
  X(mwait, 36)                       \
  X(monitor_trap_flag, 37)           \
  X(monitor, 39)                     \
  X(pause, 40)                       \
  X(entry_failure_machine_check, 41) \
  X(tpr_below_threshold, 43)         \
  X(apic_access, 44)                 \
  X(virtualized_eoi, 45)             \
  X(gdtr_idtr_access, 46)            \
  X(ldtr_tr_access, 47)              \
  X(ept_violation, 48)               \
  X(ept_misconfiguration, 49)        \
  X(invept, 50)                      \
  X(rdtscp, 51)                      \
  X(preemption_timer, 52)            \
  X(invvpid, 53)                     \
  X(wbinvd, 54)                      \
  X(xsetbv, 55)                      \
  X(apic_write, 56)                  \
  X(rdrand, 57)                      \
  X(invpcid, 58)                     \
  X(vmfunc, 59)                      \
  X(encls, 60)                       \
  X(rdseed, 61)                      \
  X(page_modification_log_full, 62)  \
  X(xsaves, 63)                      \
  X(xrstors, 64)                     \
  X(pconfig, 65)                     \
  X(spp_event, 66)                   \
  X(umwait, 67)                      \
  X(tpause, 68)                      \
  X(loadiwkey, 69)                   \
  X(enclv, 70)                       \
  X(enqcmd_pasid_failure, 72)        \
  X(enqcmds_pasid_failure, 73)       \
  X(bus_lock, 74)                    \
  X(instruction_timeout, 75)         \
  X(seamcall, 76)                    \
  X(tdcall, 77)                      \
  X(rdmsrlist, 78)                   \
  X(wrmsrlist, 79)

enum class ExitReason : uint16_t {
#define CUPEL_EXIT_REASON(name, number) name = number,
  CUPEL_EXIT_REASONS(CUPEL_EXIT_REASON)
#undef CUPEL_EXIT_REASON
};
inline constexpr unsigned kExitReasonCount =
    80;  // numbers 0..79; 35, 38, 42 and 71 are not defined

constexpr const char* to_string(ExitReason reason) {
  switch (reason) {
#define CUPEL_EXIT_REASON(name, number) \
  case ExitReason::name:                \
    return #name;
    CUPEL_EXIT_REASONS(CUPEL_EXIT_REASON)
#undef CUPEL_EXIT_REASON
  }
  return "undefined";
}

// The 32-bit exit-reason field: bits 15:0 basic reason, 31 VM-entry failure.
inline constexpr uint32_t kExitReasonEntryFailure = 1u << 31;

}  // namespace cupel::x86
