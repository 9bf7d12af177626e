// Exceptions in a guest: the exception bitmap, the page-fault masks, double and triple faults, and
// exits in the middle of event delivery.
// SDM vol. 3C, "Exception Bitmap", "Information for VM Exits Due to Vectored Events", "Information
// About VM Exits During Event Delivery".
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/exit_rows.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

CUPEL_GUEST(ex_ud, "", "ud2", "");
CUPEL_GUEST(ex_bp, "", "int3", "");
CUPEL_GUEST(ex_int_3, "", ".byte 0xcd, 0x03", "");
CUPEL_GUEST(ex_icebp, "", ".byte 0xf1", "");
CUPEL_GUEST(ex_de, "xor %ecx, %ecx\n xor %edx, %edx", "div %ecx", "");
CUPEL_GUEST(ex_gp, "mov $1, %eax\n shl $62, %rax", CUPEL_CAUGHT("mov (%rax), %rbx"), "");
CUPEL_GUEST(ex_gp_selector, "mov $0x1000, %eax", "mov %eax, %ds", "");
CUPEL_GUEST(ex_ss, "mov %rsp, %rbp\n mov $1, %eax\n shl $62, %rax\n mov %rax, %rsp", "push %rax",
            "");
CUPEL_GUEST(ex_pf_read, "mov $0x1000, %eax\n shl $32, %rax", CUPEL_CAUGHT("mov 0x234(%rax), %ebx"),
            "");
CUPEL_GUEST(ex_pf_write, "mov $0x1000, %eax\n shl $32, %rax", CUPEL_CAUGHT("movb $1, 0x234(%rax)"),
            "");
CUPEL_GUEST(ex_pf_fetch, "mov $0x1000, %eax\n shl $32, %rax", "", "jmp *%rax");
CUPEL_GUEST(ex_nm, "", "fnop", "");
CUPEL_GUEST(ex_int, "", "int $0x50", "");

constexpr uint64_t kUnmapped = 0x100000000234;
constexpr uint32_t kValid = 1u << 31;

struct Row {
  const char* name;
  GuestCode code;
  uint8_t vector;
  uint32_t information;  // with bit 31
  uint32_t error = 0;
  uint64_t qualification = 0;
  uint32_t length = 0;  // software exceptions only: undefined for the others
  void (*prepare)(TestVm& vm) = nullptr;
};
void set_ts(TestVm& vm) { vm.set(FieldN::guest_cr0, vm.get(FieldN::guest_cr0) | cr0::TS); }
void small_idt(TestVm& vm) { vm.set(Field32::guest_idtr_limit, 0x1ffu); }
void no_idt(TestVm& vm) { vm.set(Field32::guest_idtr_limit, 0u); }
void single_step(TestVm& vm) { vm.set(FieldN::guest_rflags, rflags::fixed1 | rflags::TF); }

constexpr Row kRows[] = {
    {"de", ex_de, kDE, 0x80000300},
    {"bp", ex_bp, kBP, 0x80000603, 0, 0, 1},
    {"icebp", ex_icebp, kDB, 0x80000501, 0, 0, 1},
    {"ud", ex_ud, kUD, 0x80000306},
    {"nm", ex_nm, kNM, 0x80000307, 0, 0, 0, set_ts},
    {"ss", ex_ss, kSS, 0x80000b0c},
    {"gp", ex_gp, kGP, 0x80000b0d},
    {"gp_selector", ex_gp_selector, kGP, 0x80000b0d, 0x1000},
    {"pf_read", ex_pf_read, kPF, 0x80000b0e, 0, kUnmapped},
    {"pf_write", ex_pf_write, kPF, 0x80000b0e, pf::W, kUnmapped},
    {"int_to_small_idt", ex_int, kGP, 0x80000b0d, 0x50 * 8 + 2, 0, 0, small_idt},
};

void bitmap(Tap& tap, Lab& lab) {
  for (const Row& row : kRows) {
    tap.test("exit.exception", row.name, [&](Report& report) {
      TestVm vm(lab, {});
      if (!vm.ready(report)) return;
      vm.set(Field32::exception_bitmap, 1u << row.vector);
      if (row.prepare != nullptr) row.prepare(vm);
      if (!vm.run(report, row.code.code, ExitReason::exception_or_nmi)) return;
      const ExitRecord exit = vm.exit();
      report.equal("interruption information", exit.interruption, row.information);
      const bool has_error = (row.information >> 11 & 1) != 0;
      if (has_error) report.equal("error code", exit.interruption_error, row.error);
      report.equal("qualification", exit.qualification, row.qualification);
      report.equal("rip - instruction", exit.rip - reinterpret_cast<uint64_t>(row.code.at), 0u);
      if (row.length != 0) report.equal("instruction length", exit.length, row.length);
      if (row.code.code == ex_int.code) return;
      report.equal("IDT-vectoring valid", (exit.vectoring & kValid) != 0, false);
    });
  }
  tap.test("exit.exception", "db_single_step", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(Field32::exception_bitmap, 1u << kDB);
    single_step(vm);
    const uint64_t dr6 = lab.cpu.read_dr(6);
    if (!vm.run(report, ex_nm.code, ExitReason::exception_or_nmi)) return;
    const ExitRecord exit = vm.exit();
    report.equal("interruption information", exit.interruption, 0x80000301u);
    report.equal("qualification", exit.qualification, 1u << 14);  // BS
    report.equal("rip - next", exit.rip - reinterpret_cast<uint64_t>(ex_nm.next), 0u);
    report.equal("DR6 as before", lab.cpu.read_dr(6), dr6);
  });
  tap.test("exit.exception", "pf_keeps_cr2", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(Field32::exception_bitmap, 1u << kPF);
    lab.cpu.write_cr2(0x5555);
    if (!vm.run(report, ex_pf_read.code, ExitReason::exception_or_nmi)) return;
    report.equal("CR2", lab.cpu.read_cr2(), 0x5555u);
  });
  tap.test("exit.exception", "pf_fetch", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(Field32::exception_bitmap, 1u << kPF);
    if (!vm.run(report, ex_pf_fetch.code, ExitReason::exception_or_nmi)) return;
    report.equal("qualification", vm.exit().qualification, 0x100000000000u);
    report.equal("rip", vm.exit().rip, 0x100000000000u);
  });
  // The guest's own handler (it shares the image's) catches what does not exit.
  tap.test("exit.exception", "clear_bit_does_not_exit", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(Field32::exception_bitmap, ~(1u << kGP));
    if (!vm.run(report, ex_gp.code, ExitReason::vmcall)) return;
    report.equal("vector", vm.guest_trap().vector, uint32_t{kGP});
  });
}

struct PfecRow {
  const char* name;
  GuestCode code;
  bool bitmap_bit;
  uint32_t mask, match;
  bool exits;
};
constexpr PfecRow kPfec[] = {
    {"equal_bit_1", ex_pf_write, true, pf::W, pf::W, true},
    {"unequal_bit_1", ex_pf_read, true, pf::W, pf::W, false},
    {"equal_bit_0", ex_pf_write, false, pf::W, pf::W, false},
    {"unequal_bit_0", ex_pf_read, false, pf::W, pf::W, true},
    {"mask_0", ex_pf_write, true, 0, 0, true},
    {"never", ex_pf_write, true, 0, 1, false},
    {"always", ex_pf_write, false, 0, 1, true},
};

void pfec(Tap& tap, Lab& lab) {
  for (const PfecRow& row : kPfec) {
    tap.test("exit.pfec", row.name, [&](Report& report) {
      TestVm vm(lab, {});
      if (!vm.ready(report)) return;
      vm.set(Field32::exception_bitmap, row.bitmap_bit ? 1u << kPF : 0u);
      vm.set(Field32::page_fault_error_code_mask, row.mask);
      vm.set(Field32::page_fault_error_code_match, row.match);
      vm.run(report, row.code.code, row.exits ? ExitReason::exception_or_nmi : ExitReason::vmcall);
    });
  }
}

void double_faults(Tap& tap, Lab& lab) {
  tap.test("exit.fault", "double", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    no_idt(vm);
    vm.set(Field32::exception_bitmap, 1u << kDF);
    if (!vm.run(report, ex_gp.code, ExitReason::exception_or_nmi)) return;
    const ExitRecord exit = vm.exit();
    report.equal("interruption information", exit.interruption, 0x80000b08u);
    report.equal("error code", exit.interruption_error, 0u);
    // "The original event results in a double-fault exception that causes the VM exit directly":
    // not an exit during event delivery.
    report.equal("IDT-vectoring valid", (exit.vectoring & kValid) != 0, false);
  });
  tap.test("exit.fault", "triple", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    no_idt(vm);
    if (!vm.run(report, ex_ud.code, ExitReason::triple_fault)) return;
    report.equal("qualification", vm.exit().qualification, 0u);
    report.equal("rip - instruction", vm.exit().rip - reinterpret_cast<uint64_t>(ex_ud.at), 0u);
  });
  tap.test("exit.vectoring", "fault_in_delivery_of_exception", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    no_idt(vm);
    vm.set(Field32::exception_bitmap, 1u << kGP);
    if (!vm.run(report, ex_ud.code, ExitReason::exception_or_nmi)) return;
    const ExitRecord exit = vm.exit();
    report.equal("interruption information", exit.interruption, 0x80000b0du);
    report.equal("error code", exit.interruption_error, 6u * 8 + 3);
    report.equal("IDT-vectoring", exit.vectoring, 0x80000306u);
  });
  tap.test("exit.vectoring", "fault_in_delivery_of_int_n", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    small_idt(vm);
    vm.set(Field32::exception_bitmap, 1u << kGP);
    if (!vm.run(report, ex_int.code, ExitReason::exception_or_nmi)) return;
    const ExitRecord exit = vm.exit();
    report.equal("IDT-vectoring", exit.vectoring, 0x80000450u);
    report.equal("instruction length", exit.length, 2u);
  });
  tap.test("exit.vectoring", "fault_in_delivery_of_int3", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    no_idt(vm);
    vm.set(Field32::exception_bitmap, 1u << kGP);
    if (!vm.run(report, ex_bp.code, ExitReason::exception_or_nmi)) return;
    const ExitRecord exit = vm.exit();
    report.equal("error code", exit.interruption_error, 3u * 8 + 2);
    report.equal("IDT-vectoring", exit.vectoring, 0x80000603u);
    report.equal("instruction length", exit.length, 1u);
  });
  tap.test("exit.exception", "int_n_does_not_exit", [&](Report& report) {
    // INT n with the vector of an exception is a software interrupt: no bitmap, no exit.
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(Field32::exception_bitmap, ~0u);
    clear_interrupt_counts();
    if (!vm.run(report, ex_int.code, ExitReason::vmcall)) return;
    report.equal("interrupts", interrupt_count(0x50), 1u);
  });
}

}  // namespace

void test_exits_exceptions(Tap& tap, Lab& lab) {
  bitmap(tap, lab);
  pfec(tap, lab);
  double_faults(tap, lab);
}

}  // namespace cupel::metal
