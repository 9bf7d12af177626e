// VMLAUNCH and VMRESUME before their checks, INVEPT and INVVPID.
// SDM vol. 3C, "Basic VM-Entry Checks", "INVEPT", "INVVPID".
#include "core/x86/vmx_controls.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/suites.h"
#include "hypervisor/metal/trap.h"

extern "C" uint64_t metal_blocked_entry(uint32_t launch);

// VMLAUNCH or VMRESUME right behind MOV SS, which blocks it. Returns 1 for CF, 2 for ZF.
asm(R"(
  .pushsection .text
metal_blocked_entry:
  xorl %eax, %eax
  movl %ss, %ecx
  testl %edi, %edi
  jz 1f
  movl %ecx, %ss
771: vmlaunch
772: jmp 2f
1:
  movl %ecx, %ss
773: vmresume
774:
2:
  setc %al
  setz %cl
  addb %cl, %al
  addb %cl, %al
  ret
  .popsection
  .pushsection .fixups, "a", @progbits
  .quad 771b, 772b, 773b, 774b
  .popsection
)");

namespace cupel::metal {
namespace {

using namespace x86;

constexpr uint32_t kNotClear = 4, kNotLaunched = 5, kBlockedByMovSs = 26, kInvalidOperand = 28;

CUPEL_GUEST(guest_two_calls, "vmcall", "vmcall", "");

void launch_state(Tap& tap, Lab& lab) {
  tap.test("entry.launch_state", "vmlaunch_without_vmcs", [&](Report& report) {
    lab.on();
    GprFile regs;
    report.equal("outcome", lab.outcome(lab.cpu.vmlaunch(regs)), kFailInvalid);
  });
  tap.test("entry.launch_state", "vmresume_without_vmcs", [&](Report& report) {
    lab.on();
    GprFile regs;
    report.equal("outcome", lab.outcome(lab.cpu.vmresume(regs)), kFailInvalid);
  });
  tap.test("entry.launch_state", "vmresume_of_clear", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    report.equal("outcome", vm.resume(), fail_valid(kNotLaunched));
  });
  tap.test("entry.launch_state", "vmlaunch_of_launched", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report) || !vm.run(report, guest_two_calls.code, ExitReason::vmcall)) return;
    report.equal("outcome", vm.launch(guest_two_calls.at), fail_valid(kNotClear));
  });
  // Software must execute VMCLEAR before VMXOFF; what is left otherwise must not be resumed.
  tap.test("entry.launch_state", "vmresume_after_vmxoff", [&](Report& report) {
    constexpr uint32_t kAfterVmxoff = 6;
    TestVm vm(lab, {});
    if (!vm.ready(report) || !vm.run(report, guest_two_calls.code, ExitReason::vmcall)) return;
    report.equal("vmxoff", lab.outcome(lab.cpu.vmxoff()), kSucceed);
    report.equal("vmxon", lab.outcome(lab.cpu.vmxon(lab.vmxon_region)), kSucceed);
    report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
    report.equal("vmresume", vm.resume(), fail_valid(kAfterVmxoff));
    report.equal("vmclear", lab.outcome(lab.cpu.vmclear(lab.vmcs)), kSucceed);
  });
  tap.test("entry.launch_state", "vmclear_makes_clear", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report) || !vm.run(report, guest_two_calls.code, ExitReason::vmcall)) return;
    report.equal("vmclear", lab.outcome(lab.cpu.vmclear(lab.vmcs)), kSucceed);
    report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
    report.equal("vmresume", vm.resume(), fail_valid(kNotLaunched));
    vm.run(report, guest_two_calls.at, ExitReason::vmcall);
  });
  tap.test("entry.launch_state", "failed_checks_do_not_launch", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(FieldN::guest_rflags, uint64_t{0});
    report.equal("vmlaunch", vm.launch(guest_two_calls.code), kSucceed);
    report.equal("entry failure", vm.exit().entry_failure(), true);
    vm.set(FieldN::guest_rflags, rflags::fixed1);
    report.equal("vmresume", vm.resume(), fail_valid(kNotLaunched));
    vm.run(report, guest_two_calls.code, ExitReason::vmcall);
  });
}

Outcome blocked(Lab& lab, bool launch) {
  clear_trap();
  const uint64_t flags = metal_blocked_entry(launch ? 1 : 0);
  return lab.outcome((flags & 1) != 0   ? VmxStatus::fail_invalid
                     : (flags & 2) != 0 ? VmxStatus::fail_valid
                                        : VmxStatus::succeed);
}

void mov_ss(Tap& tap, Lab& lab) {
  tap.test("entry.mov_ss", "vmlaunch", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    report.equal("outcome", blocked(lab, true), fail_valid(kBlockedByMovSs));
  });
  // Blocking is looked at before the launch state.
  tap.test("entry.mov_ss", "vmresume_of_clear", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    report.equal("outcome", blocked(lab, false), fail_valid(kBlockedByMovSs));
  });
  tap.test("entry.mov_ss", "vmresume", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report) || !vm.run(report, guest_two_calls.code, ExitReason::vmcall)) return;
    report.equal("outcome", blocked(lab, false), fail_valid(kBlockedByMovSs));
  });
}

// A value that VM entry accepts as EPT pointer.
uint64_t good_eptp(Lab& lab) { return lab.other_vmcs.value() | 3 << 3 | 6; }

bool has_invept(Report& report, Lab& lab) {
  const bool has = (lab.caps.ept_vpid >> 20 & 1) != 0;
  if (!has) report.skip("no INVEPT");
  return has;
}
bool has_invvpid(Report& report, Lab& lab) {
  const bool has = (lab.caps.ept_vpid >> 32 & 1) != 0;
  if (!has) report.skip("no INVVPID");
  return has;
}
bool current(Report& report, Lab& lab) {
  lab.on();
  return report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
}

struct InveptRow {
  const char* name;
  uint64_t type;
  uint64_t (*eptp)(Lab& lab);
  bool succeeds;
};
constexpr InveptRow kInvept[] = {
    {"single", 1, good_eptp, true},
    {"all", 2, [](Lab&) -> uint64_t { return uint64_t{0}; }, true},
    {"all_ignores_eptp", 2, [](Lab&) -> uint64_t { return ~uint64_t{0} >> 12 << 12; }, true},
    {"type_0", 0, good_eptp, false},
    {"type_3", 3, good_eptp, false},
    {"type_huge", 1ull << 32 | 1, good_eptp, false},
    {"single_memory_type", 1, [](Lab& lab) -> uint64_t { return good_eptp(lab) & ~7ull; }, true},
    {"single_bad_memory_type", 1, [](Lab& lab) -> uint64_t { return (good_eptp(lab) & ~7ull) | 1; },
     false},
    {"single_walk_length", 1, [](Lab& lab) -> uint64_t { return good_eptp(lab) & ~0x38ull; },
     false},
    {"single_reserved", 1, [](Lab& lab) -> uint64_t { return good_eptp(lab) | 0x800; }, false},
    {"single_beyond_width", 1,
     [](Lab& lab) -> uint64_t { return good_eptp(lab) | 1ull << lab.physical_bits; }, false},
};

void invept(Tap& tap, Lab& lab) {
  for (const InveptRow& row : kInvept) {
    tap.test("vmx.invept", row.name, [&](Report& report) {
      if (!has_invept(report, lab) || !current(report, lab)) return;
      const bool uncacheable = (lab.caps.ept_vpid >> 8 & 1) != 0;
      const bool zero_type = row.type == 1 && (row.eptp(lab) & 7) == 0;
      const bool offered = row.type == 1 ? lab.caps.invept_single() : lab.caps.invept_all();
      const bool good = row.succeeds && offered && (!zero_type || uncacheable);
      report.equal("outcome", lab.outcome(lab.cpu.invept(row.type, {row.eptp(lab), 0})),
                   good ? kSucceed : fail_valid(kInvalidOperand));
    });
  }
  tap.test("vmx.invept", "without_vmcs", [&](Report& report) {
    if (!has_invept(report, lab)) return;
    lab.on();
    report.equal("type 0", lab.outcome(lab.cpu.invept(0, {})), kFailInvalid);
    if (lab.caps.invept_all()) {
      report.equal("type 2", lab.outcome(lab.cpu.invept(2, {})), kSucceed);
    }
  });
}

struct InvvpidRow {
  const char* name;
  uint64_t type;
  uint64_t low;  // VPID and the reserved bits behind it
  uint64_t linear;
  bool succeeds;
};
constexpr InvvpidRow kInvvpid[] = {
    {"address", 0, 1, 0x1000, true},
    {"single", 1, 1, 0, true},
    {"all", 2, 0, 0, true},
    {"retain_global", 3, 1, 0, true},
    {"type_4", 4, 1, 0, false},
    {"address_vpid_0", 0, 0, 0x1000, false},
    {"single_vpid_0", 1, 0, 0, false},
    {"retain_global_vpid_0", 3, 0, 0, false},
    {"address_not_canonical", 0, 1, 1ull << 63, false},
    {"address_high_canonical", 0, 1, 0xffff800000000000, true},
    {"single_ignores_address", 1, 1, 1ull << 63, true},
    {"address_reserved", 0, 1 | 1 << 16, 0x1000, false},
    {"single_reserved", 1, 1 | 1 << 16, 0, false},
    {"all_reserved", 2, 1ull << 63, 0, false},
    {"retain_global_reserved", 3, 1 | 1ull << 32, 0, false},
};

Outcome invvpid_raw(Lab& lab, uint64_t type, uint64_t low, uint64_t linear) {
  const uint64_t memory[2] = {low, linear};
  bool cf = false, zf = false;
  clear_trap();
  asm volatile(CUPEL_CAUGHT("invvpid (%2), %3")
               : "=@ccc"(cf), "=@ccz"(zf)
               : "r"(memory), "r"(type)
               : "memory");
  return lab.outcome(cf   ? VmxStatus::fail_invalid
                     : zf ? VmxStatus::fail_valid
                          : VmxStatus::succeed);
}

void invvpid(Tap& tap, Lab& lab) {
  for (const InvvpidRow& row : kInvvpid) {
    tap.test("vmx.invvpid", row.name, [&](Report& report) {
      if (!has_invvpid(report, lab) || !current(report, lab)) return;
      const bool offered = row.type < 4 && (lab.caps.ept_vpid >> (40 + row.type) & 1) != 0;
      report.equal("outcome", invvpid_raw(lab, row.type, row.low, row.linear),
                   row.succeeds && offered ? kSucceed : fail_valid(kInvalidOperand));
    });
  }
}

}  // namespace

void test_entry_instructions(Tap& tap, Lab& lab) {
  launch_state(tap, lab);
  mov_ss(tap, lab);
  invept(tap, lab);
  invvpid(tap, lab);
}

}  // namespace cupel::metal
