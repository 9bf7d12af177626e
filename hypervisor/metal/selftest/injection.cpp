// Event injection of every type, and what exits in the middle of it.
// SDM vol. 3C, "Event Injection", "Information About VM Exits During Event Delivery".
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/exit_rows.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

// The fixup makes the handler go on behind the NOP, as a fault of it would. A software exception
// pushes the RIP behind the instruction, which has a fixup of its own.
CUPEL_GUEST(in_nop, "", CUPEL_CAUGHT("nop"), "");
CUPEL_GUEST(in_two_nops, "nop", CUPEL_CAUGHT("nop"), "");

struct Row {
  const char* name;
  uint32_t information;
  uint32_t error = 0;
  uint32_t length = 0;
};
constexpr Row kExceptions[] = {
    {"exception_ud", 0x80000306},
    {"exception_gp", 0x80000b0d, 0x1238},
    {"exception_pf", 0x80000b0e, 0x6},
    {"exception_ac", 0x80000b11, 0},
    {"nmi", 0x80000202},
};

void exceptions(Tap& tap, Lab& lab) {
  for (const Row& row : kExceptions) {
    tap.test("inject", row.name, [&](Report& report) {
      TestVm vm(lab, {});
      if (!vm.ready(report)) return;
      vm.set(Field32::exception_bitmap, ~0u);  // injected events do not exit by it
      vm.set(Field32::entry_interruption_info, row.information);
      vm.set(Field32::entry_exception_error_code, row.error);
      if (!vm.run(report, in_nop.code, ExitReason::vmcall)) return;
      report.equal("taken", vm.guest_trap().taken, true);
      report.equal("vector", vm.guest_trap().vector, row.information & 0xff);
      report.equal("error code", vm.guest_trap().error, row.error);
      report.equal("rip - instruction", vm.guest_trap().rip - reinterpret_cast<uint64_t>(in_nop.at),
                   0u);
      report.equal("valid bit cleared", vm.get(Field32::entry_interruption_info) >> 31, 0u);
    });
  }
  constexpr Row kSoftware[] = {{"software_exception_bp", 0x80000603, 0, 1},
                               {"privileged_software_exception_db", 0x80000501, 0, 1}};
  for (const Row& row : kSoftware) {
    tap.test("inject", row.name, [&](Report& report) {
      TestVm vm(lab, {});
      if (!vm.ready(report)) return;
      vm.set(Field32::entry_interruption_info, row.information);
      vm.set(Field32::entry_instruction_length, row.length);
      if (!vm.run(report, in_two_nops.code, ExitReason::vmcall)) return;
      report.equal("vector", vm.guest_trap().vector, row.information & 0xff);
      // What was pushed is RIP plus the length.
      report.equal("rip - next", vm.guest_trap().rip - reinterpret_cast<uint64_t>(in_two_nops.at),
                   0u);
    });
  }
}

void interrupts(Tap& tap, Lab& lab) {
  tap.test("inject", "external_interrupt", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(FieldN::guest_rflags, rflags::fixed1 | rflags::IF);
    vm.set(Field32::entry_interruption_info, 0x80000050u);
    clear_interrupt_counts();
    if (!vm.run(report, in_nop.code, ExitReason::vmcall)) return;
    report.equal("interrupts", interrupt_count(0x50), 1u);
    report.equal("valid bit cleared", vm.get(Field32::entry_interruption_info) >> 31, 0u);
    report.equal("IF", (vm.exit().rflags & rflags::IF) != 0, true);
  });
  tap.test("inject", "external_interrupt_wakes_hlt", [&](Report& report) {
    if ((lab.caps.misc >> 6 & 1) == 0) return report.skip("no HLT activity");
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(FieldN::guest_rflags, rflags::fixed1 | rflags::IF);
    vm.set(Field32::guest_activity_state, 1u);
    vm.set(Field32::entry_interruption_info, 0x80000050u);
    clear_interrupt_counts();
    if (!vm.run(report, in_nop.code, ExitReason::vmcall)) return;
    report.equal("interrupts", interrupt_count(0x50), 1u);
    report.equal("activity", vm.get(Field32::guest_activity_state), 0u);
  });
  tap.test("inject", "software_interrupt", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(Field32::entry_interruption_info, 0x80000450u);
    vm.set(Field32::entry_instruction_length, 1u);
    clear_interrupt_counts();
    if (!vm.run(report, in_nop.code, ExitReason::vmcall)) return;
    report.equal("interrupts", interrupt_count(0x50), 1u);
    report.equal("rip - next", vm.exit().rip - reinterpret_cast<uint64_t>(in_nop.next), 0u);
  });
  tap.test("inject", "nmi_blocks_nmis", [&](Report& report) {
    // Delivery of an injected NMI blocks NMIs as any does: seen when it cannot finish.
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(Field32::guest_idtr_limit, 0u);
    vm.set(Field32::exception_bitmap, 1u << kGP);
    vm.set(Field32::entry_interruption_info, 0x80000202u);
    if (!vm.run(report, in_nop.code, ExitReason::exception_or_nmi)) return;
    report.equal("error code", vm.exit().interruption_error, 2u * 8 + 3);
    report.equal("IDT-vectoring", vm.exit().vectoring, 0x80000202u);
  });
}

// Delivery through an IDT that is too short: #GP, which exits.
void vectoring(Tap& tap, Lab& lab) {
  struct Vectoring {
    const char* name;
    uint32_t information, error, length;
    uint32_t gp_error;
  };
  constexpr Vectoring kRows[] = {
      {"external_interrupt", 0x80000050, 0, 0, 0x50 * 8 + 3},
      {"exception", 0x80000306, 0, 0, 6 * 8 + 3},
      {"software_interrupt", 0x80000450, 0, 2, 0x50 * 8 + 2},
      {"software_exception", 0x80000603, 0, 1, 3 * 8 + 2},
      {"privileged_software_exception", 0x80000501, 0, 1, 1 * 8 + 3},
  };
  for (const Vectoring& row : kRows) {
    tap.test("inject.vectoring", row.name, [&](Report& report) {
      TestVm vm(lab, {});
      if (!vm.ready(report)) return;
      vm.set(FieldN::guest_rflags, rflags::fixed1 | rflags::IF);
      vm.set(Field32::guest_idtr_limit, 0u);
      vm.set(Field32::exception_bitmap, 1u << kGP);
      vm.set(Field32::entry_interruption_info, row.information);
      vm.set(Field32::entry_exception_error_code, row.error);
      vm.set(Field32::entry_instruction_length, row.length);
      if (!vm.run(report, in_nop.code, ExitReason::exception_or_nmi)) return;
      const ExitRecord exit = vm.exit();
      report.equal("interruption information", exit.interruption, 0x80000b0du);
      report.equal("error code", exit.interruption_error, row.gp_error);
      report.equal("IDT-vectoring", exit.vectoring, row.information);
      if (row.length != 0) report.equal("instruction length", exit.length, row.length);
      report.equal("rip - instruction", exit.rip - reinterpret_cast<uint64_t>(in_nop.code), 0u);
    });
  }
  tap.test("inject.vectoring", "contributory_makes_double_fault", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(Field32::guest_idtr_limit, 0u);
    vm.set(Field32::exception_bitmap, 1u << kDF);
    vm.set(Field32::entry_interruption_info, 0x80000b0du);
    vm.set(Field32::entry_exception_error_code, 0x10u);
    if (!vm.run(report, in_nop.code, ExitReason::exception_or_nmi)) return;
    const ExitRecord exit = vm.exit();
    report.equal("interruption information", exit.interruption, 0x80000b08u);
    // "The original event results in a double-fault exception that causes the VM exit directly":
    // not an exit during event delivery.
    report.equal("IDT-vectoring valid", exit.vectoring >> 31, 0u);
  });
  tap.test("inject.vectoring", "double_fault_makes_triple_fault", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(Field32::guest_idtr_limit, 0u);
    vm.set(Field32::entry_interruption_info, 0x80000b08u);
    if (!vm.run(report, in_nop.code, ExitReason::triple_fault)) return;
    report.equal("IDT-vectoring valid", vm.exit().vectoring >> 31, 0u);
  });
}

}  // namespace

void test_injection(Tap& tap, Lab& lab) {
  exceptions(tap, lab);
  interrupts(tap, lab);
  vectoring(tap, lab);
}

}  // namespace cupel::metal
