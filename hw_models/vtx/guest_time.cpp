// The guest's time stamps, and PAUSE as a sign that it only waits.
// SDM vol. 3C, "Changes to Instruction Behavior in VMX Non-Root Operation" (RDTSC, RDMSR, PAUSE),
// "Time-Stamp Counter Offset and Multiplier", "Controls for PAUSE-Loop Exiting".
#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/logical_processor.h"

namespace cupel::vtx {

// The multiplier has 48 fraction bits; only with TSC offsetting is it looked at.
uint64_t LogicalProcessor::visible_tsc(uint64_t host_tsc) {
  const bool root = executed() && !in_guest_;
  if (root || !proc(x86::proc::tsc_offsetting)) return host_tsc;
  if (proc2(x86::proc2::tsc_scaling)) {
    __extension__ using Wide = unsigned __int128;
    host_tsc = static_cast<uint64_t>(Wide{host_tsc} * vmcs_[F::tsc_multiplier] >> 48);
  }
  return host_tsc + vmcs_[F::tsc_offset];
}

// "If this amount of time exceeds the value of the VM-execution control field PLE_Gap, the
// processor considers this execution to be the first execution of PAUSE in a loop. (It also does so
// for the first execution of PAUSE at CPL 0 after VM entry.)"
bool LogicalProcessor::on_pause(const cpu::Trap& trap) {
  if (proc(x86::proc::pause_exiting)) return exit_on(x86::ExitReason::pause, trap);
  if (!proc2(x86::proc2::pause_loop_exiting) || processor_.privilege_level() != 0) return false;
  const uint64_t now = processor_.host_tsc();
  const bool first = !pause_loop_.known || now - pause_loop_.last > vmcs_[F::ple_gap];
  if (first) pause_loop_.first = now;
  pause_loop_.last = now;
  pause_loop_.known = true;
  return now - pause_loop_.first > vmcs_[F::ple_window] && exit_on(x86::ExitReason::pause, trap);
}

}  // namespace cupel::vtx
