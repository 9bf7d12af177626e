// What entries load and exits save and load: registers, MSR areas, time; and what a guest at CPL 3
// meets first, a fault or an exit.
// SDM vol. 3C, "Loading Guest State", "Saving Guest State", "Loading Host State", "Loading MSRs",
// "Relative Priority of Faults and VM Exits".
#include "core/x86/msr.h"
#include "hypervisor/metal/instructions.h"
#include "hypervisor/metal/selftest/exit_rows.h"
#include "hypervisor/metal/selftest/guest_modes.h"
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

CUPEL_GUEST(st_vmcall, "", "", "");
CUPEL_GUEST(st_rdmsr, "", "rdmsr", "");
CUPEL_GUEST(st_rdtsc, "", "rdtsc", "");
CUPEL_GUEST(st_null_ds, "xor %eax, %eax", "mov %eax, %ds", "");
CUPEL_GUEST(st_add, "mov $0x80, %al", "add $0x80, %al", "");
CUPEL_GUEST(st_vmread, "mov $0x681e, %eax", "vmread %rax, %rbx", "");
CUPEL_GUEST(st_vmwrite, "mov $0x681e, %eax\n mov $0x4321, %ebx", "vmwrite %rbx, %rax", "");
CUPEL_GUEST(st_pause_loop, "mov $100000, %ecx\n 1:", "pause", "dec %ecx\n jnz 1b");

constexpr uint64_t kCanonicalHigh = 0xffff800000000000;

void registers(Tap& tap, Lab& lab) {
  tap.test("state.registers", "exchanged", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    for (unsigned n = 0; n < 16; ++n) vm.regs.r[n] = 0x1111111111111111ull * n + 5;
    const GprFile before = vm.regs;
    if (!vm.run(report, st_vmcall.code, ExitReason::vmcall)) return;
    for (unsigned n = 0; n < 16; ++n) report.equal("register", vm.regs.r[n], before.r[n]);
  });
  tap.test("state.saved", "rflags", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report) || !vm.run(report, st_add.code, ExitReason::vmcall)) return;
    report.equal("RFLAGS", vm.exit().rflags,
                 rflags::fixed1 | rflags::CF | rflags::PF | rflags::ZF | rflags::OF);
  });
  tap.test("state.saved", "null_selector_is_unusable", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report) || !vm.run(report, st_null_ds.code, ExitReason::vmcall)) return;
    report.equal("selector", vm.get(Field16::guest_ds_selector), 0u);
    report.equal("unusable", vm.get(Field32::guest_ds_access_rights) >> 16 & 1, 1u);
  });
  tap.test("state.saved", "entry_controls_lma", [&](Report& report) {
    // "IA-32e mode guest" is saved from EFER.LMA, where the processor says so.
    if ((lab.caps.misc >> 5 & 1) == 0) return report.skip("not offered");
    TestVm vm(lab, {});
    if (!vm.ready(report) || !vm.run(report, st_vmcall.code, ExitReason::vmcall)) return;
    report.equal("control", (vm.get(Field32::entry_controls) & entryctl::ia32e_mode_guest) != 0,
                 true);
  });
}

struct [[gnu::packed]] TablePointer {
  uint16_t limit;
  uint64_t base;
};

void host_state_loaded(Tap& tap, Lab& lab) {
  tap.test("state.host", "tables", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report) || !vm.run(report, st_vmcall.code, ExitReason::vmcall)) return;
    TablePointer gdtr{}, idtr{};
    asm volatile("sgdt %0\n sidt %1" : "=m"(gdtr), "=m"(idtr));
    report.equal("GDTR limit", uint32_t{gdtr.limit}, 0xffffu);
    report.equal("IDTR limit", uint32_t{idtr.limit}, 0xffffu);
    report.equal("GDTR base", uint64_t{gdtr.base} == host_state().gdtr_base, true);
    report.equal("IDTR base", uint64_t{idtr.base} == host_state().idtr_base, true);
  });
  tap.test("state.host", "debug", [&](Report& report) {
    TestVm vm(lab, {.entry = entryctl::load_debug_controls});
    if (!vm.ready(report)) return;
    vm.set(FieldN::guest_dr7, uint64_t{0x401});
    if (!vm.run(report, st_vmcall.code, ExitReason::vmcall)) return;
    uint64_t dr7 = 0;
    asm volatile("mov %%db7, %0" : "=r"(dr7));
    report.equal("DR7", dr7, 0x400u);
  });
  tap.test("state.host", "sysenter", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(Field32::host_sysenter_cs, 0x1234u);
    vm.set(FieldN::host_sysenter_esp, uint64_t{0x5678});
    vm.set(FieldN::host_sysenter_eip, uint64_t{0x9abc});
    if (!vm.run(report, st_vmcall.code, ExitReason::vmcall)) return;
    uint64_t cs = 0, esp = 0, eip = 0;
    report.equal("read", lab.cpu.rdmsr(msr::SYSENTER_CS, cs), true);
    report.equal("read", lab.cpu.rdmsr(msr::SYSENTER_ESP, esp), true);
    report.equal("read", lab.cpu.rdmsr(msr::SYSENTER_EIP, eip), true);
    report.equal("CS", cs, 0x1234u);
    report.equal("ESP", esp, 0x5678u);
    report.equal("EIP", eip, 0x9abcu);
  });
  tap.test("state.host", "fs_gs_base", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    vm.set(FieldN::host_fs_base, uint64_t{0x123456789});
    vm.set(FieldN::host_gs_base, kCanonicalHigh);
    if (!vm.run(report, st_vmcall.code, ExitReason::vmcall)) return;
    uint64_t fs = 0, gs = 0;
    report.equal("read", lab.cpu.rdmsr(msr::FS_BASE, fs), true);
    report.equal("read", lab.cpu.rdmsr(msr::GS_BASE, gs), true);
    report.equal("FS", fs, 0x123456789u);
    report.equal("GS", gs, kCanonicalHigh);
  });
  tap.test("state.host", "pat", [&](Report& report) {
    TestVm vm(lab, {.exit = exitctl::load_pat | exitctl::save_pat, .entry = entryctl::load_pat});
    if (!vm.ready(report)) return;
    const uint64_t host = vm.get(Field64::host_pat);
    vm.set(Field64::guest_pat, uint64_t{0x0606060606060606});
    vm.regs[Gpr::rcx] = msr::PAT;
    vm.set(Field32::primary_processor_controls, vm.controls().primary);
    if (!vm.run(report, st_vmcall.code, ExitReason::vmcall)) return;
    uint64_t now = 0;
    report.equal("read", lab.cpu.rdmsr(msr::PAT, now), true);
    report.equal("host PAT", now, host);
    report.equal("saved", vm.get(Field64::guest_pat), 0x0606060606060606u);
  });
}

// --- MSR areas ---------------------------------------------------------------------------------
struct MsrEntry {
  uint32_t index, reserved;
  uint64_t value;
};

MsrEntry* area(Lab& lab) { return reinterpret_cast<MsrEntry*>(lab.scratch_page.value()); }

void load_at_entry(TestVm& vm, uint32_t count) {
  vm.set(Field64::entry_msr_load_address, vm.lab().scratch_page.value());
  vm.set(Field32::entry_msr_load_count, count);
}

void msr_areas(Tap& tap, Lab& lab) {
  tap.test("msr_area", "load_at_entry", [&](Report& report) {
    TestVm vm(lab, {.primary = proc::msr_bitmaps});
    if (!vm.ready(report)) return;
    area(lab)[0] = {msr::LSTAR, 0, 0x1234};
    area(lab)[1] = {msr::CSTAR, 0, 0x5678};
    load_at_entry(vm, 2);
    vm.regs[Gpr::rcx] = msr::LSTAR;
    if (!vm.run(report, st_rdmsr.code, ExitReason::vmcall)) return;
    report.equal("EAX", vm.regs[Gpr::rax] & 0xffffffff, 0x1234u);
    uint64_t value = 0;
    report.equal("read", lab.cpu.rdmsr(msr::CSTAR, value), true);
    report.equal("second", value, 0x5678u);
  });
  tap.test("msr_area", "store_and_load_at_exit", [&](Report& report) {
    TestVm vm(lab, {});
    if (!vm.ready(report)) return;
    report.equal("write", lab.cpu.wrmsr(msr::LSTAR, 0x4444), true);
    area(lab)[0] = {msr::LSTAR, 0, 0};
    area(lab)[8] = {msr::LSTAR, 0, 0x7777};
    vm.set(Field64::exit_msr_store_address, lab.scratch_page.value());
    vm.set(Field32::exit_msr_store_count, 1u);
    vm.set(Field64::exit_msr_load_address, lab.scratch_page.value() + 128);
    vm.set(Field32::exit_msr_load_count, 1u);
    if (!vm.run(report, st_vmcall.code, ExitReason::vmcall)) return;
    report.equal("stored", area(lab)[0].value, 0x4444u);
    uint64_t value = 0;
    report.equal("read", lab.cpu.rdmsr(msr::LSTAR, value), true);
    report.equal("loaded", value, 0x7777u);
  });
  struct Row {
    const char* name;
    MsrEntry bad;
  };
  constexpr Row kBad[] = {
      {"fs_base", {msr::FS_BASE, 0, 0}},     {"gs_base", {msr::GS_BASE, 0, 0}},
      {"reserved_bits", {msr::LSTAR, 1, 0}}, {"not_canonical", {msr::LSTAR, 0, 1ull << 62}},
      {"smm_monitor_ctl", {0x9b, 0, 0}},  // can be written in SMM only
      {"read_only", {msr::VMX_BASIC, 0, 0}}, {"bad_pat", {msr::PAT, 0, 2}},
  };
  for (const Row& row : kBad) {
    tap.test("msr_area.failure", row.name, [&](Report& report) {
      TestVm vm(lab, {});
      if (!vm.ready(report)) return;
      area(lab)[0] = {msr::LSTAR, 0, 0};
      area(lab)[1] = row.bad;
      load_at_entry(vm, 2);
      if (!report.equal("entry", vm.launch(st_vmcall.code), kSucceed)) return;
      const ExitRecord exit = vm.exit();
      report.equal("entry failure", exit.entry_failure(), true);
      report.equal("exit reason", exit.basic(), ExitReason::entry_failure_msr_loading);
      report.equal("qualification", exit.qualification, 2u);
      // A failed entry launches nothing.
      load_at_entry(vm, 1);
      vm.run(report, st_vmcall.code, ExitReason::vmcall);
    });
  }
}

void time(Tap& tap, Lab& lab) {
  tap.test("tsc", "offset", [&](Report& report) {
    TestVm vm(lab, {.primary = proc::tsc_offsetting});
    if (!vm.ready(report)) return;
    constexpr uint64_t kOffset = 1ull << 60;
    vm.set(Field64::tsc_offset, kOffset);
    const uint64_t before = rdtsc();
    if (!vm.run(report, st_rdtsc.code, ExitReason::vmcall)) return;
    const uint64_t seen = vm.regs[Gpr::rdx] << 32 | (vm.regs[Gpr::rax] & 0xffffffff);
    const uint64_t after = rdtsc();
    report.equal("between", seen - kOffset >= before && seen - kOffset <= after, true);
  });
  tap.test("tsc", "scaling", [&](Report& report) {
    TestVm vm(lab, {.primary = proc::tsc_offsetting, .secondary = proc2::tsc_scaling});
    if (!vm.ready(report)) return;
    vm.set(Field64::tsc_multiplier, 3ull << 48);
    const uint64_t before = rdtsc();
    if (!vm.run(report, st_rdtsc.code, ExitReason::vmcall)) return;
    const uint64_t seen = vm.regs[Gpr::rdx] << 32 | (vm.regs[Gpr::rax] & 0xffffffff);
    const uint64_t after = rdtsc();
    report.equal("between", seen >= before * 3 && seen <= after * 3, true);
  });
  tap.test("exit", "pause_loop", [&](Report& report) {
    TestVm vm(lab, {.secondary = proc2::pause_loop_exiting});
    if (!vm.ready(report)) return;
    vm.set(Field32::ple_gap, 0x10000u);
    vm.set(Field32::ple_window, 0x1000u);
    vm.run(report, st_pause_loop.code, ExitReason::pause);
  });
}

void shadowing(Tap& tap, Lab& lab) {
  constexpr Controls kShadow{.secondary = proc2::vmcs_shadowing};
  const auto prepare = [&](TestVm& vm) {
    // The shadow VMCS is filled in while it is current.
    (void)lab.cpu.vmclear(lab.other_vmcs);
    lab.set_revision(lab.other_vmcs, lab.caps.revision() | 1u << 31);
    (void)lab.cpu.vmptrld(lab.other_vmcs);
    (void)lab.cpu.write(FieldN::guest_rip, 0x7654);
    (void)lab.cpu.vmclear(lab.other_vmcs);
    (void)lab.cpu.vmptrld(lab.vmcs);
    vm.set(Field64::vmcs_link_pointer, lab.other_vmcs.value());
  };
  const auto finish = [&] {
    (void)lab.cpu.vmclear(lab.vmcs);
    (void)lab.cpu.vmclear(lab.other_vmcs);
    lab.set_revision(lab.other_vmcs, lab.caps.revision());
  };
  tap.test("shadowing", "vmread", [&](Report& report) {
    TestVm vm(lab, kShadow);
    if (!vm.ready(report)) return;
    prepare(vm);
    if (vm.run(report, st_vmread.code, ExitReason::vmcall)) {
      report.equal("value", vm.regs[Gpr::rbx], 0x7654u);
    }
    finish();
  });
  tap.test("shadowing", "vmwrite", [&](Report& report) {
    TestVm vm(lab, kShadow);
    if (!vm.ready(report)) return;
    prepare(vm);
    if (vm.run(report, st_vmwrite.code, ExitReason::vmcall)) {
      (void)lab.cpu.vmclear(lab.vmcs);
      (void)lab.cpu.vmptrld(lab.other_vmcs);
      uint64_t value = 0;
      report.equal("vmread", lab.outcome(lab.cpu.read(FieldN::guest_rip, value)), kSucceed);
      report.equal("value", value, 0x4321u);
    }
    finish();
  });
  tap.test("shadowing", "bitmap_exits", [&](Report& report) {
    TestVm vm(lab, kShadow);
    if (!vm.ready(report)) return;
    prepare(vm);
    const Hpa bitmap = lab.frame();
    auto* bytes = reinterpret_cast<uint8_t*>(bitmap.value());
    bytes[0x681e / 8] = static_cast<uint8_t>(1 << 0x681e % 8);
    vm.set(Field64::vmread_bitmap, bitmap.value());
    vm.run(report, st_vmread.code, ExitReason::vmread);
    lab.frames.release(bitmap);
    finish();
  });
  tap.test("shadowing", "vmlaunch_of_shadow", [&](Report& report) {
    TestVm vm(lab, kShadow);
    if (!vm.ready(report)) return;
    prepare(vm);
    (void)lab.cpu.vmptrld(lab.other_vmcs);
    GprFile regs;
    // "If the current VMCS is a shadow VMCS: VMfailInvalid." SDM vol. 3C, "VMLAUNCH/VMRESUME".
    report.equal("outcome", lab.outcome(lab.cpu.vmlaunch(regs)), kFailInvalid);
    finish();
  });
}

// --- CPL 3 -------------------------------------------------------------------------------------
CUPEL_GUEST(u_cpuid, "", "cpuid", "");
CUPEL_GUEST(u_hlt, "", "hlt", "");
CUPEL_GUEST(u_rdtsc, "", "rdtsc", "");
CUPEL_GUEST(u_in, "mov $0x80, %edx", "in %dx, %al", "");
CUPEL_GUEST(u_rdmsr, "mov $0x277, %ecx", "rdmsr", "");
CUPEL_GUEST(u_invlpg, "", "invlpg (%rax)", "");
CUPEL_GUEST(u_mov_cr3, "", "mov %cr3, %rax", "");
CUPEL_GUEST(u_mov_dr, "", "mov %db0, %rax", "");
CUPEL_GUEST(u_vmread, "", "vmread %rax, %rbx", "");
CUPEL_GUEST(u_vmxoff, "", "vmxoff", "");
CUPEL_GUEST(u_invd, "", "invd", "");

struct UserRow {
  const char* name;
  GuestCode code;
  Controls controls;
  ExitReason reason;  // exception_or_nmi: #GP comes first
  bool tsd = false;
};
constexpr UserRow kUserRows[] = {
    {"cpuid", u_cpuid, {}, ExitReason::cpuid},
    {"vmcall", st_vmcall, {}, ExitReason::vmcall},
    {"vmread", u_vmread, {}, ExitReason::vmread},
    {"vmxoff", u_vmxoff, {}, ExitReason::vmxoff},
    {"rdtsc", u_rdtsc, {.primary = proc::rdtsc_exiting}, ExitReason::rdtsc},
    {"rdtsc_tsd", u_rdtsc, {.primary = proc::rdtsc_exiting}, ExitReason::exception_or_nmi, true},
    {"hlt", u_hlt, {.primary = proc::hlt_exiting}, ExitReason::exception_or_nmi},
    {"in", u_in, {.primary = proc::unconditional_io}, ExitReason::exception_or_nmi},
    {"rdmsr", u_rdmsr, {}, ExitReason::exception_or_nmi},
    {"invlpg", u_invlpg, {.primary = proc::invlpg_exiting}, ExitReason::exception_or_nmi},
    {"mov_from_cr3", u_mov_cr3, {.primary = proc::cr3_store_exiting}, ExitReason::exception_or_nmi},
    // MOV DR is the exception to "faults based on privilege level come first".
    {"mov_from_dr", u_mov_dr, {.primary = proc::mov_dr_exiting}, ExitReason::mov_dr},
    {"invd", u_invd, {}, ExitReason::exception_or_nmi},
};

void user_mode(Tap& tap, Lab& lab) {
  for (const UserRow& row : kUserRows) {
    tap.test("cpl3", row.name, [&](Report& report) {
      TestVm vm(lab, row.controls);
      if (!vm.ready(report)) return;
      guest_cpl3(vm);
      vm.set(Field32::exception_bitmap, 1u << kGP);
      if (row.tsd) vm.set(FieldN::guest_cr4, vm.get(FieldN::guest_cr4) | cr4::TSD);
      if (!vm.run(report, row.code.code, row.reason)) return;
      if (row.reason == ExitReason::exception_or_nmi) {
        report.equal("interruption information", vm.exit().interruption, 0x80000b0du);
      }
    });
  }
}

}  // namespace

void test_state(Tap& tap, Lab& lab) {
  registers(tap, lab);
  host_state_loaded(tap, lab);
  msr_areas(tap, lab);
  time(tap, lab);
  shadowing(tap, lab);
  user_mode(tap, lab);
}

}  // namespace cupel::metal
