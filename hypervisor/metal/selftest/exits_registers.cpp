// Accesses to control and debug registers under masks, shadows and targets.
// SDM vol. 3C, "Guest/Host Masks and Read Shadows for CR0 and CR4", "CR3-Target Controls", "Exit
// Qualification for Control-Register Accesses".
#include "core/x86/exit_qualification.h"
#include "hypervisor/metal/selftest/exit_rows.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

CUPEL_GUEST(cr_to_cr0, "mov %cr0, %rbx\n xor $8, %rbx", "mov %rbx, %cr0", "");
CUPEL_GUEST(cr_from_cr0, "", "mov %cr0, %rbx", "");
CUPEL_GUEST(cr_to_cr4, "mov %cr4, %r11\n xor $4, %r11", "mov %r11, %cr4", "");
CUPEL_GUEST(cr_from_cr4, "", "mov %cr4, %rbx", "");
CUPEL_GUEST(cr_to_cr3, "mov %r8, %rsi", "mov %rsi, %cr3", "");
CUPEL_GUEST(cr_from_cr3, "", "mov %cr3, %r14", "");
CUPEL_GUEST(cr_to_cr8, "mov $5, %eax", "mov %rax, %cr8", "");
CUPEL_GUEST(cr_from_cr8, "", "mov %cr8, %rdi", "");
CUPEL_GUEST(cr_clts, "", "clts", "");
CUPEL_GUEST(cr_lmsw, "mov $0xb, %ecx", "lmsw %cx", "");
CUPEL_GUEST(cr_lmsw_memory, "movw $0xb, metal_guest_scratch\n mov $metal_guest_scratch, %ebx",
            "lmsw (%rbx)", "");
CUPEL_GUEST(cr_smsw, "", "smsw %rbx", "");
CUPEL_GUEST(cr_to_cr0_ts, "mov %cr0, %rbx", "mov %rbx, %cr0", "");
CUPEL_GUEST(cr_lmsw_clear_pe, "mov $0xa, %ecx", "lmsw %cx", "");
CUPEL_GUEST(cr4_clear_vmxe, "mov %cr4, %rbx\n and $~0x2000, %ebx", "mov %rbx, %cr4", "");
CUPEL_GUEST(dr_to, "xor %ecx, %ecx", "mov %rcx, %db3", "");
CUPEL_GUEST(dr_from, "", "mov %db7, %r10", "");

constexpr uint64_t cr(uint8_t number, CrAccess::Kind kind, Gpr gpr) {
  return CrAccess{number, kind, false, gpr, 0}.encode();
}
constexpr uint64_t dr(uint8_t number, bool from, Gpr gpr) {
  return DrAccess{number, from, gpr}.encode();
}
constexpr auto kTo = CrAccess::Kind::mov_to_cr, kFrom = CrAccess::Kind::mov_from_cr;

// The host owns TS with a shadow of 0: setting it exits.
void own_ts(TestVm& vm) {
  vm.set(FieldN::cr0_guest_host_mask, cr0::TS);
  vm.set(FieldN::cr0_read_shadow, uint64_t{0});
}
// The guest believes that TS is set: clearing it exits.
void own_ts_set(TestVm& vm) {
  vm.set(FieldN::cr0_guest_host_mask, cr0::TS);
  vm.set(FieldN::cr0_read_shadow, cr0::TS);
}
void own_tsd(TestVm& vm) {
  vm.set(FieldN::cr4_guest_host_mask, cr4::TSD);
  vm.set(FieldN::cr4_read_shadow, uint64_t{0});
}
void load_cr3(TestVm& vm) { vm.regs[Gpr::r8] = vm.get(FieldN::guest_cr3); }

constexpr ExitRow kCr[] = {
    {"mov_to_cr0", cr_to_cr0, {}, ExitReason::cr_access, cr(0, kTo, Gpr::rbx), 0, 0, own_ts},
    {"mov_to_cr4", cr_to_cr4, {}, ExitReason::cr_access, cr(4, kTo, Gpr::r11), 0, 0, own_tsd},
    {"mov_to_cr3",
     cr_to_cr3,
     {.primary = proc::cr3_load_exiting},
     ExitReason::cr_access,
     cr(3, kTo, Gpr::rsi),
     0,
     0,
     load_cr3},
    {"mov_from_cr3",
     cr_from_cr3,
     {.primary = proc::cr3_store_exiting},
     ExitReason::cr_access,
     cr(3, kFrom, Gpr::r14)},
    {"mov_to_cr8",
     cr_to_cr8,
     {.primary = proc::cr8_load_exiting},
     ExitReason::cr_access,
     cr(8, kTo, Gpr::rax)},
    {"mov_from_cr8",
     cr_from_cr8,
     {.primary = proc::cr8_store_exiting},
     ExitReason::cr_access,
     cr(8, kFrom, Gpr::rdi)},
    {"clts",
     cr_clts,
     {},
     ExitReason::cr_access,
     cr(0, CrAccess::Kind::clts, Gpr::rax),
     0,
     0,
     own_ts_set},
    {"lmsw_register",
     cr_lmsw,
     {},
     ExitReason::cr_access,
     CrAccess{0, CrAccess::Kind::lmsw, false, Gpr::rax, 0xb}.encode(),
     0,
     0,
     own_ts},
    {"lmsw_memory",
     cr_lmsw_memory,
     {},
     ExitReason::cr_access,
     CrAccess{0, CrAccess::Kind::lmsw, true, Gpr::rax, 0xb}.encode(),
     0,
     0,
     own_ts},
    {"mov_to_dr",
     dr_to,
     {.primary = proc::mov_dr_exiting},
     ExitReason::mov_dr,
     dr(3, false, Gpr::rcx)},
    {"mov_from_dr",
     dr_from,
     {.primary = proc::mov_dr_exiting},
     ExitReason::mov_dr,
     dr(7, true, Gpr::r10)},
};

bool reaches_end(Report& report, TestVm& vm, const GuestCode& code) {
  return vm.run(report, code.code, ExitReason::vmcall) &&
         report.equal("rip - next", vm.exit().rip - reinterpret_cast<uint64_t>(code.next), 0u);
}

void cr0_without_exit(Tap& tap, Lab& lab) {
  tap.test("cr0", "unowned_bit", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report) || !reaches_end(report, vm, cr_to_cr0)) return;
    report.equal("CR0.TS", (vm.get(FieldN::guest_cr0) & cr0::TS) != 0, true);
  });
  tap.test("cr0", "owned_bit_as_shadow", [&](Report& report) {
    // Writing what the shadow says does not exit and does not change the owned bit.
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(FieldN::cr0_guest_host_mask, cr0::TS);
    vm.set(FieldN::cr0_read_shadow, cr0::TS);
    if (!reaches_end(report, vm, cr_to_cr0_ts)) return;
    report.equal("TS as read", (vm.regs[Gpr::rbx] & cr0::TS) != 0, true);
    report.equal("TS real", (vm.get(FieldN::guest_cr0) & cr0::TS) != 0, false);
  });
  tap.test("cr0", "read_shadow", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(FieldN::cr0_guest_host_mask, cr0::TS | cr0::NE | cr0::AM);
    vm.set(FieldN::cr0_read_shadow, cr0::TS | cr0::AM);
    if (!reaches_end(report, vm, cr_from_cr0)) return;
    const uint64_t seen = vm.regs[Gpr::rbx];
    report.equal("TS NE AM", seen & (cr0::TS | cr0::NE | cr0::AM), cr0::TS | cr0::AM);
    report.equal("PE PG", seen & (cr0::PE | cr0::PG), cr0::PE | cr0::PG);
  });
  tap.test("cr0", "smsw_reads_shadow", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(FieldN::cr0_guest_host_mask, cr0::TS);
    vm.set(FieldN::cr0_read_shadow, cr0::TS);
    if (!reaches_end(report, vm, cr_smsw)) return;
    report.equal("TS", (vm.regs[Gpr::rbx] & cr0::TS) != 0, true);
  });
}

void clts_lmsw(Tap& tap, Lab& lab) {
  const auto clts = [&](const char* name, uint64_t mask, uint64_t shadow, bool ts_after) {
    tap.test("clts", name, [&](Report& report) {
      TestVm vm(lab, {});
      if (!vm.ready(report)) return;
      vm.set(FieldN::guest_cr0, vm.get(FieldN::guest_cr0) | cr0::TS);
      vm.set(FieldN::cr0_guest_host_mask, mask);
      vm.set(FieldN::cr0_read_shadow, shadow);
      if (!reaches_end(report, vm, cr_clts)) return;
      report.equal("TS", (vm.get(FieldN::guest_cr0) & cr0::TS) != 0, ts_after);
    });
  };
  // SDM vol. 3C, "Changes to Instruction Behavior in VMX Non-Root Operation", CLTS.
  clts("unowned", 0, 0, false);
  clts("owned_shadow_0", cr0::TS, 0, true);
  tap.test("lmsw", "owned_but_unchanged", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(FieldN::cr0_guest_host_mask, cr0::TS | cr0::MP);
    vm.set(FieldN::cr0_read_shadow, cr0::TS | cr0::MP);
    if (!reaches_end(report, vm, cr_lmsw)) return;
    report.equal("TS", (vm.get(FieldN::guest_cr0) & cr0::TS) != 0, false);
  });
  tap.test("lmsw", "clearing_pe_does_not_exit", [&](Report& report) {
    // LMSW cannot clear PE, so that only a 1 in the source is compared with a shadow of 0.
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(FieldN::cr0_guest_host_mask, cr0::PE);
    vm.set(FieldN::cr0_read_shadow, cr0::PE);
    reaches_end(report, vm, cr_lmsw_clear_pe);
  });
}

void cr3_targets(Tap& tap, Lab& lab) {
  tap.test("cr3", "target", [&](Report& report) {
    if ((lab.caps.misc >> 16 & 0x1ff) == 0) return report.skip("no CR3 targets");
    TestVm vm(lab, {.primary = proc::cr3_load_exiting});
    if (!vm.ready(report)) return;
    load_cr3(vm);
    vm.set(Field32::cr3_target_count, 1u);
    vm.set(FieldN::cr3_target_0, vm.get(FieldN::guest_cr3));
    reaches_end(report, vm, cr_to_cr3);
  });
  tap.test("cr3", "target_not_counted", [&](Report& report) {
    TestVm vm(lab, {.primary = proc::cr3_load_exiting});
    if (!vm.ready(report)) return;
    load_cr3(vm);
    vm.set(FieldN::cr3_target_0, vm.get(FieldN::guest_cr3));
    vm.run(report, cr_to_cr3.code, ExitReason::cr_access);
  });
  tap.test("cr3", "no_exit", [&](Report& report) {
    if (!lab.offers({})) return report.skip("not offered");
    TestVm vm(lab, {});
    const bool fixed = (vm.controls().primary & proc::cr3_load_exiting) != 0;
    if (fixed) return report.skip("CR3-load exiting is fixed");
    load_cr3(vm);
    reaches_end(report, vm, cr_to_cr3);
  });
}

void cr4_shadow(Tap& tap, Lab& lab) {
  tap.test("cr4", "read_shadow_hides_vmxe", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(FieldN::cr4_guest_host_mask, cr4::VMXE);
    vm.set(FieldN::cr4_read_shadow, uint64_t{0});
    if (!reaches_end(report, vm, cr_from_cr4)) return;
    report.equal("VMXE", (vm.regs[Gpr::rbx] & cr4::VMXE) != 0, false);
    report.equal("PAE", (vm.regs[Gpr::rbx] & cr4::PAE) != 0, true);
  });
  tap.test("cr4", "clearing_vmxe_faults", [&](Report& report) {
    // The bits VMX fixes stay fixed in non-root operation: #GP(0).
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(Field32::exception_bitmap, 1u << kGP);
    if (!vm.run(report, cr4_clear_vmxe.code, ExitReason::exception_or_nmi)) return;
    report.equal("interruption information", vm.exit().interruption, 0x80000b0du);
    report.equal("error code", vm.exit().interruption_error, 0u);
  });
}

}  // namespace

void test_exits_registers(Tap& tap, Lab& lab) {
  test_rows(tap, lab, "exit.register", kCr);
  cr0_without_exit(tap, lab);
  clts_lmsw(tap, lab);
  cr3_targets(tap, lab);
  cr4_shadow(tap, lab);
}

}  // namespace cupel::metal
