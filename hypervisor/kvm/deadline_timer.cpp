#include "hypervisor/kvm/deadline_timer.h"

#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <mutex>
#include <string>

#include "hypervisor/kvm/real_time.h"

// glibc names the field since 2.37 only.
#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace cupel::kvm {
namespace {

// The vCPU that runs on this thread; written by the thread, read by its signal handler.
thread_local uint8_t* volatile attached_vcpu = nullptr;

void on_expiry(int) {
  uint8_t* const immediate_exit = attached_vcpu;
  if (immediate_exit != nullptr) *static_cast<volatile uint8_t*>(immediate_exit) = 1;
}

int expiry_signal() { return SIGRTMIN + 5; }

void install_handler() {
  struct sigaction action {};
  action.sa_handler = on_expiry;
  sigemptyset(&action.sa_mask);
  // KVM_RUN must return EINTR; every other system call goes on by SA_RESTART where it can.
  action.sa_flags = SA_RESTART;
  sigaction(expiry_signal(), &action, nullptr);
}

}  // namespace

Result<DeadlineTimer*> DeadlineTimer::of_this_thread() {
  static std::once_flag installed;
  std::call_once(installed, install_handler);
  static thread_local DeadlineTimer timer;
  if (timer.valid_) return &timer;
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = expiry_signal();
  event.sigev_notify_thread_id = static_cast<pid_t>(syscall(SYS_gettid));
  if (timer_create(CLOCK_MONOTONIC, &event, &timer.timer_) != 0) {
    return fail(ErrorKind::environment,
                std::string("cannot create a timer: ") + std::strerror(errno));
  }
  timer.valid_ = true;
  return &timer;
}

DeadlineTimer::~DeadlineTimer() {
  if (valid_) timer_delete(timer_);
}

void DeadlineTimer::attach(uint8_t* immediate_exit) { attached_vcpu = immediate_exit; }

void DeadlineTimer::detach() { attached_vcpu = nullptr; }

void DeadlineTimer::arm(Nanoseconds when) {
  if (when == armed_) return;
  armed_ = when;
  itimerspec setting{};
  if (when != Nanoseconds::max()) setting.it_value = to_timespec(when);
  timer_settime(timer_, TIMER_ABSTIME, &setting, nullptr);
}

}  // namespace cupel::kvm
