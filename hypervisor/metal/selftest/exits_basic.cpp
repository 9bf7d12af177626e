// Instructions that exit unconditionally or by one control bit, and that do not without it.
// SDM vol. 3C, "Instructions That Cause VM Exits".
#include "core/x86/msr.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/exit_rows.h"
#include "hypervisor/metal/selftest/suites.h"

extern "C" {
alignas(64) uint8_t metal_guest_scratch[1024];
}

namespace cupel::metal {
namespace {

using namespace x86;

CUPEL_GUEST(guest_cpuid, "mov $1, %eax", "cpuid", "");
CUPEL_GUEST(guest_cpuid_prefixed, "mov $1, %eax", ".byte 0x66, 0x48\n cpuid", "");
CUPEL_GUEST(guest_hlt, "", "hlt", "");
CUPEL_GUEST(guest_invlpg, "mov $0x345678, %eax", "invlpg 0x1000(%rax)", "");
CUPEL_GUEST(guest_rdpmc, "xor %ecx, %ecx", "rdpmc", "");
CUPEL_GUEST(guest_rdtsc, "", "rdtsc", "");
CUPEL_GUEST(guest_rdtscp, "", "rdtscp", "");
CUPEL_GUEST(guest_vmcall, "", "vmcall", "");
CUPEL_GUEST(guest_invd, "", "invd", "");
CUPEL_GUEST(guest_wbinvd, "", "wbinvd", "");
CUPEL_GUEST(guest_pause, "", "pause", "");
CUPEL_GUEST(guest_monitor, "lea metal_guest_scratch, %rax\n xor %ecx, %ecx\n xor %edx, %edx",
            "monitor", "");
CUPEL_GUEST(guest_mwait, "xor %eax, %eax\n xor %ecx, %ecx", "mwait", "");
CUPEL_GUEST(guest_mwait_armed,
            "lea metal_guest_scratch, %rax\n xor %ecx, %ecx\n xor %edx, %edx\n monitor\n"
            "xor %eax, %eax",
            "mwait", "");
CUPEL_GUEST(guest_rdrand16, "", "rdrand %cx", "");
CUPEL_GUEST(guest_rdrand32, "", "rdrand %ebx", "");
CUPEL_GUEST(guest_rdrand64, "", "rdrand %r13", "");
CUPEL_GUEST(guest_rdseed32, "", "rdseed %r9d", "");
CUPEL_GUEST(guest_rdseed64, "", "rdseed %rdi", "");
CUPEL_GUEST(guest_invpcid, "lea metal_guest_scratch, %rbx\n mov $2, %esi",
            "invpcid 0x10(%rbx), %rsi", "");
CUPEL_GUEST(guest_xsetbv, "xor %ecx, %ecx\n xor %edx, %edx\n mov $3, %eax", "xsetbv", "");
CUPEL_GUEST(guest_vmfunc, "mov $1, %eax\n xor %ecx, %ecx", "vmfunc", "");
CUPEL_GUEST(guest_vmfunc_beyond, "mov $64, %eax\n xor %ecx, %ecx", "vmfunc", "");
CUPEL_GUEST(guest_vmfunc_eptp, "xor %eax, %eax\n mov $512, %ecx", "vmfunc", "");
CUPEL_GUEST(guest_xsaves, "lea metal_guest_scratch, %rbx\n mov $-1, %eax\n xor %edx, %edx",
            "xsaves 0x40(%rbx)", "");
CUPEL_GUEST(guest_xrstors, "lea metal_guest_scratch, %rbx\n mov $-1, %eax\n xor %edx, %edx",
            "xrstors 0x80(%rbx)", "");
CUPEL_GUEST(guest_umwait, "xor %ecx, %ecx", "umwait %ecx", "");
CUPEL_GUEST(guest_tpause, "xor %edi, %edi", "tpause %edi", "");
CUPEL_GUEST(guest_encls, "xor %eax, %eax", ".byte 0x0f, 0x01, 0xcf", "");

constexpr uint32_t kRandomMask = 0x1878;  // destination register and operand size
constexpr uint32_t kSize32 = 1u << 11, kSize64 = 2u << 11;

bool has_monitor(Lab&) { return (cpuid(1).ecx >> 3 & 1) != 0; }
bool has_osxsave(Lab& lab) { return (lab.caps.cr4_fixed1 & cr4::OSXSAVE) != 0; }
bool has_waitpkg(Lab&) { return (cpuid(7).ecx >> 5 & 1) != 0; }
// A supervisor state component that IA32_XSS can enable: without one XSAVES never exits.
uint64_t supervisor_component() {
  const uint64_t offered = cpuid(0xd, 1).ecx;
  return offered & (~offered + 1);
}
bool has_xsaves(Lab& lab) {
  return has_osxsave(lab) && (cpuid(0xd, 1).eax >> 3 & 1) != 0 && supervisor_component() != 0;
}
bool has_eptp_switching(Lab& lab) {
  uint64_t functions = 0;
  return lab.cpu.rdmsr(0x491, functions) && (functions & 1) != 0;
}

void enable_xsave(TestVm& vm) {
  vm.set(FieldN::guest_cr4, vm.get(FieldN::guest_cr4) | cr4::OSXSAVE);
}
// The exit is taken on the logical AND of EDX:EAX, IA32_XSS and the bitmap.
void exit_on_xss(TestVm& vm) {
  enable_xsave(vm);
  vm.set(Field64::xss_exiting_bitmap, ~uint64_t{0});
  (void)vm.lab().cpu.wrmsr(msr::XSS, supervisor_component());
}
void no_functions(TestVm& vm) { vm.set(Field64::vm_function_controls, uint64_t{0}); }
void eptp_switching(TestVm& vm) {
  vm.set(Field64::vm_function_controls, uint64_t{1});
  vm.set(Field64::eptp_list_address, vm.lab().frame().value());
}
void exit_on_encls(TestVm& vm) { vm.set(Field64::encls_exiting_bitmap, uint64_t{1}); }

constexpr ExitRow kRows[] = {
    {"cpuid", guest_cpuid, {}, ExitReason::cpuid},
    {"cpuid_with_prefixes", guest_cpuid_prefixed, {}, ExitReason::cpuid},
    {"hlt", guest_hlt, {.primary = proc::hlt_exiting}, ExitReason::hlt},
    {"invlpg", guest_invlpg, {.primary = proc::invlpg_exiting}, ExitReason::invlpg, 0x346678},
    {"rdpmc", guest_rdpmc, {.primary = proc::rdpmc_exiting}, ExitReason::rdpmc},
    {"rdtsc", guest_rdtsc, {.primary = proc::rdtsc_exiting}, ExitReason::rdtsc},
    {"rdtscp",
     guest_rdtscp,
     {.primary = proc::rdtsc_exiting, .secondary = proc2::enable_rdtscp},
     ExitReason::rdtscp},
    {"vmcall", guest_vmcall, {}, ExitReason::vmcall},
    {"invd", guest_invd, {}, ExitReason::invd},
    {"wbinvd", guest_wbinvd, {.secondary = proc2::wbinvd_exiting}, ExitReason::wbinvd},
    {"pause", guest_pause, {.primary = proc::pause_exiting}, ExitReason::pause},
    {"monitor",
     guest_monitor,
     {.primary = proc::monitor_exiting},
     ExitReason::monitor,
     0,
     0,
     0,
     nullptr,
     has_monitor},
    {"mwait",
     guest_mwait,
     {.primary = proc::mwait_exiting},
     ExitReason::mwait,
     0,
     0,
     0,
     nullptr,
     has_monitor},
    {"mwait_armed",
     guest_mwait_armed,
     {.primary = proc::mwait_exiting},
     ExitReason::mwait,
     1,
     0,
     0,
     nullptr,
     has_monitor},
    {"rdrand_16",
     guest_rdrand16,
     {.secondary = proc2::rdrand_exiting},
     ExitReason::rdrand,
     0,
     kRandomMask,
     info::reg1(Gpr::rcx)},
    {"rdrand_32",
     guest_rdrand32,
     {.secondary = proc2::rdrand_exiting},
     ExitReason::rdrand,
     0,
     kRandomMask,
     info::reg1(Gpr::rbx) | kSize32},
    {"rdrand_64",
     guest_rdrand64,
     {.secondary = proc2::rdrand_exiting},
     ExitReason::rdrand,
     0,
     kRandomMask,
     info::reg1(Gpr::r13) | kSize64},
    {"rdseed_32",
     guest_rdseed32,
     {.secondary = proc2::rdseed_exiting},
     ExitReason::rdseed,
     0,
     kRandomMask,
     info::reg1(Gpr::r9) | kSize32},
    {"rdseed_64",
     guest_rdseed64,
     {.secondary = proc2::rdseed_exiting},
     ExitReason::rdseed,
     0,
     kRandomMask,
     info::reg1(Gpr::rdi) | kSize64},
    {"invpcid",
     guest_invpcid,
     {.primary = proc::invlpg_exiting, .secondary = proc2::enable_invpcid},
     ExitReason::invpcid,
     0x10,
     info::memory_mask | info::reg2_mask,
     info::address64 | info::segment(Seg::ds) | info::no_index | info::base(Gpr::rbx) |
         info::reg2(Gpr::rsi) | info::index(Gpr::rax)},
    {"xsetbv", guest_xsetbv, {}, ExitReason::xsetbv, 0, 0, 0, enable_xsave, has_osxsave},
    {"vmfunc_disabled",
     guest_vmfunc,
     {.secondary = proc2::enable_vmfunc},
     ExitReason::vmfunc,
     0,
     0,
     0,
     no_functions},
    {"vmfunc_eptp_list_index",
     guest_vmfunc_eptp,
     {.secondary = proc2::enable_vmfunc | proc2::enable_ept},
     ExitReason::vmfunc,
     0,
     0,
     0,
     eptp_switching,
     has_eptp_switching},
    {"xsaves",
     guest_xsaves,
     {.secondary = proc2::enable_xsaves},
     ExitReason::xsaves,
     0x40,
     info::memory_mask & ~info::index(Gpr::r15),
     info::address64 | info::segment(Seg::ds) | info::no_index | info::base(Gpr::rbx),
     exit_on_xss,
     has_xsaves},
    {"xrstors",
     guest_xrstors,
     {.secondary = proc2::enable_xsaves},
     ExitReason::xrstors,
     0x80,
     info::memory_mask & ~info::index(Gpr::r15),
     info::address64 | info::segment(Seg::ds) | info::no_index | info::base(Gpr::rbx),
     exit_on_xss,
     has_xsaves},
    {"umwait",
     guest_umwait,
     {.primary = proc::rdtsc_exiting, .secondary = proc2::user_wait_pause},
     ExitReason::umwait,
     0,
     0x78,
     info::reg1(Gpr::rcx),
     nullptr,
     has_waitpkg},
    {"tpause",
     guest_tpause,
     {.primary = proc::rdtsc_exiting, .secondary = proc2::user_wait_pause},
     ExitReason::tpause,
     0,
     0x78,
     info::reg1(Gpr::rdi),
     nullptr,
     has_waitpkg},
    {"encls",
     guest_encls,
     {.secondary = proc2::encls_exiting},
     ExitReason::encls,
     0,
     0,
     0,
     exit_on_encls},
};

// The same instructions without their control: the guest reaches its VMCALL.
struct QuietRow {
  const char* name;
  GuestCode code;
  Controls controls;
  bool (*available)(Lab& lab) = nullptr;
};
constexpr QuietRow kQuiet[] = {
    {"invlpg", guest_invlpg, {}},
    {"rdtsc", guest_rdtsc, {}},
    {"rdtscp", guest_rdtscp, {.secondary = proc2::enable_rdtscp}},
    {"wbinvd", guest_wbinvd, {}},
    {"pause", guest_pause, {}},
    {"monitor", guest_monitor, {}, has_monitor},
    {"rdrand", guest_rdrand64, {}, [](Lab&) { return (cpuid(1).ecx >> 30 & 1) != 0; }},
    {"rdseed", guest_rdseed64, {}, [](Lab&) { return (cpuid(7).ebx >> 18 & 1) != 0; }},
};

// Instructions that raise #UD without the control that enables them.
// SDM vol. 3C, "Changes to Instruction Behavior in VMX Non-Root Operation".
constexpr QuietRow kUndefined[] = {
    {"rdtscp", guest_rdtscp, {}},
    {"invpcid", guest_invpcid, {}},
    {"vmfunc", guest_vmfunc, {}},
    {"vmfunc_eax_beyond_63", guest_vmfunc_beyond, {.secondary = proc2::enable_vmfunc}},
    {"xsaves", guest_xsaves, {}},
    {"xrstors", guest_xrstors, {}},
    {"tpause", guest_tpause, {}},
};

void quiet(Tap& tap, Lab& lab) {
  for (const QuietRow& row : kQuiet) {
    tap.test("exit.none", row.name, [&](Report& report) {
      if (row.available != nullptr && !row.available(lab)) return report.skip("not offered");
      TestVm vm(lab, row.controls);
      if (!vm.ready(report)) return;
      if (!vm.run(report, row.code.code, ExitReason::vmcall)) return;
      report.equal("rip - next", vm.exit().rip - reinterpret_cast<uint64_t>(row.code.next), 0u);
    });
  }
  for (const QuietRow& row : kUndefined) {
    tap.test("exit.undefined", row.name, [&](Report& report) {
      TestVm vm(lab, row.controls);
      if (!vm.ready(report)) return;
      vm.set(Field32::exception_bitmap, 1u << kUD);
      if (!vm.run(report, row.code.code, ExitReason::exception_or_nmi)) return;
      report.equal("interruption information", vm.exit().interruption, 0x80000306u);
      report.equal("rip - instruction", vm.exit().rip - reinterpret_cast<uint64_t>(row.code.at),
                   0u);
    });
  }
}

}  // namespace

void test_exits_basic(Tap& tap, Lab& lab) {
  test_rows(tap, lab, "exit", kRows);
  if ((cpuid(0xd, 1).eax >> 3 & 1) != 0) (void)lab.cpu.wrmsr(msr::XSS, 0);
  quiet(tap, lab);
}

}  // namespace cupel::metal
