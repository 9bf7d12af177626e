// Exits that no instruction asks for: windows, timers, the monitor trap flag, interrupts and NMIs.
// SDM vol. 3C, "Other Causes of VM Exits".
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/exit_rows.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

CUPEL_GUEST(win_nops, "nop", "nop", "nop");
CUPEL_GUEST(win_sti, "sti\n nop", "nop", "cli");
CUPEL_GUEST(win_mov_ss, "mov %ss, %eax\n mov %eax, %ss\n nop", "nop", "");
CUPEL_GUEST(win_spin, "", "1: jmp 1b", "");
CUPEL_GUEST(win_iret,
            "mov %rsp, %rax\n mov %ss, %ecx\n push %rcx\n push %rax\n pushf\n"
            "mov %cs, %ecx\n push %rcx\n lea win_iret_at, %rax\n push %rax\n iretq",
            "nop", "");

uint64_t address_of(const char* p) { return reinterpret_cast<uint64_t>(p); }
void interruptible(TestVm& vm) { vm.set(FieldN::guest_rflags, rflags::fixed1 | rflags::IF); }

bool exits_at(Report& report, TestVm& vm, const GuestCode& code, ExitReason reason,
              const char* where) {
  return vm.run(report, code.code, reason) &&
         report.equal("rip - expected", vm.exit().rip - address_of(where), 0u) &&
         report.equal("qualification", vm.exit().qualification, 0u);
}

// A processor that does not wake from HLT would hang the run; the timer ends that. Value in units
// of the timer, far beyond what a test takes.
constexpr uint32_t kRescue = 200000;
Controls with_rescue(Lab& lab, Controls controls) {
  Controls timed = controls;
  timed.pin |= pin::preemption_timer;
  return lab.offers(timed) ? timed : controls;
}
void arm_rescue(TestVm& vm) {
  if ((vm.controls().pin & pin::preemption_timer) == 0) return;
  vm.set(Field32::preemption_timer_value, kRescue);
}

void interrupt_window(Tap& tap, Lab& lab) {
  constexpr Controls kWindow{.primary = proc::interrupt_window};
  tap.test("exit.interrupt_window", "open", [&](Report& report) {
    TestVm vm(lab, kWindow);
    if (!vm.ready(report)) return;
    interruptible(vm);
    exits_at(report, vm, win_nops, ExitReason::interrupt_window, win_nops.code);
  });
  tap.test("exit.interrupt_window", "closed", [&](Report& report) {
    TestVm vm(lab, kWindow);
    if (!vm.ready(report)) return;
    vm.run(report, win_nops.code, ExitReason::vmcall);
  });
  tap.test("exit.interrupt_window", "opens_behind_sti", [&](Report& report) {
    TestVm vm(lab, kWindow);
    if (!vm.ready(report)) return;
    exits_at(report, vm, win_sti, ExitReason::interrupt_window, win_sti.at);
  });
  tap.test("exit.interrupt_window", "behind_mov_ss", [&](Report& report) {
    TestVm vm(lab, kWindow);
    if (!vm.ready(report)) return;
    interruptible(vm);
    vm.set(Field32::guest_interruptibility_state, 2u);
    exits_at(report, vm, win_nops, ExitReason::interrupt_window, win_nops.at);
  });
  tap.test("exit.interrupt_window", "wakes_hlt", [&](Report& report) {
    if ((lab.caps.misc >> 6 & 1) == 0) return report.skip("no HLT activity");
    TestVm vm(lab, with_rescue(lab, kWindow));
    if (!vm.ready(report)) return;
    arm_rescue(vm);
    interruptible(vm);
    vm.set(Field32::guest_activity_state, 1u);
    exits_at(report, vm, win_nops, ExitReason::interrupt_window, win_nops.code);
  });
}

void nmi_window(Tap& tap, Lab& lab) {
  constexpr Controls kWindow{.pin = pin::nmi_exiting | pin::virtual_nmis,
                             .primary = proc::nmi_window};
  tap.test("exit.nmi_window", "open", [&](Report& report) {
    TestVm vm(lab, kWindow);
    if (!vm.ready(report)) return;
    exits_at(report, vm, win_nops, ExitReason::nmi_window, win_nops.code);
  });
  tap.test("exit.nmi_window", "blocked", [&](Report& report) {
    TestVm vm(lab, kWindow);
    if (!vm.ready(report)) return;
    vm.set(Field32::guest_interruptibility_state, 8u);
    vm.run(report, win_nops.code, ExitReason::vmcall);
    report.equal("still blocked", vm.get(Field32::guest_interruptibility_state), 8u);
  });
  tap.test("exit.nmi_window", "opens_behind_iret", [&](Report& report) {
    TestVm vm(lab, kWindow);
    if (!vm.ready(report)) return;
    vm.set(Field32::guest_interruptibility_state, 8u);
    exits_at(report, vm, win_iret, ExitReason::nmi_window, win_iret.at);
  });
}

void preemption_timer(Tap& tap, Lab& lab) {
  constexpr Controls kTimer{.pin = pin::preemption_timer};
  tap.test("exit.preemption_timer", "zero", [&](Report& report) {
    TestVm vm(lab, kTimer);
    if (!vm.ready(report)) return;
    exits_at(report, vm, win_nops, ExitReason::preemption_timer, win_nops.code);
  });
  tap.test("exit.preemption_timer", "ends_a_loop", [&](Report& report) {
    TestVm vm(lab, kTimer);
    if (!vm.ready(report)) return;
    vm.set(Field32::preemption_timer_value, 1000u);
    exits_at(report, vm, win_spin, ExitReason::preemption_timer, win_spin.at);
  });
  tap.test("exit.preemption_timer", "value_stays_without_saving", [&](Report& report) {
    TestVm vm(lab, kTimer);
    if (!vm.ready(report)) return;
    vm.set(Field32::preemption_timer_value, 1000u);
    if (!vm.run(report, win_spin.code, ExitReason::preemption_timer)) return;
    report.equal("value", vm.get(Field32::preemption_timer_value), 1000u);
  });
  tap.test("exit.preemption_timer", "saved_at_expiry", [&](Report& report) {
    TestVm vm(lab, {.pin = pin::preemption_timer, .exit = exitctl::save_preemption_timer});
    if (!vm.ready(report)) return;
    vm.set(Field32::preemption_timer_value, 1000u);
    if (!vm.run(report, win_spin.code, ExitReason::preemption_timer)) return;
    report.equal("value", vm.get(Field32::preemption_timer_value), 0u);
  });
  tap.test("exit.preemption_timer", "saved_before_expiry", [&](Report& report) {
    TestVm vm(lab, {.pin = pin::preemption_timer, .exit = exitctl::save_preemption_timer});
    if (!vm.ready(report)) return;
    constexpr uint32_t kFar = 0x7fffffff;
    vm.set(Field32::preemption_timer_value, kFar);
    if (!vm.run(report, win_nops.code, ExitReason::vmcall)) return;
    const uint32_t left = vm.get(Field32::preemption_timer_value);
    report.equal("counted down, not out", left <= kFar && left > kFar / 2, true);
  });
  tap.test("exit.preemption_timer", "fires_in_hlt", [&](Report& report) {
    if ((lab.caps.misc >> 6 & 1) == 0) return report.skip("no HLT activity");
    TestVm vm(lab, kTimer);
    if (!vm.ready(report)) return;
    vm.set(Field32::guest_activity_state, 1u);
    vm.set(Field32::preemption_timer_value, 1000u);
    if (!vm.run(report, win_nops.code, ExitReason::preemption_timer)) return;
    report.equal("activity", vm.get(Field32::guest_activity_state), 1u);
  });
}

void monitor_trap(Tap& tap, Lab& lab) {
  constexpr Controls kMtf{.primary = proc::monitor_trap_flag};
  tap.test("exit.monitor_trap_flag", "one_instruction", [&](Report& report) {
    TestVm vm(lab, kMtf);
    if (!vm.ready(report)) return;
    exits_at(report, vm, win_nops, ExitReason::monitor_trap_flag, win_nops.at);
    vm.run_on(report, ExitReason::monitor_trap_flag);
    report.equal("rip - next", vm.exit().rip - address_of(win_nops.next), 0u);
  });
  tap.test("exit.monitor_trap_flag", "injected", [&](Report& report) {
    if (!lab.offers(kMtf)) return report.skip("controls not offered");
    TestVm vm(lab, {});
    vm.set(Field32::entry_interruption_info, 0x80000700u);
    exits_at(report, vm, win_nops, ExitReason::monitor_trap_flag, win_nops.code);
  });
}

// --- Interrupts and NMIs, sent by the local APIC to its own processor --------------------------
constexpr uint32_t kSelf = 0x40000, kNmiMode = 0x400, kVector = 0x51;

volatile uint32_t& apic(uint32_t offset) {
  return *reinterpret_cast<volatile uint32_t*>(uint64_t{0xfee00000} + offset);
}
void enable_apic() {
  apic(0xf0) = 0x1ff;  // software-enabled, spurious vector FFH
  apic(0x80) = 0;      // task priority
}
void send_to_self(uint32_t vector) { apic(0x300) = kSelf | vector; }

// Takes what is pending in root operation, so that no test leaves it to the next.
void take_pending() { asm volatile("sti\n nop\n nop\n cli" ::: "memory"); }

CUPEL_GUEST(win_nmi,
            "mov $0xfee00000, %eax\n mov 0x20(%rax), %ecx\n mov %ecx, 0x310(%rax)\n"
            "movl $0x4400, 0x300(%rax)\n mov 0x300(%rax), %ecx\n mov $100000, %ecx",
            "1: dec %ecx\n jnz 1b", "");

void external_interrupt(Tap& tap, Lab& lab) {
  const auto pending = [&](const char* name, uint32_t exit_controls, uint64_t flags,
                           uint32_t information) {
    tap.test("exit.external_interrupt", name, [&](Report& report) {
      TestVm vm(lab, {.pin = pin::external_interrupt_exiting, .exit = exit_controls});
      if (!vm.ready(report)) return;
      enable_apic();
      clear_interrupt_counts();
      vm.set(FieldN::guest_rflags, flags);
      send_to_self(kVector);
      if (exits_at(report, vm, win_nops, ExitReason::external_interrupt, win_nops.code)) {
        report.equal("interruption information", vm.exit().interruption, information);
      }
      const bool acknowledged = information != 0;
      if (acknowledged) apic(0xb0) = 0;
      take_pending();
      report.equal("left for the host", interrupt_count(kVector), acknowledged ? 0u : 1u);
    });
  };
  pending("not_acknowledged", 0, rflags::fixed1 | rflags::IF, 0);
  pending("not_acknowledged_if_clear", 0, rflags::fixed1, 0);
  pending("acknowledged", exitctl::acknowledge_interrupt, rflags::fixed1 | rflags::IF,
          0x80000000 | kVector);
  tap.test("exit.external_interrupt", "wakes_hlt", [&](Report& report) {
    if ((lab.caps.misc >> 6 & 1) == 0) return report.skip("no HLT activity");
    TestVm vm(lab, with_rescue(lab, {.pin = pin::external_interrupt_exiting}));
    if (!vm.ready(report)) return;
    arm_rescue(vm);
    enable_apic();
    vm.set(Field32::guest_activity_state, 1u);
    send_to_self(kVector);
    if (exits_at(report, vm, win_nops, ExitReason::external_interrupt, win_nops.code)) {
      report.equal("activity", vm.get(Field32::guest_activity_state), 1u);
    }
    take_pending();
  });
  tap.test("exit.external_interrupt", "delivered_without_exiting", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    enable_apic();
    clear_interrupt_counts();
    interruptible(vm);
    send_to_self(kVector);
    vm.run(report, win_nops.code, ExitReason::vmcall);
    report.equal("delivered in the guest", interrupt_count(kVector), 1u);
    take_pending();
  });
  tap.test("exit.nmi", "nmi_exiting", [&](Report& report) {
    TestVm vm(lab, {.pin = pin::nmi_exiting});
    if (!vm.ready(report)) return;
    enable_apic();
    if (!vm.run(report, win_nmi.code, ExitReason::exception_or_nmi)) return;
    report.equal("interruption information", vm.exit().interruption, 0x80000202u);
    report.equal("qualification", vm.exit().qualification, 0u);
    // The exit blocks NMIs in the host; IRET lets them through again.
    asm volatile(
        "mov %%rsp, %%rax\n mov %%ss, %%ecx\n push %%rcx\n push %%rax\n pushf\n mov %%cs, %%ecx\n"
        "push %%rcx\n lea 1f(%%rip), %%rax\n push %%rax\n iretq\n 1:" ::
            : "rax", "rcx", "memory", "cc");
  });
}

}  // namespace

void test_windows(Tap& tap, Lab& lab) {
  interrupt_window(tap, lab);
  nmi_window(tap, lab);
  preemption_timer(tap, lab);
  monitor_trap(tap, lab);
  external_interrupt(tap, lab);
}

}  // namespace cupel::metal
