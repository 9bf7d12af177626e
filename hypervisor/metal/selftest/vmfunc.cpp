// VM functions: EPTP switching, and what is not enabled.
// SDM vol. 3C, "VM Functions".
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/ept_tables.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

#define CUPEL_VMFUNC ".byte 0x0f, 0x01, 0xd4"
CUPEL_GUEST(vf_switch, "movl (%rdi), %ebx", CUPEL_VMFUNC, "movl (%rdi), %edx");
CUPEL_GUEST(vf_caught, "", CUPEL_CAUGHT(CUPEL_VMFUNC), "");

constexpr Controls kControls{.secondary = proc2::enable_ept | proc2::enable_vmfunc};
constexpr uint32_t kInFirst = 0x11111111, kInSecond = 0x22222222;

volatile uint32_t& word(Hpa at) { return *reinterpret_cast<volatile uint32_t*>(at.value()); }

// Two sets of tables; under the second one the first one's page is another page. The list holds
// both and one value that no VM entry takes.
struct Switching {
  explicit Switching(Lab& lab) : first(lab), second(lab), list(lab.frame()), lab_(lab) {
    word(first.page()) = kInFirst;
    word(first.other_page()) = kInSecond;
    auto* entries = reinterpret_cast<volatile uint64_t*>(list.value());
    entries[0] = first.pointer();
    entries[1] = second.pointer();
    entries[2] = second.pointer() | 7;
  }
  ~Switching() { lab_.frames.release(list); }

  void use(TestVm& vm, uint64_t function, uint64_t index) {
    second.invalidate();
    first.use(vm);
    vm.set(Field64::vm_function_controls, vmfunc::eptp_switching);
    vm.set(Field64::eptp_list_address, list.value());
    vm.regs[Gpr::rax] = function;
    vm.regs[Gpr::rcx] = index;
    vm.regs[Gpr::rdi] = second.page().value();
  }

  EptTables first, second;
  Hpa list;

 private:
  Lab& lab_;
};

bool available(Lab& lab, Report& report) {
  uint64_t functions = 0;
  const bool has = lab.offers(kControls) && lab.cpu.rdmsr(0x491, functions) && (functions & 1) != 0;
  if (!has) report.skip("EPTP switching not offered");
  return has;
}

void switching(Tap& tap, Lab& lab) {
  tap.test("vmfunc", "eptp_switching", [&](Report& report) {
    if (!available(lab, report)) return;
    TestVm vm(lab, kControls);
    Switching s(lab);
    word(s.second.page()) = kInFirst;
    word(s.second.other_page()) = kInSecond;
    s.second.map_page_to(s.second.other_page());
    s.use(vm, 0, 1);
    if (!vm.run(report, vf_switch.code, ExitReason::vmcall)) return;
    report.equal("before", static_cast<uint32_t>(vm.regs[Gpr::rbx]), kInFirst);
    report.equal("after", static_cast<uint32_t>(vm.regs[Gpr::rdx]), kInSecond);
    report.equal("EPT pointer", vm.get(Field64::ept_pointer), s.second.pointer());
  });
}

void refused(Tap& tap, Lab& lab) {
  struct Row {
    const char* name;
    uint64_t function, index;
  };
  constexpr Row rows[] = {{"function_not_enabled", 1, 0},
                          {"function_63", 63, 0},
                          {"index_512", 0, 512},
                          {"pointer_not_valid", 0, 2},
                          {"pointer_zero", 0, 3}};
  for (const Row& row : rows) {
    tap.test("vmfunc.exits", row.name, [&](Report& report) {
      if (!available(lab, report)) return;
      TestVm vm(lab, kControls);
      Switching s(lab);
      s.use(vm, row.function, row.index);
      if (!vm.run(report, vf_switch.code, ExitReason::vmfunc)) return;
      const ExitRecord exit = vm.exit();
      report.equal("rip - instruction", exit.rip - reinterpret_cast<uint64_t>(vf_switch.at), 0u);
      report.equal("instruction length", exit.length, 3u);
      report.equal("EPT pointer", vm.get(Field64::ept_pointer), s.first.pointer());
    });
  }
}

void undefined(Tap& tap, Lab& lab) {
  const auto expect_ud = [](Report& report, TestVm& vm) {
    if (!vm.run(report, vf_caught.code, ExitReason::vmcall)) return;
    report.equal("fault taken", vm.guest_trap().taken, true);
    report.equal("vector", uint32_t{vm.guest_trap().vector}, uint32_t{kUD});
  };
  tap.test("vmfunc.ud", "function_64", [&](Report& report) {
    if (!available(lab, report)) return;
    TestVm vm(lab, kControls);
    Switching s(lab);
    s.use(vm, 64, 0);
    expect_ud(report, vm);
  });
  tap.test("vmfunc.ud", "control_is_0", [&](Report& report) {
    TestVm vm(lab, {});
    if (vm.ready(report)) expect_ud(report, vm);
  });
  tap.test("vmfunc.ud", "root_operation", [&](Report& report) {
    lab.on();
    clear_trap();
    asm volatile(CUPEL_CAUGHT(CUPEL_VMFUNC)::"a"(0), "c"(0) : "memory");
    report.equal("fault taken", last_trap().taken, true);
    report.equal("vector", uint32_t{last_trap().vector}, uint32_t{kUD});
  });
}

}  // namespace

void test_vmfunc(Tap& tap, Lab& lab) {
  switching(tap, lab);
  refused(tap, lab);
  undefined(tap, lab);
}

}  // namespace cupel::metal
