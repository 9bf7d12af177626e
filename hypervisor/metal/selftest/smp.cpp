// Several processors: start-up, VMX operation on each, and what one does to another's guest.
// SDM vol. 3A, "Multiple-Processor (MP) Initialization"; vol. 3C, "Other Causes of VM Exits",
// "Restrictions on VMX Operation".
#include "hypervisor/metal/selftest/smp.h"

#include <atomic>

#include "core/x86/vmx_controls.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/trap.h"

namespace cupel::metal {
namespace {

using namespace x86;

constexpr uint64_t kRounds = 500, kLockedAdds = 20'000;
constexpr uint8_t kVector = 0x51, kStartPage = 0x9a;

// R8: the counter. One locked increment and one exit a round.
CUPEL_GUEST(smp_round, "1: lock incq (%r8)", "cpuid", "jmp 1b");
// RCX locked increments without an exit, against the same of others.
CUPEL_GUEST(smp_add, "1: lock incq (%r8)\n dec %rcx\n jnz 1b", "nop", "");
// Says that it runs, then waits for something to come from outside.
CUPEL_GUEST(smp_spin, "movq $1, (%r8)", "1: pause\n jmp 1b", "");
CUPEL_GUEST(smp_hlt, "movq $1, (%r8)", "hlt", "");
CUPEL_GUEST(smp_nop, "", "nop", "");

std::atomic<uint64_t> shared_counter;

// A test name that ends in a processor's number.
struct Numbered {
  explicit Numbered(unsigned n) { text[0] = static_cast<char>('0' + n); }
  char text[2] = {0, 0};
};

// --- Work for a processor ----------------------------------------------------------------------
struct Guest {
  const char* code = nullptr;
  Controls controls{};
  uint32_t activity = 0;
  uint64_t flags = rflags::fixed1;
  uint64_t count = 0;   // RCX
  uint64_t rounds = 1;  // entries; between two of them the guest's instruction is skipped
  std::atomic<uint64_t>* word = nullptr;  // R8
  // What came of it.
  bool offered = false;
  Outcome entry{};
  ExitRecord exit{};
  uint64_t entries = 0;
};

void run_guest_job(Lab& lab, void* argument) {
  Guest& guest = *static_cast<Guest*>(argument);
  TestVm vm(lab, guest.controls);
  guest.offered = lab.offers(guest.controls);
  if (!guest.offered) return;
  vm.regs[Gpr::r8] = reinterpret_cast<uint64_t>(guest.word);
  vm.regs[Gpr::rcx] = guest.count;
  vm.set(FieldN::guest_rflags, guest.flags);
  vm.set(Field32::guest_activity_state, guest.activity);
  guest.entry = vm.launch(guest.code);
  for (guest.entries = 1; guest.entry.ok(); ++guest.entries) {
    guest.exit = vm.exit();
    if (guest.entries == guest.rounds || guest.exit.entry_failure()) break;
    vm.skip_instruction();
    guest.entry = vm.resume();
  }
}

bool good_exit(Report& report, const Guest& guest, ExitReason reason) {
  if (!guest.offered) {
    report.skip("controls not offered");
    return false;
  }
  return report.equal("entry", guest.entry, kSucceed) &&
         report.equal("entry failure", guest.exit.entry_failure(), false) &&
         report.equal("exit reason", guest.exit.basic(), reason);
}

bool wait_for_word(const std::atomic<uint64_t>& word, uint64_t value) {
  const uint64_t begin = rdtsc();
  while (word.load() != value) {
    if (rdtsc() - begin > 100'000'000) return false;
    pause();
  }
  return true;
}

// Runs `guest` on processor `n`, waits until it is at work and sends it `command`.
bool disturb(Report& report, Processors& all, unsigned n, Guest& guest, uint32_t command) {
  shared_counter = 0;
  guest.word = &shared_counter;
  all.run(n, run_guest_job, &guest);
  if (guest.activity == 0) {
    if (!report.equal("guest runs", wait_for_word(shared_counter, 1), true)) return false;
  } else {
    pause_for_ticks(100'000);
  }
  send_ipi(n, command);
  if (report.equal("came back", all.wait(n), true)) return true;
  send_ipi(n, ipi::init);  // so that the next test finds the processor back
  if (!all.wait(n)) (void)all.start(n);
  return false;
}

// --- Tests -------------------------------------------------------------------------------------
void start(Tap& tap, Processors& all, unsigned n) {
  const Numbered name(n);
  tap.test("smp.start", name.text, [&](Report& report) {
    if (!report.equal("answers", all.start(n), true)) return;
    const StartRegisters found = all.start_registers();
    report.equal("CS", uint32_t{found.cs}, uint32_t{TRAMPOLINE >> 4});
    // SDM vol. 3A, "Processor State After Reset": the table's column for INIT.
    report.equal("SP", uint32_t{found.sp}, 0u);
    report.equal("EDX", found.edx, cpuid(1).eax);
    report.equal("CR0 but CD and NW", found.cr0 & ~0x60000000u, 0x10u);
    uint64_t id = ~0ull;
    all.run(
        n, [](Lab&, void* to) { *static_cast<uint64_t*>(to) = apic_id(); }, &id);
    report.equal("does a job", all.wait(n), true);
    report.equal("APIC ID", id, uint64_t{n});
  });
}

void vmx(Tap& tap, Processors& all, unsigned n) {
  const Numbered name(n);
  tap.test("smp.vmx", name.text, [&](Report& report) {
    shared_counter = 0;
    Guest guest{.code = smp_round.code, .rounds = kRounds, .word = &shared_counter};
    all.run(n, run_guest_job, &guest);
    if (!report.equal("finished", all.wait(n), true)) return;
    if (!good_exit(report, guest, ExitReason::cpuid)) return;
    report.equal("entries", guest.entries, kRounds);
    report.equal("counter", shared_counter.load(), kRounds);
  });
}

// Every processor, this one as well, does `guest` at the same time.
void all_at_once(Lab& lab, Processors& all, Guest* guests, bool& finished) {
  for (unsigned n = 1; n < all.count(); ++n) all.run(n, run_guest_job, &guests[n]);
  run_guest_job(lab, &guests[0]);
  finished = true;
  for (unsigned n = 1; n < all.count(); ++n) finished = all.wait(n) && finished;
}

void shared(Tap& tap, Lab& lab, Processors& all) {
  tap.test("smp", "shared_counter", [&](Report& report) {
    shared_counter = 0;
    Guest guests[MOST_PROCESSORS];
    for (Guest& guest : guests) {
      guest.code = smp_round.code;
      guest.rounds = kRounds;
      guest.word = &shared_counter;
    }
    bool finished = false;
    all_at_once(lab, all, guests, finished);
    report.equal("finished", finished, true);
    report.equal("counter", shared_counter.load(), kRounds * all.count());
    for (unsigned n = 0; n < all.count(); ++n) good_exit(report, guests[n], ExitReason::cpuid);
  });
  tap.test("smp", "shared_counter_without_exits", [&](Report& report) {
    shared_counter = 0;
    Guest guests[MOST_PROCESSORS];
    for (Guest& guest : guests) {
      guest.code = smp_add.code;
      guest.count = kLockedAdds;
      guest.word = &shared_counter;
    }
    bool finished = false;
    all_at_once(lab, all, guests, finished);
    report.equal("finished", finished, true);
    report.equal("counter", shared_counter.load(), kLockedAdds * all.count());
    for (unsigned n = 0; n < all.count(); ++n) good_exit(report, guests[n], ExitReason::vmcall);
  });
}

void interrupts_of_guests(Tap& tap, Processors& all) {
  tap.test("smp", "nmi_ipi_exits", [&](Report& report) {
    Guest guest{.code = smp_spin.code, .controls = {.pin = pin::nmi_exiting}};
    if (!disturb(report, all, 1, guest, ipi::nmi)) return;
    if (!good_exit(report, guest, ExitReason::exception_or_nmi)) return;
    report.equal("interruption information", guest.exit.interruption, 0x80000202u);
  });
  tap.test("smp", "nmi_ipi_wakes_hlt", [&](Report& report) {
    Guest guest{.code = smp_hlt.code, .controls = {.pin = pin::nmi_exiting}};
    if (!disturb(report, all, 1, guest, ipi::nmi)) return;
    if (!good_exit(report, guest, ExitReason::exception_or_nmi)) return;
    report.equal("rip - next", guest.exit.rip - reinterpret_cast<uint64_t>(smp_hlt.next), 0u);
  });
  tap.test("smp", "fixed_ipi_exits", [&](Report& report) {
    Guest guest{.code = smp_spin.code,
                .controls = {.pin = pin::external_interrupt_exiting,
                             .exit = exitctl::acknowledge_interrupt},
                .flags = rflags::fixed1 | rflags::IF};
    if (!disturb(report, all, 1, guest, ipi::fixed | kVector)) return;
    if (!good_exit(report, guest, ExitReason::external_interrupt)) return;
    report.equal("interruption information", guest.exit.interruption, 0x80000000u | kVector);
    // The exit acknowledged it at the local APIC; its end is the host's to signal.
    all.run(
        1, [](Lab&, void*) { end_of_interrupt(); }, nullptr);
    report.equal("goes on", all.wait(1), true);
  });
  tap.test("smp", "fixed_ipi_to_all_but_self", [&](Report& report) {
    Guest guests[MOST_PROCESSORS];
    std::atomic<uint64_t> words[MOST_PROCESSORS] = {};
    for (unsigned n = 1; n < all.count(); ++n) {
      guests[n].code = smp_spin.code;
      guests[n].controls = {.pin = pin::external_interrupt_exiting,
                            .exit = exitctl::acknowledge_interrupt};
      guests[n].flags = rflags::fixed1 | rflags::IF;
      guests[n].word = &words[n];
      all.run(n, run_guest_job, &guests[n]);
      if (!report.equal("guest runs", wait_for_word(words[n], 1), true)) return;
    }
    send_ipi(0, ipi::all_but_self | ipi::fixed | kVector);
    for (unsigned n = 1; n < all.count(); ++n) {
      if (!report.equal("came back", all.wait(n), true)) return;
      good_exit(report, guests[n], ExitReason::external_interrupt);
      all.run(
          n, [](Lab&, void*) { end_of_interrupt(); }, nullptr);
      report.equal("goes on", all.wait(n), true);
    }
  });
}

struct Counted {
  uint8_t vector;
  std::atomic<uint64_t> waiting;
  uint32_t seen;
};

// In root operation: counts what comes until something has.
void count_interrupts(Lab&, void* argument) {
  auto& counted = *static_cast<Counted*>(argument);
  clear_interrupt_counts();
  count_nmis(true);
  asm volatile("sti" ::: "memory");
  counted.waiting = 1;
  const uint64_t begin = rdtsc();
  while (interrupt_count(counted.vector) == 0 && rdtsc() - begin < 50'000'000) pause();
  asm volatile("cli" ::: "memory");
  count_nmis(false);
  counted.seen = interrupt_count(counted.vector);
}

void interrupts_of_root(Tap& tap, Processors& all) {
  const auto arrives = [&](const char* name, uint32_t command, uint8_t vector) {
    tap.test("smp", name, [&](Report& report) {
      Counted counted{vector, 0, 0};
      all.run(1, count_interrupts, &counted);
      if (!report.equal("waits", wait_for_word(counted.waiting, 1), true)) return;
      send_ipi(1, command);
      report.equal("finished", all.wait(1), true);
      report.equal("interrupts", counted.seen, 1u);
    });
  };
  arrives("fixed_ipi_in_root", ipi::fixed | kVector, kVector);
  arrives("nmi_ipi_in_root", ipi::nmi, kNMI);
}

void init_and_startup(Tap& tap, Processors& all) {
  tap.test("smp", "init_exits", [&](Report& report) {
    Guest guest{.code = smp_spin.code};
    if (!disturb(report, all, 1, guest, ipi::init)) return;
    if (!good_exit(report, guest, ExitReason::init_signal)) return;
    report.equal("qualification", guest.exit.qualification, 0u);
  });
  tap.test("smp", "startup_ipi_exits_where_waited_for", [&](Report& report) {
    uint64_t misc = 0;
    all.run(
        1, [](Lab& lab, void* to) { *static_cast<uint64_t*>(to) = lab.caps.misc; }, &misc);
    if (!report.equal("answers", all.wait(1), true)) return;
    if ((misc >> 8 & 1) == 0) return report.skip("no wait-for-SIPI activity");
    Guest guest{.code = smp_nop.code, .activity = 3};
    if (!disturb(report, all, 1, guest, ipi::startup | kStartPage)) return;
    if (!good_exit(report, guest, ExitReason::sipi)) return;
    report.equal("qualification", guest.exit.qualification, uint64_t{kStartPage});
  });
  tap.test("smp", "startup_ipi_is_lost_in_a_guest", [&](Report& report) {
    Guest guest{.code = smp_spin.code, .controls = {.pin = pin::nmi_exiting}};
    shared_counter = 0;
    guest.word = &shared_counter;
    all.run(1, run_guest_job, &guest);
    if (!report.equal("guest runs", wait_for_word(shared_counter, 1), true)) return;
    send_ipi(1, ipi::startup | kStartPage);
    pause_for_ticks(200'000);
    report.equal("still in the guest", all.finished(1), false);
    send_ipi(1, ipi::nmi);
    if (!report.equal("came back", all.wait(1), true)) return;
    good_exit(report, guest, ExitReason::exception_or_nmi);
  });
}

// SDM vol. 3C, "Restrictions on VMX Operation": INIT is blocked in VMX root operation. It stays
// pending: it exits behind a VM entry, and resets behind VMXOFF ("VMXOFF": "unblocks INIT").
void blocked_init(Tap& tap, Processors& all) {
  const auto send_init_in_root = [&](Report& report) {
    all.run(
        1, [](Lab& lab, void*) { lab.on(); }, nullptr);
    if (!report.equal("in VMX operation", all.wait(1), true)) return false;
    send_ipi(1, ipi::init);
    pause_for_ticks(200'000);
    return true;
  };
  tap.test("smp", "init_in_root_is_blocked", [&](Report& report) {
    if (!send_init_in_root(report)) return;
    uint64_t id = ~0ull;
    all.run(
        1, [](Lab&, void* to) { *static_cast<uint64_t*>(to) = apic_id(); }, &id);
    report.equal("goes on", all.wait(1), true);
    report.equal("APIC ID", id, 1u);
    Guest guest{.code = smp_nop.code, .word = &shared_counter};
    all.run(1, run_guest_job, &guest);
    if (!report.equal("came back", all.wait(1), true)) return;
    if (!good_exit(report, guest, ExitReason::init_signal)) return;
    report.equal("rip - first", guest.exit.rip - reinterpret_cast<uint64_t>(smp_nop.code), 0u);
  });
  tap.test("smp", "init_behind_vmxoff_resets", [&](Report& report) {
    if (!send_init_in_root(report)) return;
    all.run(
        1, [](Lab& lab, void*) { lab.off(); }, nullptr);
    pause_for_ticks(200'000);
    report.equal("does not come back", all.finished(1), false);
    report.equal("starts again", all.start_after_init(1), true);
    report.equal("CS", uint32_t{all.start_registers().cs}, uint32_t{TRAMPOLINE >> 4});
  });
}

// A VMCS moves from one processor to another by VMCLEAR and VMPTRLD.
// SDM vol. 3C, "Initializing and Using a VMCS", "Using VMX Instructions with VMCSs".
struct Moved {
  Hpa vmcs;
  Outcome entry{};
  uint32_t reason = 0;
};

void resume_moved(Lab& lab, void* argument) {
  auto& moved = *static_cast<Moved*>(argument);
  lab.on();
  const Hpa own = lab.vmcs;
  lab.vmcs = moved.vmcs;
  {
    TestVm vm(lab, {});
    vm.regs[Gpr::r8] = reinterpret_cast<uint64_t>(&shared_counter);
    moved.entry = vm.launch(smp_round.code);
    moved.reason = moved.entry.ok() ? vm.exit().reason : 0;
  }
  (void)lab.cpu.vmclear(moved.vmcs);
  lab.vmcs = own;
}

void moved_vmcs(Tap& tap, Lab& lab, Processors& all) {
  tap.test("smp", "vmcs_moves", [&](Report& report) {
    Moved moved{lab.region(), {}, 0};
    shared_counter = 0;
    for (unsigned round = 0; round < 3; ++round) {
      resume_moved(lab, &moved);
      report.equal("entry", moved.entry, kSucceed);
      for (unsigned n = 1; n < all.count(); ++n) {
        all.run(n, resume_moved, &moved);
        if (!report.equal("finished", all.wait(n), true)) return;
        report.equal("entry", moved.entry, kSucceed);
        report.equal("exit reason", moved.reason, static_cast<uint32_t>(ExitReason::cpuid));
      }
    }
    report.equal("counter", shared_counter.load(), uint64_t{3} * all.count());
    lab.frames.release(moved.vmcs);
  });
}

}  // namespace

void test_smp(Tap& tap, Lab& lab, unsigned count) {
  if (count < 2) return;
  Processors all(lab.frames, count);
  enable_apic();
  for (unsigned n = 1; n < count; ++n) start(tap, all, n);
  for (unsigned n = 1; n < count; ++n) vmx(tap, all, n);
  shared(tap, lab, all);
  moved_vmcs(tap, lab, all);
  interrupts_of_guests(tap, all);
  interrupts_of_root(tap, all);
  init_and_startup(tap, all);
  blocked_init(tap, all);
  for (unsigned n = 1; n < count; ++n) send_ipi(n, ipi::init);
}

}  // namespace cupel::metal
