// EPT: violations, misconfigurations, accessed and dirty flags, the page-modification log, EPTP
// switching and #VE. The tables are built by hypervisor/vmx.
// SDM vol. 3C, "The Extended Page Table Mechanism (EPT)", "EPT Misconfigurations", "EPT
// Violations".
#include "core/x86/exit_qualification.h"
#include "hypervisor/metal/console.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/exit_rows.h"
#include "hypervisor/metal/selftest/guest_modes.h"
#include "hypervisor/metal/selftest/suites.h"
#include "hypervisor/vmx/ept_builder.h"

namespace cupel::metal {
namespace {

using namespace x86;
using vmx::EptBuilder;
using vmx::EptOptions;

CUPEL_GUEST(ept_read, "", "mov 0x18(%r8), %rax", "");
CUPEL_GUEST(ept_write, "", "movb $1, 0x18(%r8)", "");
CUPEL_GUEST(ept_fetch, "", "", "jmp *%r8");
CUPEL_GUEST(ept_read_caught, "", CUPEL_CAUGHT("mov 0x18(%r8), %rax"), "");
CUPEL_GUEST(ept_write_twice, "movb $1, (%r8)", "movb $1, (%r9)", "");
CUPEL_GUEST(ept_int, "", "int $0x50", "");
CUPEL_GUEST(ept_switch, "xor %eax, %eax\n mov $1, %ecx", "vmfunc", "mov 0x18(%r8), %rax");

constexpr uint64_t kOffset = 0x18;
// Bits 11:9 are there on some processors only; bit 12 and up do not matter here.
constexpr uint64_t kQualificationMask = 0x1bf;
constexpr uint64_t kSuppressVe = 1ull << 63;

// Tables of one test: everything one to one, and a page whose entry the test changes.
class Tables {
 public:
  Tables(Lab& lab, bool accessed_dirty)
      : page(lab.frame()), lab_(lab), builder_(make(lab, accessed_dirty)) {
    if (!builder_.map(Gpa(0), Hpa(0), 4_GiB).ok()) bail_out("no frames for EPT");
    allow(vmx::ept::all);
  }
  ~Tables() {
    builder_.release();
    lab_.frames.release(page);
  }
  void allow(uint64_t access) {
    if (!builder_.map(Gpa(page.value()), page, kPageSize, access).ok()) bail_out("no frames");
  }
  uint64_t& entry() {
    uint64_t table = builder_.pointer();
    for (unsigned level = 4; level > 1; --level) {
      table = at(table)[page.value() >> (12 + 9 * (level - 1)) & 511];
    }
    return at(table)[page.value() >> 12 & 511];
  }
  uint64_t pointer() const { return builder_.pointer(); }
  EptBuilder& builder() { return builder_; }
  void use(TestVm& vm) const {
    vm.set(Field64::ept_pointer, pointer());
    vm.regs[Gpr::r8] = page.value();
  }

  const Hpa page;

 private:
  static uint64_t* at(uint64_t entry) {
    return reinterpret_cast<uint64_t*>(entry & vmx::ept::address_mask);
  }
  static EptBuilder make(Lab& lab, bool accessed_dirty) {
    EptOptions options = EptOptions::from(lab.caps);
    options.accessed_dirty = options.accessed_dirty && accessed_dirty;
    auto made = EptBuilder::create(lab.frames, options);
    if (!made.ok()) bail_out("no frames for EPT");
    return made.value();
  }
  Lab& lab_;
  EptBuilder builder_;
};

void flush(Lab& lab) {
  if (lab.caps.invept_all()) (void)lab.cpu.invept(2, {});
}

constexpr Controls kEpt{.secondary = proc2::enable_ept};
constexpr uint64_t violation(bool r, bool w, bool x, uint64_t allowed, bool translated) {
  return uint64_t{r} | uint64_t{w} << 1 | uint64_t{x} << 2 | allowed << 3 | 1 << 7 |
         uint64_t{translated} << 8;
}

struct ViolationRow {
  const char* name;
  GuestCode code;
  uint64_t access;  // what EPT allows
  uint64_t qualification;
  uint64_t offset;
  bool execute_only = false;
};
constexpr ViolationRow kViolations[] = {
    {"read_absent", ept_read, 0, violation(true, false, false, 0, true), kOffset},
    {"write_absent", ept_write, 0, violation(false, true, false, 0, true), kOffset},
    {"fetch_absent", ept_fetch, 0, violation(false, false, true, 0, true), 0},
    {"write_read_only", ept_write, 1, violation(false, true, false, 1, true), kOffset},
    {"write_read_execute", ept_write, 5, violation(false, true, false, 5, true), kOffset},
    {"fetch_read_write", ept_fetch, 3, violation(false, false, true, 3, true), 0},
    {"fetch_read_only", ept_fetch, 1, violation(false, false, true, 1, true), 0},
    {"read_execute_only", ept_read, 4, violation(true, false, false, 4, true), kOffset, true},
    {"write_execute_only", ept_write, 4, violation(false, true, false, 4, true), kOffset, true},
};

void violations(Tap& tap, Lab& lab) {
  for (const ViolationRow& row : kViolations) {
    tap.test("ept.violation", row.name, [&](Report& report) {
      if (row.execute_only && (lab.caps.ept_vpid & 1) == 0) return report.skip("not offered");
      TestVm vm(lab, kEpt);
      if (!vm.ready(report)) return;
      Tables tables(lab, false);
      tables.allow(row.access);
      tables.use(vm);
      flush(lab);
      if (!vm.run(report, row.code.code, ExitReason::ept_violation)) return;
      report.equal("qualification", vm.exit().qualification & kQualificationMask,
                   row.qualification);
      const uint64_t at = tables.page.value() + row.offset;
      report.equal("physical - expected", vm.get(Field64::guest_physical_address) - at, 0u);
      report.equal("linear - expected", vm.get(FieldN::guest_linear_address) - at, 0u);
      // Once allowed, the instruction is executed again from where it stands.
      tables.allow(vmx::ept::all);
      flush(lab);
      static constexpr uint8_t kVmcall[] = {0x0f, 0x01, 0xc1};
      for (unsigned n = 0; n < 3; ++n) {
        reinterpret_cast<uint8_t*>(tables.page.value())[n] = kVmcall[n];
      }
      vm.run_on(report, ExitReason::vmcall);
    });
  }
}

// The page holds the guest's PML4: the access is the page walk's.
void paging_structures(Tap& tap, Lab& lab) {
  const auto walk = [&](const char* name, bool accessed_dirty, uint64_t access,
                        uint64_t qualification) {
    tap.test("ept.paging_structure", name, [&](Report& report) {
      if (accessed_dirty && !lab.caps.ept_accessed_dirty()) return report.skip("not offered");
      TestVm vm(lab, kEpt);
      if (!vm.ready(report)) return;
      Tables tables(lab, accessed_dirty);
      auto* copy = reinterpret_cast<uint64_t*>(tables.page.value());
      copy[0] = *reinterpret_cast<uint64_t*>(read_cr3() & ~0xfffull);
      tables.allow(access);
      tables.use(vm);
      vm.set(FieldN::guest_cr3, tables.page.value());
      flush(lab);
      if (!vm.run(report, ept_read.code, ExitReason::ept_violation)) return;
      report.equal("qualification", vm.exit().qualification & kQualificationMask, qualification);
      report.equal("physical - expected",
                   vm.get(Field64::guest_physical_address) - tables.page.value(), 0u);
      report.equal("linear - rip",
                   vm.get(FieldN::guest_linear_address) - reinterpret_cast<uint64_t>(ept_read.code),
                   0u);
    });
  };
  walk("absent", false, 0, violation(true, false, false, 0, false));
  // "Such accesses are treated as writes" with accessed and dirty flags for EPT.
  walk("read_only_with_accessed_dirty", true, 1, violation(true, true, false, 1, false));
}

struct MisconfigRow {
  const char* name;
  uint64_t (*entry)(Lab& lab, uint64_t good);
  bool (*available)(Lab& lab) = nullptr;
};
constexpr uint64_t kTypeMask = 7ull << 3;
constexpr MisconfigRow kMisconfigs[] = {
    {"write_only", [](Lab&, uint64_t e) -> uint64_t { return (e & ~7ull) | 2; }},
    {"write_execute", [](Lab&, uint64_t e) -> uint64_t { return (e & ~7ull) | 6; }},
    {"execute_only", [](Lab&, uint64_t e) -> uint64_t { return (e & ~7ull) | 4; },
     [](Lab& lab) { return (lab.caps.ept_vpid & 1) == 0; }},
    {"memory_type_2", [](Lab&, uint64_t e) -> uint64_t { return (e & ~kTypeMask) | 2 << 3; }},
    {"memory_type_3", [](Lab&, uint64_t e) -> uint64_t { return (e & ~kTypeMask) | 3 << 3; }},
    {"memory_type_7", [](Lab&, uint64_t e) -> uint64_t { return e | kTypeMask; }},
    {"beyond_width",
     [](Lab& lab, uint64_t e) -> uint64_t { return e | 1ull << lab.physical_bits; }},
};

void misconfigurations(Tap& tap, Lab& lab) {
  for (const MisconfigRow& row : kMisconfigs) {
    tap.test("ept.misconfiguration", row.name, [&](Report& report) {
      if (row.available != nullptr && !row.available(lab)) return report.skip("not offered");
      TestVm vm(lab, kEpt);
      if (!vm.ready(report)) return;
      Tables tables(lab, false);
      tables.entry() = row.entry(lab, tables.entry());
      tables.use(vm);
      flush(lab);
      if (!vm.run(report, ept_read.code, ExitReason::ept_misconfiguration)) return;
      report.equal("physical - expected",
                   vm.get(Field64::guest_physical_address) - tables.page.value(), kOffset);
      report.equal("rip - instruction", vm.exit().rip - reinterpret_cast<uint64_t>(ept_read.at),
                   0u);
    });
  }
}

void accessed_dirty(Tap& tap, Lab& lab) {
  const auto flags = [&](const char* name, const GuestCode& code, uint64_t want) {
    tap.test("ept.accessed_dirty", name, [&](Report& report) {
      if (!lab.caps.ept_accessed_dirty()) return report.skip("not offered");
      TestVm vm(lab, kEpt);
      if (!vm.ready(report)) return;
      Tables tables(lab, true);
      tables.use(vm);
      flush(lab);
      report.equal("before", tables.entry() & (vmx::ept::accessed | vmx::ept::dirty), 0u);
      if (!vm.run(report, code.code, ExitReason::vmcall)) return;
      report.equal("after", tables.entry() & (vmx::ept::accessed | vmx::ept::dirty), want);
    });
  };
  flags("read", ept_read, vmx::ept::accessed);
  flags("write", ept_write, vmx::ept::accessed | vmx::ept::dirty);
}

void delivery(Tap& tap, Lab& lab) {
  tap.test("ept.violation", "in_event_delivery", [&](Report& report) {
    TestVm vm(lab, kEpt);
    if (!vm.ready(report)) return;
    Tables tables(lab, false);
    tables.allow(0);
    tables.use(vm);
    vm.set(FieldN::guest_idtr_base, tables.page.value());
    flush(lab);
    if (!vm.run(report, ept_int.code, ExitReason::ept_violation)) return;
    report.equal("qualification", vm.exit().qualification & kQualificationMask,
                 violation(true, false, false, 0, true));
    report.equal("IDT-vectoring", vm.exit().vectoring, 0x80000450u);
    report.equal("instruction length", vm.exit().length, 2u);
  });
}

void modification_log(Tap& tap, Lab& lab) {
  constexpr Controls kPml{.secondary = proc2::enable_ept | proc2::enable_pml};
  tap.test("ept.pml", "logs_write", [&](Report& report) {
    TestVm vm(lab, kPml);
    if (!vm.ready(report)) return;
    Tables tables(lab, true);
    tables.use(vm);
    const Hpa log = lab.frame();
    vm.set(Field64::pml_address, log.value());
    vm.set(Field16::pml_index, uint16_t{100});
    flush(lab);
    // The guest's page walks may set dirty flags as well and be logged: find ours, which is logged
    // as the address of its 4-KByte page.
    if (vm.run(report, ept_write.code, ExitReason::vmcall)) {
      const uint16_t index = vm.get(Field16::pml_index);
      bool found = false;
      for (unsigned n = index + 1u; n <= 100; ++n) {
        found = found || reinterpret_cast<uint64_t*>(log.value())[n] == tables.page.value();
      }
      report.equal("found", found, true);
    }
    lab.frames.release(log);
  });
  tap.test("ept.pml", "full", [&](Report& report) {
    TestVm vm(lab, kPml);
    if (!vm.ready(report)) return;
    Tables tables(lab, true);
    tables.use(vm);
    vm.set(Field16::pml_index, uint16_t{0xffff});
    flush(lab);
    vm.run(report, ept_write.code, ExitReason::page_modification_log_full);
  });
}

void eptp_switching(Tap& tap, Lab& lab) {
  tap.test("ept.vmfunc", "eptp_switching", [&](Report& report) {
    uint64_t functions = 0;
    if (!lab.cpu.rdmsr(0x491, functions) || (functions & 1) == 0) return report.skip("not offered");
    TestVm vm(lab, {.secondary = proc2::enable_ept | proc2::enable_vmfunc});
    if (!vm.ready(report)) return;
    Tables tables(lab, false);
    tables.allow(0);
    tables.use(vm);
    const Hpa list = lab.frame();
    reinterpret_cast<uint64_t*>(list.value())[1] = lab.identity_eptp();
    vm.set(Field64::vm_function_controls, uint64_t{1});
    vm.set(Field64::eptp_list_address, list.value());
    flush(lab);
    if (vm.run(report, ept_switch.code, ExitReason::vmcall)) {
      report.equal("EPTP switched", vm.get(Field64::ept_pointer) == lab.identity_eptp(), true);
    }
    lab.frames.release(list);
  });
}

void virtualization_exception(Tap& tap, Lab& lab) {
  constexpr Controls kVe{.secondary = proc2::enable_ept | proc2::ept_violation_ve};
  const auto run = [&](const char* name, bool suppressed, bool busy) {
    tap.test("ept.ve", name, [&](Report& report) {
      TestVm vm(lab, kVe);
      if (!vm.ready(report)) return;
      Tables tables(lab, false);
      tables.allow(0);
      tables.entry() = suppressed ? kSuppressVe : 0;
      tables.use(vm);
      flush(lab);
      auto* area = reinterpret_cast<uint32_t*>(lab.scratch_page.value());
      area[0] = 0;
      area[1] = busy ? ~0u : 0u;
      if (suppressed || busy) {
        vm.run(report, ept_read.code, ExitReason::ept_violation);
        return;
      }
      if (!vm.run(report, ept_read_caught.code, ExitReason::vmcall)) return;
      report.equal("vector", vm.guest_trap().vector, uint32_t{kVE});
      report.equal("reason", area[0], 48u);
      report.equal("busy", area[1], ~0u);
      const auto* wide = reinterpret_cast<const uint64_t*>(area);
      report.equal("qualification", wide[1] & kQualificationMask,
                   violation(true, false, false, 0, true));
      report.equal("linear - expected", wide[2] - tables.page.value(), kOffset);
      report.equal("physical - expected", wide[3] - tables.page.value(), kOffset);
    });
  };
  run("delivered", false, false);
  run("suppressed_by_entry", true, false);
  run("suppressed_by_busy_area", false, true);
}

void real_mode(Tap& tap, Lab& lab) {
  tap.test("ept.unrestricted", "real_mode", [&](Report& report) {
    TestVm vm(lab, {.secondary = proc2::enable_ept | proc2::unrestricted_guest});
    if (!vm.ready(report)) return;
    guest_real_mode(vm);
    // mov $0x1234, %ax; vmcall
    constexpr uint8_t kCode[] = {0xb8, 0x34, 0x12, 0x0f, 0x01, 0xc1};
    auto* low = reinterpret_cast<volatile uint8_t*>(uint64_t{0x7000});
    for (unsigned n = 0; n < sizeof kCode; ++n) low[n] = kCode[n];
    vm.set(FieldN::guest_rsp, uint64_t{0x6000});
    if (!vm.run(report, reinterpret_cast<const void*>(0x7000), ExitReason::vmcall)) return;
    report.equal("AX", vm.regs[Gpr::rax] & 0xffff, 0x1234u);
    report.equal("rip", vm.exit().rip, 0x7003u);
  });
}

}  // namespace

void test_ept(Tap& tap, Lab& lab) {
  violations(tap, lab);
  paging_structures(tap, lab);
  misconfigurations(tap, lab);
  accessed_dirty(tap, lab);
  delivery(tap, lab);
  modification_log(tap, lab);
  eptp_switching(tap, lab);
  virtualization_exception(tap, lab);
  real_mode(tap, lab);
}

}  // namespace cupel::metal
