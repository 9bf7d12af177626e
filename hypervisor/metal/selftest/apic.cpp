// APIC virtualization: the TPR shadow, the APIC-access page, register virtualization and virtual
// interrupts. SDM vol. 3C, ch. "APIC Virtualization and Virtual Interrupts".
#include "hypervisor/metal/selftest/exit_rows.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

CUPEL_GUEST(apic_to_cr8, "mov $3, %eax", "mov %rax, %cr8", "");
CUPEL_GUEST(apic_from_cr8, "", "mov %cr8, %rbx", "");
CUPEL_GUEST(apic_read, "", "mov 0x30(%r8), %eax", "");
CUPEL_GUEST(apic_write, "mov $0x77, %eax", "mov %eax, 0x300(%r8)", "");
CUPEL_GUEST(apic_fetch, "", "", "jmp *%r8");
CUPEL_GUEST(apic_read_tpr, "", "mov 0x80(%r8), %ebx", "");
CUPEL_GUEST(apic_write_tpr, "mov $0x30, %eax", "mov %eax, 0x80(%r8)", "");
CUPEL_GUEST(apic_write_eoi, "xor %eax, %eax", "mov %eax, 0xb0(%r8)", "");
CUPEL_GUEST(apic_nop, "", "nop", "");
CUPEL_GUEST(apic_rdmsr_tpr, "mov $0x808, %ecx", "rdmsr", "");

constexpr uint32_t kTpr = 0x80, kIsr = 0x100, kVector = 0x51;

volatile uint32_t& virtual_register(Lab& lab, uint32_t offset) {
  return *reinterpret_cast<volatile uint32_t*>(lab.virtual_apic_page.value() + offset);
}
void clear_virtual_page(Lab& lab) {
  for (uint32_t n = 0; n < kPageSize; n += 4) virtual_register(lab, n) = 0;
}

bool ready(Report& report, TestVm& vm) {
  if (!vm.ready(report)) return false;
  clear_virtual_page(vm.lab());
  vm.regs[Gpr::r8] = vm.lab().apic_access_page.value();
  return true;
}

void tpr_shadow(Tap& tap, Lab& lab) {
  constexpr Controls kShadow{.primary = proc::tpr_shadow};
  tap.test("apic.tpr_shadow", "cr8_reads_page", [&](Report& report) {
    TestVm vm(lab, kShadow);
    if (!ready(report, vm)) return;
    virtual_register(lab, kTpr) = 0x70;
    if (!vm.run(report, apic_from_cr8.code, ExitReason::vmcall)) return;
    report.equal("CR8", vm.regs[Gpr::rbx], 7u);
  });
  tap.test("apic.tpr_shadow", "cr8_writes_page", [&](Report& report) {
    TestVm vm(lab, kShadow);
    if (!ready(report, vm)) return;
    if (!vm.run(report, apic_to_cr8.code, ExitReason::vmcall)) return;
    report.equal("VTPR", uint32_t{virtual_register(lab, kTpr)}, 0x30u);
  });
  tap.test("apic.tpr_shadow", "below_threshold", [&](Report& report) {
    TestVm vm(lab, kShadow);
    if (!ready(report, vm)) return;
    virtual_register(lab, kTpr) = 0x50;
    vm.set(Field32::tpr_threshold, 5u);
    if (!vm.run(report, apic_to_cr8.code, ExitReason::tpr_below_threshold)) return;
    // Trap-like: the write has been done.
    report.equal("rip - next", vm.exit().rip - reinterpret_cast<uint64_t>(apic_to_cr8.next), 0u);
    report.equal("VTPR", uint32_t{virtual_register(lab, kTpr)}, 0x30u);
  });
  tap.test("apic.tpr_shadow", "at_threshold", [&](Report& report) {
    TestVm vm(lab, kShadow);
    if (!ready(report, vm)) return;
    virtual_register(lab, kTpr) = 0x50;
    vm.set(Field32::tpr_threshold, 3u);
    vm.run(report, apic_to_cr8.code, ExitReason::vmcall);
  });
  tap.test("apic.tpr_shadow", "below_threshold_at_entry", [&](Report& report) {
    TestVm vm(lab, {.primary = proc::tpr_shadow, .secondary = proc2::virtualize_apic_accesses});
    if (!ready(report, vm)) return;
    vm.set(Field32::tpr_threshold, 5u);
    if (!vm.run(report, apic_nop.code, ExitReason::tpr_below_threshold)) return;
    report.equal("rip - start", vm.exit().rip - reinterpret_cast<uint64_t>(apic_nop.code), 0u);
  });
}

void access_page(Tap& tap, Lab& lab) {
  constexpr Controls kAccess{.secondary = proc2::virtualize_apic_accesses};
  struct Row {
    const char* name;
    GuestCode code;
    uint64_t qualification;
  };
  constexpr Row kRows[] = {
      {"read", apic_read, 0x0030}, {"write", apic_write, 0x1300}, {"fetch", apic_fetch, 0x2000}};
  for (const Row& row : kRows) {
    tap.test("apic.access", row.name, [&](Report& report) {
      TestVm vm(lab, kAccess);
      if (!ready(report, vm)) return;
      if (!vm.run(report, row.code.code, ExitReason::apic_access)) return;
      report.equal("qualification", vm.exit().qualification, row.qualification);
    });
  }
  constexpr Controls kBoth{.primary = proc::tpr_shadow,
                           .secondary = proc2::virtualize_apic_accesses};
  tap.test("apic.access", "tpr_read_is_virtualized", [&](Report& report) {
    TestVm vm(lab, kBoth);
    if (!ready(report, vm)) return;
    virtual_register(lab, kTpr) = 0xab;
    if (!vm.run(report, apic_read_tpr.code, ExitReason::vmcall)) return;
    report.equal("value", vm.regs[Gpr::rbx], 0xabu);
  });
  tap.test("apic.access", "tpr_write_is_virtualized", [&](Report& report) {
    TestVm vm(lab, kBoth);
    if (!ready(report, vm)) return;
    if (!vm.run(report, apic_write_tpr.code, ExitReason::vmcall)) return;
    report.equal("VTPR", uint32_t{virtual_register(lab, kTpr)}, 0x30u);
  });
}

void register_virtualization(Tap& tap, Lab& lab) {
  constexpr Controls kRegisters{
      .primary = proc::tpr_shadow,
      .secondary = proc2::virtualize_apic_accesses | proc2::apic_register_virtualization};
  tap.test("apic.register", "read", [&](Report& report) {
    TestVm vm(lab, kRegisters);
    if (!ready(report, vm)) return;
    virtual_register(lab, 0x30) = 0x50014;
    if (!vm.run(report, apic_read.code, ExitReason::vmcall)) return;
    report.equal("version", vm.regs[Gpr::rax], 0x50014u);
  });
  tap.test("apic.register", "write_exits_behind", [&](Report& report) {
    TestVm vm(lab, kRegisters);
    if (!ready(report, vm)) return;
    if (!vm.run(report, apic_write.code, ExitReason::apic_write)) return;
    report.equal("qualification", vm.exit().qualification, 0x300u);
    report.equal("rip - next", vm.exit().rip - reinterpret_cast<uint64_t>(apic_write.next), 0u);
    report.equal("ICR", uint32_t{virtual_register(lab, 0x300)}, 0x77u);
  });
  tap.test("apic.x2apic", "rdmsr_tpr", [&](Report& report) {
    TestVm vm(lab, {.primary = proc::tpr_shadow | proc::msr_bitmaps,
                    .secondary = proc2::virtualize_x2apic});
    if (!ready(report, vm)) return;
    virtual_register(lab, kTpr) = 0x45;
    if (!vm.run(report, apic_rdmsr_tpr.code, ExitReason::vmcall)) return;
    report.equal("EAX", vm.regs[Gpr::rax] & 0xffffffff, 0x45u);
  });
}

void virtual_interrupts(Tap& tap, Lab& lab) {
  constexpr Controls kDelivery{
      .pin = pin::external_interrupt_exiting,
      .primary = proc::tpr_shadow,
      .secondary = proc2::virtualize_apic_accesses | proc2::virtual_interrupt_delivery};
  tap.test("apic.virtual_interrupt", "delivered_at_entry", [&](Report& report) {
    TestVm vm(lab, kDelivery);
    if (!ready(report, vm)) return;
    clear_interrupt_counts();
    virtual_register(lab, 0x200 + kVector / 32 * 0x10) = 1u << kVector % 32;  // VIRR
    vm.set(Field16::guest_interrupt_status, uint16_t{kVector});
    vm.set(FieldN::guest_rflags, rflags::fixed1 | rflags::IF);
    if (!vm.run(report, apic_nop.code, ExitReason::vmcall)) return;
    report.equal("interrupts", interrupt_count(kVector), 1u);
    report.equal("SVI and RVI", vm.get(Field16::guest_interrupt_status), kVector << 8);
    report.equal("VISR", uint32_t{virtual_register(lab, kIsr + kVector / 32 * 0x10)},
                 1u << kVector % 32);
  });
  tap.test("apic.virtual_interrupt", "masked_by_if", [&](Report& report) {
    TestVm vm(lab, kDelivery);
    if (!ready(report, vm)) return;
    clear_interrupt_counts();
    virtual_register(lab, 0x200 + kVector / 32 * 0x10) = 1u << kVector % 32;
    vm.set(Field16::guest_interrupt_status, uint16_t{kVector});
    if (!vm.run(report, apic_nop.code, ExitReason::vmcall)) return;
    report.equal("interrupts", interrupt_count(kVector), 0u);
  });
  const auto eoi = [&](const char* name, bool exits) {
    tap.test("apic.virtual_interrupt", name, [&](Report& report) {
      TestVm vm(lab, kDelivery);
      if (!ready(report, vm)) return;
      virtual_register(lab, kIsr + kVector / 32 * 0x10) = 1u << kVector % 32;
      vm.set(Field16::guest_interrupt_status, static_cast<uint16_t>(kVector << 8));
      if (exits) vm.set(Field64::eoi_exit_bitmap_1, 1ull << (kVector - 64));
      const auto reason = exits ? ExitReason::virtualized_eoi : ExitReason::vmcall;
      if (!vm.run(report, apic_write_eoi.code, reason)) return;
      if (exits) report.equal("qualification", vm.exit().qualification, kVector);
      report.equal("SVI", vm.get(Field16::guest_interrupt_status) >> 8, 0u);
      report.equal("VISR", uint32_t{virtual_register(lab, kIsr + kVector / 32 * 0x10)}, 0u);
    });
  };
  eoi("eoi", false);
  eoi("eoi_exit", true);
}

}  // namespace

void test_apic(Tap& tap, Lab& lab) {
  tpr_shadow(tap, lab);
  access_page(tap, lab);
  register_virtualization(tap, lab);
  virtual_interrupts(tap, lab);
}

}  // namespace cupel::metal
