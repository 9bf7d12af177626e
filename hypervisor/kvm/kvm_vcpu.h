// A virtual CPU on the host's processor, through /dev/kvm.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/clock.h"
#include "hypervisor/kvm/deadline_timer.h"
#include "hypervisor/kvm/virtual_machine.h"
#include "hypervisor/vm/vcpu.h"

namespace cupel::kvm {

// Interrupt controllers, timers and devices are the platform's, in user space; KVM executes
// instructions. Virtual time moves with real time while run() executes, and only then, so a VM
// that is not scheduled does not age. A halted guest sleeps inside run() until its next timer, so
// run() never returns `halted`.
//
// Exits are counted by the basic exit reason they stand for: MMIO as EPT violation, a deadline as
// preemption timer. What KVM handles itself (CPUID, most MSRs) is invisible and not counted.
//
// `memory`, `platform` and `clock` must outlive it. One thread at a time may call it; it need not
// be the same one every time.
class KvmVcpu final : public vm::Vcpu {
 public:
  // Makes the KVM machine, its memory and one vCPU with the platform's CPUID, in reset state.
  // Errors: environment.
  static Result<std::unique_ptr<KvmVcpu>> create(GuestMemory& memory, vm::GuestPlatform& platform,
                                                 VirtualClock& clock);

  vm::Stop run(Nanoseconds until) override;
  Result<x86::CpuState> state() override;
  Result<void> set_state(const x86::CpuState& state) override;
  void save(ArchiveWriter& out) override;
  Result<void> restore(ArchiveReader& in) override;
  // KVM keeps no copies of guest code.
  void memory_changed(Gpa, uint64_t) override {}
  const vm::ExitCounters& exits() const override { return exits_; }
  std::string_view backend() const override { return "kvm"; }

  // Which pages the guest itself wrote: see VirtualMachine.
  VirtualMachine& machine() { return *machine_; }
  // What this host's KVM cannot do for the guest, in sentences; usually empty.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  KvmVcpu(std::unique_ptr<VirtualMachine> machine, vm::GuestPlatform& platform, VirtualClock& clock)
      : machine_(std::move(machine)), run_(machine_->run()), platform_(platform), clock_(clock) {}

  // One pass of the run loop's parts; `stop` is filled when they return false.
  bool prepare_entry(Nanoseconds until, vm::Stop& stop);
  bool enter(vm::Stop& stop);
  bool handle_exit(vm::Stop& stop);

  void start_time(Nanoseconds until);
  void follow_real_time(Nanoseconds until);
  Nanoseconds to_real(Nanoseconds virtual_time) const;
  void sleep_until(Nanoseconds wake);
  bool deliver_interrupts(vm::Stop& stop);

  void do_port_io();
  void do_mmio();
  void do_msr(bool write);
  Result<void> complete_access();
  void forget_exit(bool interrupts_on);
  void count_exit(uint32_t kvm_reason);
  vm::Stop unexpected_exit();
  std::string where();

  std::unique_ptr<VirtualMachine> machine_;
  kvm_run* run_;
  vm::GuestPlatform& platform_;
  VirtualClock& clock_;
  DeadlineTimer* timer_ = nullptr;  // of the thread inside run()
  vm::ExitCounters exits_;
  std::vector<std::string> notes_;
  bool halted_ = false;
  // The last exit was an access that KVM completes at its next entry.
  bool access_open_ = false;
  Nanoseconds virtual_start_, real_start_;  // of the current run()
  Nanoseconds patience_;  // until when a window that KVM does not see is waited for
  Nanoseconds overrun_;   // real time that the last run() took beyond `until`
};

}  // namespace cupel::kvm
