// APIC virtualization: the TPR shadow, the APIC-access page, x2APIC MSRs, virtual and posted
// interrupts. SDM vol. 3C, ch. "APIC Virtualization and Virtual Interrupts".
//
// RBX is the APIC-access page, which the guest's page tables map one to one. Instruction fetches
// from it are not among the tests: Bochs 2.7 panics over them ("prefetch: getHostMemAddr vetoed
// direct read").
#include "core/x86/exit_qualification.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/exit_rows.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

// --- Guest code ----------------------------------------------------------------------------------
CUPEL_GUEST(apic_to_cr8, "mov $5, %eax", "mov %rax, %cr8", "mov %cr8, %rdi");
CUPEL_GUEST(apic_from_cr8, "", "mov %cr8, %rdi", "");
CUPEL_GUEST(apic_cr8_reserved, "mov $16, %eax", "mov %rax, %cr8", "");
CUPEL_GUEST(apic_read_tpr, "", "mov 0x80(%rbx), %edi", "");
CUPEL_GUEST(apic_write_tpr, "mov $0x12345640, %eax", "mov %eax, 0x80(%rbx)",
            "mov 0x80(%rbx), %edi");
CUPEL_GUEST(apic_write_tpr_byte, "mov $0x20, %eax", "mov %al, 0x80(%rbx)", "");
CUPEL_GUEST(apic_add_tpr, "", "addb $0x20, 0x80(%rbx)", "");
CUPEL_GUEST(apic_read_id, "", "mov 0x20(%rbx), %edi", "");
CUPEL_GUEST(apic_write_id, "mov $0x5000000, %eax", "mov %eax, 0x20(%rbx)", "");
CUPEL_GUEST(apic_read_irr, "", "mov 0x210(%rbx), %edi", "");
CUPEL_GUEST(apic_write_irr, "", "mov %eax, 0x210(%rbx)", "");
CUPEL_GUEST(apic_read_ppr, "", "mov 0xa0(%rbx), %edi", "");
CUPEL_GUEST(apic_read_wide, "", "mov 0x80(%rbx), %rdi", "");
CUPEL_GUEST(apic_read_unaligned, "", "mov 0x82(%rbx), %edi", "");
CUPEL_GUEST(apic_write_eoi, "xor %eax, %eax", "mov %eax, 0xb0(%rbx)", "");
CUPEL_GUEST(apic_write_svr, "mov $0x1ff, %eax", "mov %eax, 0xf0(%rbx)", "");
CUPEL_GUEST(apic_write_icr_high, "mov $0x12345678, %eax", "mov %eax, 0x310(%rbx)", "");
CUPEL_GUEST(apic_self_ipi, "mov $0x40051, %eax", "mov %eax, 0x300(%rbx)", "nop");
CUPEL_GUEST(apic_other_ipi, "mov $0x00051, %eax", "mov %eax, 0x300(%rbx)", "");
CUPEL_GUEST(apic_rdmsr_tpr, "mov $0x808, %ecx", "rdmsr", "");
CUPEL_GUEST(apic_rdmsr_id, "mov $0x802, %ecx", "rdmsr", "");
CUPEL_GUEST(apic_wrmsr_tpr, "mov $0x808, %ecx\n mov $0x60, %eax\n xor %edx, %edx", "wrmsr",
            "mov %cr8, %rdi");
CUPEL_GUEST(apic_wrmsr_eoi, "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx", "wrmsr", "");
CUPEL_GUEST(apic_wrmsr_self, "mov $0x83f, %ecx\n mov $0x51, %eax\n xor %edx, %edx", "wrmsr", "nop");
CUPEL_GUEST(apic_wrmsr_illegal, "mov $0x83f, %ecx\n mov $0xf, %eax\n xor %edx, %edx", "wrmsr", "");
CUPEL_GUEST(apic_lower_tpr, "xor %eax, %eax", "mov %rax, %cr8", "nop");
CUPEL_GUEST(apic_sti, "sti", "nop", "nop\n cli");
CUPEL_GUEST(apic_notified, "mov $0xfee00000, %eax\n movl $0x400f2, 0x300(%rax)\n mov $100000, %ecx",
            "1: dec %ecx\n jnz 1b", "");

constexpr uint32_t kVector = 0x51, kNotification = 0xf2;
constexpr uint32_t kTpr = 0x80, kPpr = 0xa0, kIsr = 0x100, kIrr = 0x200;

constexpr Controls kShadow{.primary = proc::tpr_shadow};
constexpr Controls kAccesses{.primary = proc::tpr_shadow,
                             .secondary = proc2::virtualize_apic_accesses};
constexpr Controls kBare{.secondary = proc2::virtualize_apic_accesses};
constexpr Controls kRegisters{
    .primary = proc::tpr_shadow,
    .secondary = proc2::virtualize_apic_accesses | proc2::apic_register_virtualization};
constexpr Controls kDelivery{
    .pin = pin::external_interrupt_exiting,
    .primary = proc::tpr_shadow,
    .secondary = proc2::virtualize_apic_accesses | proc2::virtual_interrupt_delivery};
constexpr Controls kX2apic{.primary = proc::tpr_shadow | proc::msr_bitmaps,
                           .secondary = proc2::virtualize_x2apic};
constexpr Controls kX2apicFull{.pin = pin::external_interrupt_exiting,
                               .primary = proc::tpr_shadow | proc::msr_bitmaps,
                               .secondary = proc2::virtualize_x2apic |
                                            proc2::apic_register_virtualization |
                                            proc2::virtual_interrupt_delivery};
constexpr Controls kPosted{.pin = pin::external_interrupt_exiting | pin::process_posted_interrupts,
                           .primary = proc::tpr_shadow,
                           .secondary = proc2::virtual_interrupt_delivery,
                           .exit = exitctl::acknowledge_interrupt};

// --- The virtual APIC ----------------------------------------------------------------------------
uint64_t address_of(const char* p) { return reinterpret_cast<uint64_t>(p); }

volatile uint32_t& virtual_apic(Lab& lab, uint32_t offset) {
  return *reinterpret_cast<volatile uint32_t*>(lab.virtual_apic_page.value() + offset);
}
void clear_virtual_apic(Lab& lab) {
  for (uint32_t offset = 0; offset < 4096; offset += 4) virtual_apic(lab, offset) = 0;
}
void set_vector(Lab& lab, uint32_t first, uint32_t vector) {
  virtual_apic(lab, first + vector / 32 * 16) = 1u << (vector & 31);
}
void set_status(TestVm& vm, uint32_t requesting, uint32_t servicing) {
  vm.set(Field16::guest_interrupt_status, static_cast<uint16_t>(requesting | servicing << 8));
}
void interruptible(TestVm& vm) { vm.set(FieldN::guest_rflags, rflags::fixed1 | rflags::IF); }

// A test over a VM with these controls and an empty virtual APIC.
template <class Body>
void test(Tap& tap, Lab& lab, const char* group, const char* name, const Controls& controls,
          Body body) {
  tap.test(group, name, [&](Report& report) {
    TestVm vm(lab, controls);
    if (!vm.ready(report)) return;
    clear_virtual_apic(lab);
    clear_interrupt_counts();
    vm.regs[Gpr::rbx] = lab.apic_access_page.value();
    body(report, vm);
  });
}

bool exits_at(Report& report, TestVm& vm, const GuestCode& code, ExitReason reason,
              const char* where, uint64_t qualification) {
  return vm.run(report, code.code, reason) &&
         report.equal("rip - expected", vm.exit().rip - address_of(where), 0u) &&
         report.equal("qualification", vm.exit().qualification, qualification);
}

// Runs to the end without an exit in between.
bool goes_through(Report& report, TestVm& vm, const GuestCode& code) {
  return vm.run(report, code.code, ExitReason::vmcall);
}

void tpr_shadow(Tap& tap, Lab& lab) {
  test(tap, lab, "apicv.cr8", "read", kShadow, [&](Report& report, TestVm& vm) {
    virtual_apic(lab, kTpr) = 0x9a;
    if (goes_through(report, vm, apic_from_cr8)) report.equal("cr8", vm.regs[Gpr::rdi], 9u);
  });
  test(tap, lab, "apicv.cr8", "write", kShadow, [&](Report& report, TestVm& vm) {
    virtual_apic(lab, kTpr) = 0x000000ff;
    if (!goes_through(report, vm, apic_to_cr8)) return;
    report.equal("cr8", vm.regs[Gpr::rdi], 5u);
    report.equal("vtpr", virtual_apic(lab, kTpr), 0x50u);
  });
  test(tap, lab, "apicv.cr8", "reserved_bits", kShadow, [&](Report& report, TestVm& vm) {
    vm.set(Field32::exception_bitmap, 1u << kGP);
    if (!vm.run(report, apic_cr8_reserved.code, ExitReason::exception_or_nmi)) return;
    report.equal("vtpr", virtual_apic(lab, kTpr), 0u);
  });
  test(tap, lab, "apicv.tpr_threshold", "exit", kShadow, [&](Report& report, TestVm& vm) {
    virtual_apic(lab, kTpr) = 0x90;
    vm.set(Field32::tpr_threshold, 6u);
    exits_at(report, vm, apic_to_cr8, ExitReason::tpr_below_threshold, apic_to_cr8.next, 0);
  });
  test(tap, lab, "apicv.tpr_threshold", "equal", kShadow, [&](Report& report, TestVm& vm) {
    virtual_apic(lab, kTpr) = 0x90;
    vm.set(Field32::tpr_threshold, 5u);
    goes_through(report, vm, apic_to_cr8);
  });
  test(tap, lab, "apicv.tpr_threshold", "at_entry", kAccesses, [&](Report& report, TestVm& vm) {
    vm.set(Field32::tpr_threshold, 1u);
    exits_at(report, vm, apic_from_cr8, ExitReason::tpr_below_threshold, apic_from_cr8.code, 0);
  });
  test(tap, lab, "apicv.tpr_threshold", "at_entry_in_hlt", kAccesses,
       [&](Report& report, TestVm& vm) {
         if ((lab.caps.misc >> 6 & 1) == 0) return report.skip("no HLT activity");
         vm.set(Field32::tpr_threshold, 1u);
         vm.set(Field32::guest_activity_state, 1u);
         exits_at(report, vm, apic_from_cr8, ExitReason::tpr_below_threshold, apic_from_cr8.code,
                  0);
       });
  test(tap, lab, "apicv.tpr_threshold", "behind_injection", kAccesses,
       [&](Report& report, TestVm& vm) {
         interruptible(vm);
         vm.set(Field32::tpr_threshold, 1u);
         vm.set(Field32::entry_interruption_info, 0x80000000 | kVector);
         if (!vm.run(report, apic_from_cr8.code, ExitReason::tpr_below_threshold)) return;
         report.equal("in the handler", vm.exit().rip != address_of(apic_from_cr8.code), true);
         report.equal("vectoring", vm.exit().vectoring, 0u);
       });
}

// What an access leads to, by controls.
struct AccessRow {
  const char* name;
  GuestCode code;
  Controls controls;
  ExitReason reason;
  uint64_t qualification = 0;
  bool behind = false;  // the exit is a trap
};
constexpr AccessRow kRows[] = {
    {"bare.read_tpr", apic_read_tpr, kBare, ExitReason::apic_access, 0x0080},
    {"bare.write_tpr", apic_write_tpr, kBare, ExitReason::apic_access, 0x1080},
    {"shadow.read_id", apic_read_id, kAccesses, ExitReason::apic_access, 0x0020},
    {"shadow.write_eoi", apic_write_eoi, kAccesses, ExitReason::apic_access, 0x10b0},
    {"shadow.write_icr", apic_self_ipi, kAccesses, ExitReason::apic_access, 0x1300},
    {"shadow.read_wide", apic_read_wide, kAccesses, ExitReason::apic_access, 0x0080},
    {"shadow.read_unaligned", apic_read_unaligned, kAccesses, ExitReason::apic_access, 0x0082},
    {"registers.read_ppr", apic_read_ppr, kRegisters, ExitReason::apic_access, 0x00a0},
    {"registers.write_irr", apic_write_irr, kRegisters, ExitReason::apic_access, 0x1210},
    {"registers.write_id", apic_write_id, kRegisters, ExitReason::apic_write, 0x020, true},
    {"registers.write_eoi", apic_write_eoi, kRegisters, ExitReason::apic_write, 0x0b0, true},
    {"registers.write_svr", apic_write_svr, kRegisters, ExitReason::apic_write, 0x0f0, true},
    {"registers.write_icr", apic_self_ipi, kRegisters, ExitReason::apic_write, 0x300, true},
    {"registers.read_id", apic_read_id, kRegisters, ExitReason::vmcall},
    {"registers.read_irr", apic_read_irr, kRegisters, ExitReason::vmcall},
    {"delivery.read_id", apic_read_id, kDelivery, ExitReason::apic_access, 0x0020},
    {"delivery.other_ipi", apic_other_ipi, kDelivery, ExitReason::apic_write, 0x300, true},
};

void apic_accesses(Tap& tap, Lab& lab) {
  for (const AccessRow& row : kRows) {
    test(tap, lab, "apicv.access", row.name, row.controls, [&](Report& report, TestVm& vm) {
      if (row.reason == ExitReason::vmcall) {
        goes_through(report, vm, row.code);
        return;
      }
      if (!vm.run(report, row.code.code, row.reason)) return;
      const uint64_t where = address_of(row.behind ? row.code.next : row.code.at);
      report.equal("rip - expected", vm.exit().rip - where, 0u);
      report.equal("qualification", vm.exit().qualification, row.qualification);
      report.equal("vectoring", vm.exit().vectoring, 0u);
    });
  }
  test(tap, lab, "apicv.access", "shadow.tpr", kAccesses, [&](Report& report, TestVm& vm) {
    if (!goes_through(report, vm, apic_write_tpr)) return;
    report.equal("read back", vm.regs[Gpr::rdi], 0x40u);
    report.equal("vtpr", virtual_apic(lab, kTpr), 0x40u);
  });
  test(tap, lab, "apicv.access", "shadow.add_tpr", kAccesses, [&](Report& report, TestVm& vm) {
    virtual_apic(lab, kTpr) = 0x30;
    if (goes_through(report, vm, apic_add_tpr))
      report.equal("vtpr", virtual_apic(lab, kTpr), 0x50u);
  });
  test(tap, lab, "apicv.access", "shadow.tpr_below_threshold", kAccesses,
       [&](Report& report, TestVm& vm) {
         virtual_apic(lab, kTpr) = 0x70;
         vm.set(Field32::tpr_threshold, 3u);
         exits_at(report, vm, apic_write_tpr_byte, ExitReason::tpr_below_threshold,
                  apic_write_tpr_byte.next, 0);
       });
  test(tap, lab, "apicv.access", "registers.icr_high", kRegisters, [&](Report& report, TestVm& vm) {
    if (goes_through(report, vm, apic_write_icr_high))
      report.equal("vicr_hi", virtual_apic(lab, 0x310), 0x12000000u);
  });
}

void x2apic(Tap& tap, Lab& lab) {
  test(tap, lab, "apicv.x2apic", "read_tpr", kX2apic, [&](Report& report, TestVm& vm) {
    virtual_apic(lab, kTpr) = 0x70;
    if (goes_through(report, vm, apic_rdmsr_tpr)) report.equal("eax", vm.regs[Gpr::rax], 0x70u);
  });
  test(tap, lab, "apicv.x2apic", "write_tpr", kX2apic, [&](Report& report, TestVm& vm) {
    if (goes_through(report, vm, apic_wrmsr_tpr)) report.equal("cr8", vm.regs[Gpr::rdi], 6u);
  });
  test(tap, lab, "apicv.x2apic", "read_any_register", kX2apicFull, [&](Report& report, TestVm& vm) {
    virtual_apic(lab, 0x20) = 0x11223344;
    virtual_apic(lab, 0x24) = 0x55667788;
    if (!goes_through(report, vm, apic_rdmsr_id)) return;
    report.equal("eax", vm.regs[Gpr::rax], 0x11223344u);
    report.equal("edx", vm.regs[Gpr::rdx], 0x55667788u);
  });
  test(tap, lab, "apicv.x2apic", "self_ipi", kX2apicFull, [&](Report& report, TestVm& vm) {
    interruptible(vm);
    if (goes_through(report, vm, apic_wrmsr_self))
      report.equal("delivered", interrupt_count(kVector), 1u);
  });
  test(tap, lab, "apicv.x2apic", "self_ipi_illegal_vector", kX2apicFull,
       [&](Report& report, TestVm& vm) {
         exits_at(report, vm, apic_wrmsr_illegal, ExitReason::apic_write, apic_wrmsr_illegal.next,
                  0x3f0);
       });
  test(tap, lab, "apicv.x2apic", "eoi_exit", kX2apicFull, [&](Report& report, TestVm& vm) {
    set_status(vm, 0, kVector);
    set_vector(lab, kIsr, kVector);
    vm.set(Field64::eoi_exit_bitmap_1, uint64_t{1} << (kVector - 64));
    exits_at(report, vm, apic_wrmsr_eoi, ExitReason::virtualized_eoi, apic_wrmsr_eoi.next, kVector);
  });
}

void virtual_interrupts(Tap& tap, Lab& lab) {
  const auto requested = [&](TestVm& vm, uint32_t servicing = 0) {
    set_status(vm, kVector, servicing);
    set_vector(lab, kIrr, kVector);
    if (servicing != 0) set_vector(lab, kIsr, servicing);
  };
  const auto status = [](TestVm& vm) { return uint32_t{vm.get(Field16::guest_interrupt_status)}; };
  test(tap, lab, "apicv.interrupt", "at_entry", kDelivery, [&](Report& report, TestVm& vm) {
    interruptible(vm);
    requested(vm);
    if (!goes_through(report, vm, apic_from_cr8)) return;
    report.equal("delivered", interrupt_count(kVector), 1u);
    report.equal("status", status(vm), kVector << 8);
    report.equal("vppr", virtual_apic(lab, kPpr), kVector & 0xf0);
    report.equal("virr", virtual_apic(lab, kIrr + 0x20), 0u);
    report.equal("visr", virtual_apic(lab, kIsr + 0x20), 1u << (kVector & 31));
  });
  test(tap, lab, "apicv.interrupt", "held_by_service", kDelivery, [&](Report& report, TestVm& vm) {
    interruptible(vm);
    requested(vm, 0x5f);
    if (!goes_through(report, vm, apic_from_cr8)) return;
    report.equal("delivered", interrupt_count(kVector), 0u);
    report.equal("vppr", virtual_apic(lab, kPpr), 0x50u);
  });
  test(tap, lab, "apicv.interrupt", "held_by_flag", kDelivery, [&](Report& report, TestVm& vm) {
    requested(vm);
    if (!goes_through(report, vm, apic_from_cr8)) return;
    report.equal("delivered", interrupt_count(kVector), 0u);
    report.equal("status", status(vm), kVector);
  });
  test(tap, lab, "apicv.interrupt", "behind_sti", kDelivery, [&](Report& report, TestVm& vm) {
    requested(vm);
    if (goes_through(report, vm, apic_sti)) report.equal("delivered", interrupt_count(kVector), 1u);
  });
  test(tap, lab, "apicv.interrupt", "tpr_lowered", kDelivery, [&](Report& report, TestVm& vm) {
    interruptible(vm);
    requested(vm);
    virtual_apic(lab, kTpr) = 0x60;
    if (goes_through(report, vm, apic_lower_tpr))
      report.equal("delivered", interrupt_count(kVector), 1u);
  });
  // A processor that does not wake would hang the run; the timer ends that.
  Controls timed = kDelivery;
  timed.pin |= pin::preemption_timer;
  test(tap, lab, "apicv.interrupt", "wakes_hlt", timed, [&](Report& report, TestVm& vm) {
    if ((lab.caps.misc >> 6 & 1) == 0) return report.skip("no HLT activity");
    vm.set(Field32::preemption_timer_value, 200000u);
    interruptible(vm);
    requested(vm);
    vm.set(Field32::guest_activity_state, 1u);
    if (goes_through(report, vm, apic_from_cr8))
      report.equal("delivered", interrupt_count(kVector), 1u);
  });
  Controls window = kDelivery;
  window.primary |= proc::interrupt_window;
  test(tap, lab, "apicv.interrupt", "window_exit_instead", window, [&](Report& report, TestVm& vm) {
    interruptible(vm);
    requested(vm);
    exits_at(report, vm, apic_from_cr8, ExitReason::interrupt_window, apic_from_cr8.code, 0);
  });
  test(tap, lab, "apicv.interrupt", "self_ipi", kDelivery, [&](Report& report, TestVm& vm) {
    interruptible(vm);
    if (goes_through(report, vm, apic_self_ipi))
      report.equal("delivered", interrupt_count(kVector), 1u);
  });
  test(tap, lab, "apicv.eoi", "next_delivered", kDelivery, [&](Report& report, TestVm& vm) {
    interruptible(vm);
    requested(vm, 0x61);
    if (!goes_through(report, vm, apic_write_eoi)) return;
    report.equal("delivered", interrupt_count(kVector), 1u);
    report.equal("status", status(vm), kVector << 8);
  });
  test(tap, lab, "apicv.eoi", "exit", kDelivery, [&](Report& report, TestVm& vm) {
    set_status(vm, 0, kVector);
    set_vector(lab, kIsr, kVector);
    vm.set(Field64::eoi_exit_bitmap_1, uint64_t{1} << (kVector - 64));
    exits_at(report, vm, apic_write_eoi, ExitReason::virtualized_eoi, apic_write_eoi.next, kVector);
  });
}

void posted_interrupts(Tap& tap, Lab& lab) {
  volatile uint32_t& enable = *reinterpret_cast<volatile uint32_t*>(uint64_t{0xfee000f0});
  volatile uint32_t& service = *reinterpret_cast<volatile uint32_t*>(uint64_t{0xfee00170});
  const auto post = [&](TestVm & vm, uint8_t notification) -> volatile uint32_t* {
    enable = 0x1ff;
    auto* descriptor = reinterpret_cast<volatile uint32_t*>(lab.scratch_page.value());
    for (unsigned n = 0; n < 16; ++n) descriptor[n] = 0;
    descriptor[kVector / 32] = 1u << (kVector & 31);
    descriptor[8] = 1;
    vm.set(Field16::posted_interrupt_vector, uint16_t{notification});
    vm.set(Field64::posted_interrupt_descriptor, lab.scratch_page.value());
    interruptible(vm);
    return descriptor;
  };
  test(tap, lab, "apicv.posted", "notification", kPosted, [&](Report& report, TestVm& vm) {
    auto* descriptor = post(vm, kNotification);
    if (!goes_through(report, vm, apic_notified)) return;
    report.equal("delivered", interrupt_count(kVector), 1u);
    report.equal("notification delivered", interrupt_count(kNotification), 0u);
    report.equal("pir", descriptor[kVector / 32], 0u);
    report.equal("on", descriptor[8], 0u);
    report.equal("in service", service, 0u);
  });
  test(tap, lab, "apicv.posted", "other_vector", kPosted, [&](Report& report, TestVm& vm) {
    auto* descriptor = post(vm, kNotification - 1);
    if (!vm.run(report, apic_notified.code, ExitReason::external_interrupt)) return;
    *reinterpret_cast<volatile uint32_t*>(uint64_t{0xfee000b0}) = 0;
    report.equal("interruption information", vm.exit().interruption, 0x80000000 | kNotification);
    report.equal("on", descriptor[8], 1u);
  });
}

}  // namespace

void test_apic_virtualization(Tap& tap, Lab& lab) {
  tpr_shadow(tap, lab);
  apic_accesses(tap, lab);
  x2apic(tap, lab);
  virtual_interrupts(tap, lab);
  posted_interrupts(tap, lab);
}

}  // namespace cupel::metal
