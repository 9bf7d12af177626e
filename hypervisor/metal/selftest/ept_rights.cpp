// EPT: violations with their qualification, misconfigurations, accessed and dirty flags, the
// page-modification log, virtualization exceptions.
// SDM vol. 3C, "The Extended Page Table Mechanism (EPT)", "Page-Modification Logging",
// "Virtualization Exceptions".
#include "hypervisor/metal/selftest/ept_tables.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

CUPEL_GUEST(er_read, "", "movl (%rdi), %eax", "");
CUPEL_GUEST(er_write, "", "movl $0x5a, (%rdi)", "");
CUPEL_GUEST(er_fetch, "", "call *%rdi", "");
CUPEL_GUEST(er_two_writes, "", "movl $1, (%rdi)", "movl $2, (%rsi)");

constexpr Controls kEpt{.secondary = proc2::enable_ept};
constexpr uint8_t kRet = 0xc3;
constexpr uint64_t kOffset = 0x120;
// Bit 6 and bits 11:9 are defined only with controls and capabilities that are not asked for.
constexpr uint64_t kAlways = 0x1bf, kTranslated = 1 << 7 | 1 << 8;

struct ViolationRow {
  const char* name;
  const GuestCode& code;
  uint64_t rights;  // of the page
  uint64_t qualification;
  bool execute_only = false;
};
constexpr ViolationRow kViolations[] = {
    {"read.page_not_present", er_read, 0, 1},
    {"write.page_not_present", er_write, 0, 2},
    {"fetch.page_not_present", er_fetch, 0, 4},
    {"write.read_only_page", er_write, 1, 2 | 1 << 3},
    {"fetch.read_only_page", er_fetch, 1, 4 | 1 << 3},
    {"write.no_write_page", er_write, 5, 2 | 5 << 3},
    {"fetch.no_execute_page", er_fetch, 3, 4 | 3 << 3},
    {"read.execute_only_page", er_read, 4, 1 | 4 << 3, true},
    {"write.execute_only_page", er_write, 4, 2 | 4 << 3, true},
};

void violations(Tap& tap, Lab& lab) {
  for (const ViolationRow& row : kViolations) {
    tap.test("ept.rights", row.name, [&](Report& report) {
      TestVm vm(lab, kEpt);
      if (!vm.ready(report)) return;
      if (row.execute_only && (lab.caps.ept_vpid & 1) == 0) return report.skip("no execute-only");
      EptTables tables(lab);
      *reinterpret_cast<volatile uint8_t*>(tables.page().value() + kOffset) = kRet;
      tables.leaf(tables.page()) = (tables.leaf(tables.page()) & ~7ull) | row.rights;
      tables.use(vm);
      vm.regs[Gpr::rdi] = tables.page().value() + kOffset;
      if (!vm.run(report, row.code.code, ExitReason::ept_violation)) return;
      const ExitRecord exit = vm.exit();
      report.equal("qualification", exit.qualification & kAlways, row.qualification | kTranslated);
      report.equal("guest-physical address", vm.get(Field64::guest_physical_address),
                   tables.page().value() + kOffset);
      report.equal("guest-linear address", vm.get(FieldN::guest_linear_address),
                   tables.page().value() + kOffset);
      report.equal("IDT-vectoring valid", exit.vectoring >> 31, 0u);
      tables.leaf(tables.page()) |= 7;
      tables.invalidate();
      vm.run_on(report, ExitReason::vmcall);
    });
  }
}

struct MisconfigurationRow {
  const char* name;
  uint64_t clear, set;  // bits of the entry of the 4-KByte page
  bool (*applies)(Lab& lab) = nullptr;
};
bool no_execute_only(Lab& lab) { return (lab.caps.ept_vpid & 1) == 0; }
constexpr MisconfigurationRow kMisconfigurations[] = {
    {"write_without_read", 7, 2},
    {"write_and_execute_without_read", 7, 6},
    {"execute_only_not_offered", 7, 4, no_execute_only},
    {"memory_type_2", 7 << 3, 2 << 3},
    {"memory_type_3", 7 << 3, 3 << 3},
    {"memory_type_7", 7 << 3, 7 << 3},
};

void expect_misconfiguration(Report& report, TestVm& vm, EptTables& tables) {
  tables.use(vm);
  vm.regs[Gpr::rdi] = tables.page().value() + kOffset;
  if (!vm.run(report, er_read.code, ExitReason::ept_misconfiguration)) return;
  report.equal("guest-physical address", vm.get(Field64::guest_physical_address),
               tables.page().value() + kOffset);
  report.equal("rip - instruction",
               vm.get(FieldN::guest_rip) - reinterpret_cast<uint64_t>(er_read.at), 0u);
}

void misconfigurations(Tap& tap, Lab& lab) {
  for (const MisconfigurationRow& row : kMisconfigurations) {
    tap.test("ept.entry", row.name, [&](Report& report) {
      TestVm vm(lab, kEpt);
      if (!vm.ready(report)) return;
      if (row.applies != nullptr && !row.applies(lab)) return report.skip("not on this processor");
      EptTables tables(lab);
      uint64_t& leaf = tables.leaf(tables.page());
      leaf = (leaf & ~row.clear) | row.set;
      expect_misconfiguration(report, vm, tables);
    });
  }
  tap.test("ept.entry", "address_beyond_width", [&](Report& report) {
    TestVm vm(lab, kEpt);
    if (!vm.ready(report)) return;
    if (lab.physical_bits >= 52) return report.skip("52 physical-address bits");
    EptTables tables(lab);
    tables.leaf(tables.page()) |= 1ull << lab.physical_bits;
    expect_misconfiguration(report, vm, tables);
  });
  tap.test("ept.entry", "table_entry_bit_3", [&](Report& report) {
    TestVm vm(lab, kEpt);
    if (!vm.ready(report)) return;
    EptTables tables(lab);
    // The table may map the image too: what is accessed first is not known.
    tables.table_entry(tables.page()) |= 1 << 3;
    tables.use(vm);
    vm.regs[Gpr::rdi] = tables.page().value();
    vm.run(report, er_read.code, ExitReason::ept_misconfiguration);
  });
}

void flags(Tap& tap, Lab& lab) {
  const auto test = [&](const char* name, const GuestCode& code, uint64_t expected) {
    tap.test("ept.flags", name, [&](Report& report) {
      TestVm vm(lab, kEpt);
      if (!vm.ready(report)) return;
      if (!lab.caps.ept_accessed_dirty()) return report.skip("not offered");
      EptTables tables(lab);
      tables.use(vm);
      vm.regs[Gpr::rdi] = tables.page().value();
      if (!vm.run(report, code.code, ExitReason::vmcall)) return;
      report.equal("flags", tables.leaf(tables.page()) & 0x300, expected);
      report.equal("accessed flag of the table", tables.table_entry(tables.page()) & 0x300, 0x100u);
    });
  };
  test("read_sets_accessed", er_read, 0x100);
  test("write_sets_dirty", er_write, 0x300);
}

void mode_based_execute(Tap& tap, Lab& lab) {
  const auto test = [&](const char* name, uint64_t rights, bool exits) {
    tap.test("ept.mode_based_execute", name, [&](Report& report) {
      TestVm vm(lab, {.secondary = proc2::enable_ept | proc2::mode_based_execute});
      if (!vm.ready(report)) return;
      EptTables tables(lab);
      *reinterpret_cast<volatile uint8_t*>(tables.page().value()) = kRet;
      // The image's pages are those of CPL 3 too: user pages, whatever the CPL.
      tables.set_in_all(1 << 10);
      uint64_t& leaf = tables.leaf(tables.page());
      leaf = (leaf & ~(4ull | 1 << 10)) | rights;
      tables.use(vm);
      vm.regs[Gpr::rdi] = tables.page().value();
      if (!vm.run(report, er_fetch.code, exits ? ExitReason::ept_violation : ExitReason::vmcall))
        return;
      if (exits)
        report.equal(
            "qualification", vm.exit().qualification & 0x1ff,
            uint64_t{4 | 3 << 3 | (rights & 4) << 3 | (rights >> 10 & 1) << 6} | kTranslated);
    });
  };
  test("user_page.user_execute", 1 << 10, false);
  test("user_page.supervisor_execute", 4, true);
}

void page_modification_log(Tap& tap, Lab& lab) {
  constexpr Controls controls{.secondary = proc2::enable_ept | proc2::enable_pml};
  const auto prepare = [&](TestVm& vm, EptTables& tables, uint16_t index) {
    tables.set_all_flags_but(tables.page());
    tables.use(vm);
    vm.set(Field64::pml_address, tables.other_page().value());
    vm.set(Field16::pml_index, index);
    vm.regs[Gpr::rdi] = vm.regs[Gpr::rsi] = tables.page().value() + kOffset;
  };
  tap.test("ept.log", "first_write_is_logged", [&](Report& report) {
    TestVm vm(lab, controls);
    if (!vm.ready(report)) return;
    EptTables tables(lab);
    prepare(vm, tables, 7);
    if (!vm.run(report, er_two_writes.code, ExitReason::vmcall)) return;
    const auto* log = reinterpret_cast<const volatile uint64_t*>(tables.other_page().value());
    report.equal("index", vm.get(Field16::pml_index), 6u);
    report.equal("entry", uint64_t{log[7]}, tables.page().value());
  });
  tap.test("ept.log", "index_wraps", [&](Report& report) {
    TestVm vm(lab, controls);
    if (!vm.ready(report)) return;
    EptTables tables(lab);
    prepare(vm, tables, 0);
    if (!vm.run(report, er_two_writes.code, ExitReason::vmcall)) return;
    report.equal("index", vm.get(Field16::pml_index), 0xffffu);
  });
  tap.test("ept.log", "full", [&](Report& report) {
    TestVm vm(lab, controls);
    if (!vm.ready(report)) return;
    EptTables tables(lab);
    prepare(vm, tables, 512);
    if (!vm.run(report, er_write.code, ExitReason::page_modification_log_full)) return;
    report.equal("qualification", vm.exit().qualification, 0u);
    report.equal("flags", tables.leaf(tables.page()) & 0x200, 0u);
    report.equal("rip - instruction",
                 vm.get(FieldN::guest_rip) - reinterpret_cast<uint64_t>(er_write.at), 0u);
    vm.set(Field16::pml_index, uint16_t{511});
    vm.run_on(report, ExitReason::vmcall);
  });
}

// --- Virtualization exceptions ------------------------------------------------------------------

constexpr Controls kVeControls{.secondary = proc2::enable_ept | proc2::ept_violation_ve};

struct VeArea {
  uint32_t reason, busy;
  uint64_t qualification, linear, physical;
  uint16_t index;
};

volatile VeArea& area(EptTables& tables) {
  return *reinterpret_cast<volatile VeArea*>(tables.other_page().value());
}

// The page is read-only. Vector 20 exits by the exception bitmap, so that no handler is needed.
void prepare_ve(TestVm& vm, EptTables& tables, uint64_t suppress) {
  uint64_t& leaf = tables.leaf(tables.page());
  leaf = (leaf & ~7ull) | 1 | suppress;
  tables.use(vm);
  vm.set(Field64::ve_information_address, tables.other_page().value());
  vm.set(Field16::eptp_index, uint16_t{0x1234});
  vm.set(Field32::exception_bitmap, 1u << kVE);
  vm.regs[Gpr::rdi] = tables.page().value() + kOffset;
}

void virtualization_exceptions(Tap& tap, Lab& lab) {
  tap.test("ept.ve_area", "information", [&](Report& report) {
    TestVm vm(lab, kVeControls);
    if (!vm.ready(report)) return;
    EptTables tables(lab);
    prepare_ve(vm, tables, 0);
    if (!vm.run(report, er_write.code, ExitReason::exception_or_nmi)) return;
    report.equal("interruption information", vm.exit().interruption, 0x80000314u);
    report.equal("reason", uint32_t{area(tables).reason}, 48u);
    report.equal("busy", uint32_t{area(tables).busy}, 0xffffffffu);
    report.equal("qualification", area(tables).qualification & kAlways, 2 | 1 << 3 | kTranslated);
    report.equal("linear address", uint64_t{area(tables).linear}, tables.page().value() + kOffset);
    report.equal("physical address", uint64_t{area(tables).physical},
                 tables.page().value() + kOffset);
    report.equal("EPTP index", uint16_t{area(tables).index}, 0x1234u);
  });
  tap.test("ept.ve_area", "busy_area_exits", [&](Report& report) {
    TestVm vm(lab, kVeControls);
    if (!vm.ready(report)) return;
    EptTables tables(lab);
    prepare_ve(vm, tables, 0);
    area(tables).busy = 1;
    vm.run(report, er_write.code, ExitReason::ept_violation);
  });
  tap.test("ept.ve_area", "suppressed", [&](Report& report) {
    TestVm vm(lab, kVeControls);
    if (!vm.ready(report)) return;
    EptTables tables(lab);
    prepare_ve(vm, tables, 1ull << 63);
    if (!vm.run(report, er_write.code, ExitReason::ept_violation)) return;
    report.equal("busy", uint32_t{area(tables).busy}, 0u);
  });
}

}  // namespace

void test_ept_rights(Tap& tap, Lab& lab) {
  violations(tap, lab);
  misconfigurations(tap, lab);
  flags(tap, lab);
  mode_based_execute(tap, lab);
  page_modification_log(tap, lab);
  virtualization_exceptions(tap, lab);
}

}  // namespace cupel::metal
