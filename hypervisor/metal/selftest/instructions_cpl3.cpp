// The VMX instructions at CPL 3, and with memory operands that fault.
// SDM vol. 3C, ch. "VMX Instruction Reference".
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/suites.h"
#include "hypervisor/metal/trap.h"

extern "C" {
// Operand of the CPL 3 code: a VMXON or VMCS pointer, an INVEPT or INVVPID descriptor.
alignas(16) uint64_t metal_user_operand[2];
}

namespace cupel::metal {
namespace {

#define CUPEL_USER(name, instruction)  \
  extern "C" const char user_##name[]; \
  asm(".pushsection .text\nuser_" #name ":\n" instruction "\nint $0x30\n.popsection")

CUPEL_USER(vmxon, "vmxon metal_user_operand");
CUPEL_USER(vmxoff, "vmxoff");
CUPEL_USER(vmclear, "vmclear metal_user_operand");
CUPEL_USER(vmptrld, "vmptrld metal_user_operand");
CUPEL_USER(vmptrst, "vmptrst metal_user_operand");
CUPEL_USER(vmread, "mov $0x4400, %eax\nvmread %rax, %rcx");
CUPEL_USER(vmwrite, "mov $0x681e, %eax\nvmwrite %rcx, %rax");
CUPEL_USER(vmlaunch, "vmlaunch");
CUPEL_USER(vmresume, "vmresume");
CUPEL_USER(vmcall, "vmcall");
CUPEL_USER(invept, "mov $2, %eax\ninvept metal_user_operand, %rax");
CUPEL_USER(invvpid, "mov $2, %eax\ninvvpid metal_user_operand, %rax");

struct UserRow {
  const char* name;
  const char* code;
};
constexpr UserRow kRows[] = {
    {"vmxon", user_vmxon},     {"vmxoff", user_vmxoff},     {"vmclear", user_vmclear},
    {"vmptrld", user_vmptrld}, {"vmptrst", user_vmptrst},   {"vmread", user_vmread},
    {"vmwrite", user_vmwrite}, {"vmlaunch", user_vmlaunch}, {"vmresume", user_vmresume},
    {"vmcall", user_vmcall},   {"invept", user_invept},     {"invvpid", user_invvpid},
};

Outcome run_user(Lab& lab, const char* code) {
  clear_trap();
  metal_run_user(code);
  return lab.outcome(x86::VmxStatus::succeed);
}

// A page that the tables do not map: the image maps 4 GiB.
const auto* const kUnmapped = reinterpret_cast<const uint64_t*>(0x100000000000);
constexpr Outcome kPageFault{Outcome::Kind::fault, x86::kPF};

template <class Run>
void page_fault(
    Tap& tap, Lab& lab, const char* name, Run run, void (*prepare)(Lab&) = [](Lab&) {}) {
  tap.test("vmx.page_fault", name, [&](Report& report) {
    lab.on();
    report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
    prepare(lab);
    clear_trap();
    run();
    report.equal("outcome", lab.outcome(x86::VmxStatus::succeed), kPageFault);
    report.equal("cr2", last_trap().cr2, reinterpret_cast<uint64_t>(kUnmapped));
  });
}

}  // namespace

void test_instructions_cpl3(Tap& tap, Lab& lab) {
  for (const UserRow& row : kRows) {
    tap.test("vmx.cpl3", row.name, [&](Report& report) {
      lab.on();
      report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
      metal_user_operand[0] = lab.other_vmcs.value();
      metal_user_operand[1] = 0;
      report.equal("outcome", run_user(lab, row.code), kGeneralProtection);
    });
  }
  for (const UserRow& row : kRows) {
    // VMXON is the one that does not need VMX operation: it reaches the test of CPL.
    const bool vmxon = row.code == user_vmxon;
    tap.test("vmx.cpl3_outside", row.name, [&](Report& report) {
      lab.off();
      metal_user_operand[0] = lab.vmxon_region.value();
      report.equal("outcome", run_user(lab, row.code),
                   vmxon ? kGeneralProtection : kUndefinedOpcode);
    });
  }
  // In root operation VMXON fails before it looks at its operand.
  page_fault(
      tap, lab, "vmxon",
      [] { asm volatile(CUPEL_CAUGHT("vmxon %0")::"m"(*kUnmapped)
                        : "memory", "cc"); },
      [](Lab& at) { at.off(); });
  page_fault(tap, lab, "vmclear", [] {
    asm volatile(CUPEL_CAUGHT("vmclear %0")::"m"(*kUnmapped) : "memory", "cc");
  });
  page_fault(tap, lab, "vmptrld", [] {
    asm volatile(CUPEL_CAUGHT("vmptrld %0")::"m"(*kUnmapped) : "memory", "cc");
  });
  page_fault(tap, lab, "vmptrst", [] {
    asm volatile(CUPEL_CAUGHT("vmptrst %0")::"m"(*kUnmapped) : "memory", "cc");
  });
  page_fault(tap, lab, "vmread", [] {
    asm volatile(CUPEL_CAUGHT("vmread %1, %0")::"m"(*kUnmapped), "r"(0x681eul) : "memory", "cc");
  });
  page_fault(tap, lab, "vmwrite", [] {
    asm volatile(CUPEL_CAUGHT("vmwrite %0, %1")::"m"(*kUnmapped), "r"(0x681eul) : "memory", "cc");
  });
  page_fault(tap, lab, "invept", [] {
    asm volatile(CUPEL_CAUGHT("invept %0, %1")::"m"(*kUnmapped), "r"(2ul) : "memory", "cc");
  });
  page_fault(tap, lab, "invvpid", [] {
    asm volatile(CUPEL_CAUGHT("invvpid %0, %1")::"m"(*kUnmapped), "r"(2ul) : "memory", "cc");
  });
}

}  // namespace cupel::metal
