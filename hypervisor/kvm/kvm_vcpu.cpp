#include "hypervisor/kvm/kvm_vcpu.h"

#include <algorithm>
#include <cstdio>

#include "core/probe.h"
#include "hypervisor/kvm/cpuid.h"
#include "hypervisor/kvm/exit_counting.h"
#include "hypervisor/kvm/real_time.h"
#include "hypervisor/kvm/registers.h"
#include "hypervisor/kvm/state_archive.h"

namespace cupel::kvm {
namespace {

constexpr std::string_view kTag = "kvm-vcpu";
constexpr uint32_t kVersion = 1;

// KVM exits when the guest can take an interrupt, but implementations exist that see that only at
// an exit of another kind; the timer then makes one.
constexpr Nanoseconds kWindowPatience = 1_ms;

vm::Stop make_stop(vm::StopReason reason, Error error = {}) { return {reason, std::move(error)}; }

vm::Stop make_error(ErrorKind kind, std::string message, std::string hint = {}) {
  return {vm::StopReason::error, Error{kind, std::move(message), std::move(hint)}};
}

}  // namespace

Result<std::unique_ptr<KvmVcpu>> KvmVcpu::create(GuestMemory& memory, vm::GuestPlatform& platform,
                                                 VirtualClock& clock) {
  auto machine = VirtualMachine::create(memory);
  if (!machine.ok()) return std::move(machine).failure();
  const System& system = (*machine)->system();
  auto supported = supported_leaves(system);
  if (!supported.ok()) return std::move(supported).failure();
  std::vector<CpuidEntry> leaves = platform_leaves(platform);
  restrict_leaves(leaves, supported.value(), system.tsc_khz);
  CUPEL_TRY(set_cpuid((*machine)->vcpu(), leaves));

  std::unique_ptr<KvmVcpu> vcpu(new KvmVcpu(std::move(machine).value(), platform, clock));
  if (!vcpu->machine_->system().has_user_space_msrs) {
    vcpu->notes_.push_back(
        "this KVM cannot hand MSR accesses to the platform: the guest sees KVM's own APIC base "
        "and MTRRs, and no TSC deadline timer");
  }
  CUPEL_TRY(vcpu->set_state(x86::CpuState::after_reset()));
  return vcpu;
}

// ---- time

// Time that the last run took too long is made up for, but at most half of this one: a run always
// lets the guest execute.
void KvmVcpu::start_time(Nanoseconds until) {
  virtual_start_ = clock_.now();
  real_start_ = real_now();
  const Nanoseconds slice = std::max(until - virtual_start_, 0_ns);
  real_start_ = real_start_ - std::min(overrun_, slice / 2);
  overrun_ = 0_ns;
}

void KvmVcpu::follow_real_time(Nanoseconds until) {
  const Nanoseconds now = virtual_start_ + (real_now() - real_start_);
  overrun_ = std::max(now - until, 0_ns);
  clock_.advance_to(std::min(now, until));
}

Nanoseconds KvmVcpu::to_real(Nanoseconds virtual_time) const {
  if (virtual_time == Nanoseconds::max()) return virtual_time;
  return real_start_ + (virtual_time - virtual_start_);
}

void KvmVcpu::sleep_until(Nanoseconds wake) { real_sleep_until(to_real(wake)); }

// ---- the run loop

vm::Stop KvmVcpu::run(Nanoseconds until) {
  auto timer = DeadlineTimer::of_this_thread();
  if (!timer.ok()) return {vm::StopReason::error, timer.error()};
  timer_ = timer.value();
  timer_->attach(&run_->immediate_exit);
  start_time(until);
  vm::Stop stop;
  while (prepare_entry(until, stop) && enter(stop) && handle_exit(stop)) {
  }
  follow_real_time(until);
  timer_->detach();
  run_->immediate_exit = 0;
  return stop;
}

// Everything between an exit and the next entry; sleeps while the guest is halted.
bool KvmVcpu::prepare_entry(Nanoseconds until, vm::Stop& stop) {
  for (;;) {
    follow_real_time(until);
    const Nanoseconds now = clock_.now();
    Nanoseconds deadline = platform_.next_deadline();
    if (now >= deadline) {
      platform_.advance(now);
      deadline = platform_.next_deadline();
    }
    if (platform_.stop_requested()) {
      stop = make_stop(vm::StopReason::stop_request);
      return false;
    }
    if (now >= until) {
      stop = make_stop(vm::StopReason::deadline);
      return false;
    }
    if (!deliver_interrupts(stop)) return false;
    Nanoseconds wake = std::min(until, deadline);
    if (!halted_) {
      if (run_->request_interrupt_window != 0) {
        // One patience lasts for many entries: arming a timer costs a system call.
        if (patience_ <= now || patience_ > now + kWindowPatience)
          patience_ = now + kWindowPatience;
        wake = std::min(wake, patience_);
      }
      timer_->arm(to_real(wake));
      return true;
    }
    if (wake > now) sleep_until(wake);
  }
}

// KVM takes an external interrupt only when the guest can accept it at once; otherwise it is asked
// to exit as soon as that is so. An NMI may wait inside KVM.
bool KvmVcpu::deliver_interrupts(vm::Stop& stop) {
  const auto check = [&](const Result<void>& result) {
    if (!result.ok()) stop = {vm::StopReason::error, result.error()};
    return result.ok();
  };
  if (platform_.take_nmi()) {
    halted_ = false;
    if (!check(machine_->vcpu().control(KVM_NMI, "KVM_NMI", 0))) return false;
  }
  run_->request_interrupt_window = 0;
  if (!platform_.interrupt_pending()) return true;
  if (access_open_) {
    // It may end in an exception, with which KVM would forget an interrupt queued before.
    if (!check(complete_access())) return false;
    timer_->expired();  // it may have, unseen
  }
  if (run_->if_flag != 0) halted_ = false;
  if (run_->ready_for_interrupt_injection == 0 || run_->if_flag == 0) {
    run_->request_interrupt_window = 1;
    return true;
  }
  kvm_interrupt interrupt{};
  interrupt.irq = platform_.acknowledge_interrupt();
  run_->ready_for_interrupt_injection = 0;
  if (!check(machine_->vcpu().control(KVM_INTERRUPT, "KVM_INTERRUPT", &interrupt))) return false;
  run_->request_interrupt_window = platform_.interrupt_pending() ? 1 : 0;
  return true;
}

// False with `stop` set on an error; an entry that only a signal ended counts as done.
bool KvmVcpu::enter(vm::Stop& stop) {
  const int result = machine_->vcpu().call(KVM_RUN, 0);
  const int error = errno;
  access_open_ = false;
  if (result == 0) return true;
  if (error == EINTR || error == EAGAIN) {
    if (run_->immediate_exit != 0) timer_->expired();
    run_->immediate_exit = 0;
    run_->exit_reason = KVM_EXIT_INTR;
    return true;
  }
  stop = make_error(ErrorKind::environment,
                    std::string("KVM_RUN failed: ") + std::strerror(error) + where());
  return false;
}

bool KvmVcpu::handle_exit(vm::Stop& stop) {
  count_exit(run_->exit_reason);
  switch (run_->exit_reason) {
    case KVM_EXIT_IO:
      do_port_io();
      return true;
    case KVM_EXIT_MMIO:
      do_mmio();
      return true;
    case KVM_EXIT_X86_RDMSR:
      do_msr(false);
      return true;
    case KVM_EXIT_X86_WRMSR:
      do_msr(true);
      return true;
    case KVM_EXIT_HLT:
      halted_ = true;
      return true;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR:
      return true;
    case KVM_EXIT_SHUTDOWN:
      CUPEL_PROBE("kvm: triple fault");
      stop = {vm::StopReason::triple_fault,
              Error{ErrorKind::guest, "the guest triple-faulted" + where(), ""}};
      return false;
    default:
      stop = unexpected_exit();
      return false;
  }
}

// ---- exits

void KvmVcpu::do_port_io() {
  const auto& io = run_->io;
  auto* at = reinterpret_cast<std::byte*>(run_) + io.data_offset;
  for (uint32_t i = 0; i < io.count; ++i, at += io.size) {
    uint32_t value = 0;
    if (io.direction == KVM_EXIT_IO_OUT) {
      std::memcpy(&value, at, io.size);
      platform_.port_out(io.port, io.size, value);
    } else {
      value = platform_.port_in(io.port, io.size);
      std::memcpy(at, &value, io.size);
    }
  }
  access_open_ = true;
}

// Instructions may move any number of bytes; the platform takes 1, 2, 4 or 8 at a time.
void KvmVcpu::do_mmio() {
  auto& mmio = run_->mmio;
  const uint32_t length = std::min<uint32_t>(mmio.len, sizeof mmio.data);
  for (uint32_t done = 0; done < length;) {
    uint32_t size = 8;
    while (size > length - done) size /= 2;
    const Gpa at(mmio.phys_addr + done);
    uint64_t value = 0;
    if (mmio.is_write != 0) {
      std::memcpy(&value, mmio.data + done, size);
      platform_.mmio_write(at, size, value);
    } else {
      value = platform_.mmio_read(at, size);
      std::memcpy(mmio.data + done, &value, size);
    }
    done += size;
  }
  access_open_ = true;
}

void KvmVcpu::do_msr(bool write) {
  auto& msr = run_->msr;
  uint64_t value = msr.data;
  const bool ok =
      write ? platform_.write_msr(msr.index, value) : platform_.read_msr(msr.index, value);
  msr.data = value;
  msr.error = ok ? 0 : 1;
  access_open_ = true;
}

// The API's rule: an access that caused an exit is finished by the next KVM_RUN, which also moves
// RIP; an immediate exit does that and no more. A large access may need several such exits.
Result<void> KvmVcpu::complete_access() {
  while (access_open_) {
    run_->immediate_exit = 1;
    vm::Stop stop;
    const int result = machine_->vcpu().call(KVM_RUN, 0);
    const int error = errno;
    run_->immediate_exit = 0;
    access_open_ = false;
    if (result != 0 && error != EINTR && error != EAGAIN) {
      return fail(ErrorKind::environment,
                  std::string("KVM_RUN failed to complete an access: ") + std::strerror(error));
    }
    if (result == 0 && !handle_exit(stop)) return Failure<Error>(std::move(stop.error));
  }
  return {};
}

void KvmVcpu::count_exit(uint32_t kvm_reason) {
  ++exits_.total;
  auto reason = basic_exit_reason(kvm_reason);
  // A KVM_RUN that only a signal ended: our deadline.
  if (kvm_reason == KVM_EXIT_INTR) reason = x86::ExitReason::preemption_timer;
  if (reason.has_value()) ++exits_.by_reason[static_cast<size_t>(*reason)];
}

vm::Stop KvmVcpu::unexpected_exit() {
  char detail[128] = "";
  ErrorKind kind = ErrorKind::internal;
  std::string hint;
  if (run_->exit_reason == KVM_EXIT_INTERNAL_ERROR) {
    std::snprintf(detail, sizeof detail, " suberror %u", run_->internal.suberror);
    if (run_->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
      kind = ErrorKind::guest;
      hint = "the guest executed an instruction that KVM cannot emulate; try --backend model";
    }
  } else if (run_->exit_reason == KVM_EXIT_FAIL_ENTRY) {
    std::snprintf(detail, sizeof detail, " hardware reason %#llx",
                  static_cast<unsigned long long>(run_->fail_entry.hardware_entry_failure_reason));
    hint = "the processor refused the guest's state";
  } else {
    std::snprintf(detail, sizeof detail, " (number %u)", run_->exit_reason);
  }
  return make_error(kind, std::string(kvm_exit_name(run_->exit_reason)) + detail + where(), hint);
}

// " at CS:RIP=..." of the guest, as far as KVM tells.
std::string KvmVcpu::where() {
  kvm_regs regs{};
  kvm_sregs sregs{};
  if (machine_->vcpu().call(KVM_GET_REGS, &regs) != 0 ||
      machine_->vcpu().call(KVM_GET_SREGS, &sregs) != 0) {
    return {};
  }
  // KVM on AMD processors resets the vCPU when it shuts down.
  if (sregs.cs.selector == 0xf000 && regs.rip == 0xfff0) return "; its registers were reset";
  char text[64];
  std::snprintf(text, sizeof text, " at CS:RIP=%04x:%#llx", sregs.cs.selector,
                static_cast<unsigned long long>(regs.rip));
  return text;
}

// ---- state

Result<x86::CpuState> KvmVcpu::state() {
  CUPEL_TRY(complete_access());
  auto state = read_state(*machine_, clock_.now());
  if (state.ok() && halted_) state->activity = x86::Activity::hlt;
  return state;
}

// What the last exit said of the old state no longer holds; KVM tells anew at the next one. Only a
// halted guest with interrupts on is certain to take one at once.
void KvmVcpu::forget_exit(bool interrupts_on) {
  run_->if_flag = interrupts_on ? 1 : 0;
  run_->ready_for_interrupt_injection = interrupts_on && halted_ ? 1 : 0;
}

Result<void> KvmVcpu::set_state(const x86::CpuState& state) {
  CUPEL_TRY(complete_access());
  CUPEL_TRY(write_state(*machine_, state, clock_.now()));
  halted_ = state.activity == x86::Activity::hlt;
  forget_exit((state.rflags & x86::rflags::IF) != 0);
  return {};
}

void KvmVcpu::save(ArchiveWriter& out) {
  out.section(kTag, kVersion);
  const auto completed = complete_access();
  out.put(static_cast<uint8_t>(halted_));
  out.put(run_->if_flag);
  const auto saved = save_vcpu(*machine_, out);
  // A reader must not take a broken image for a good one.
  out.put(static_cast<uint8_t>(completed.ok() && saved.ok()));
}

Result<void> KvmVcpu::restore(ArchiveReader& in) {
  in.section(kTag, kVersion);
  const auto halted = in.get<uint8_t>();
  const auto if_flag = in.get<uint8_t>();
  CUPEL_TRY(in.finish());
  CUPEL_TRY(complete_access());
  CUPEL_TRY(restore_vcpu(*machine_, in));
  if (in.get<uint8_t>() != 1) in.note("the vCPU's state could not be read when it was saved");
  CUPEL_TRY(in.finish());
  halted_ = halted != 0;
  forget_exit(if_flag != 0);
  return {};
}

}  // namespace cupel::kvm
