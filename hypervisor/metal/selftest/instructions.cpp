// The VMX instructions in root operation and outside VMX operation.
// SDM vol. 3C, ch. "VMX Instruction Reference"; "VM-Instruction Error Numbers".
#include "hypervisor/metal/instructions.h"
#include "core/x86/registers.h"
#include "hypervisor/metal/selftest/suites.h"
#include "hypervisor/metal/trap.h"

namespace cupel::metal {
namespace {

constexpr uint32_t kVmclearAddress = 2, kVmclearVmxonPointer = 3, kVmptrldAddress = 9,
                   kVmptrldVmxonPointer = 10, kVmptrldRevision = 11, kVmxonInRoot = 15,
                   kVmcallInRoot = 1;
constexpr uint32_t kShadowBit = 1u << 31;

// Addresses that no region may have: not on a page boundary, or beyond the physical width.
struct BadAddress {
  const char* suffix;
  uint64_t (*make)(Lab& lab, Hpa good);
};
constexpr BadAddress kBadAddresses[] = {
    {"misaligned", [](Lab&, Hpa good) -> uint64_t { return good.value() + 0x800; }},
    {"misaligned_low_bit", [](Lab&, Hpa good) -> uint64_t { return good.value() + 1; }},
    {"beyond_width",
     [](Lab& lab, Hpa good) -> uint64_t { return good.value() | 1ull << lab.physical_bits; }},
};

using Instruction = x86::VmxStatus (*)(Lab& lab);
struct NamedInstruction {
  const char* name;
  Instruction run;
};
// Every VMX instruction but VMXON, with operands that are good in VMX operation.
constexpr NamedInstruction kInstructions[] = {
    {"vmxoff", [](Lab& lab) { return lab.cpu.vmxoff(); }},
    {"vmclear", [](Lab& lab) { return lab.cpu.vmclear(lab.vmcs); }},
    {"vmptrld", [](Lab& lab) { return lab.cpu.vmptrld(lab.vmcs); }},
    {"vmptrst",
     [](Lab& lab) {
       Hpa at;
       return lab.cpu.vmptrst(at);
     }},
    {"vmread",
     [](Lab& lab) {
       uint64_t value = 0;
       return lab.cpu.vmread(static_cast<uint32_t>(x86::Field32::vm_instruction_error), value);
     }},
    {"vmwrite",
     [](Lab& lab) { return lab.cpu.vmwrite(static_cast<uint32_t>(x86::FieldN::guest_rip), 0); }},
    {"vmlaunch",
     [](Lab& lab) {
       x86::GprFile regs;
       return lab.cpu.vmlaunch(regs);
     }},
    {"vmresume",
     [](Lab& lab) {
       x86::GprFile regs;
       return lab.cpu.vmresume(regs);
     }},
    {"vmcall", [](Lab& lab) { return lab.cpu.vmcall(); }},
    {"invept", [](Lab& lab) { return lab.cpu.invept(2, {}); }},
    {"invvpid", [](Lab& lab) { return lab.cpu.invvpid(2, {}); }},
};

void outside_vmx(Tap& tap, Lab& lab) {
  for (const NamedInstruction& row : kInstructions) {
    tap.test("vmx.outside", row.name, [&](Report& report) {
      lab.off();
      report.equal("outcome", lab.outcome(row.run(lab)), kUndefinedOpcode);
    });
  }
}

void vmxon_pointers(Tap& tap, Lab& lab) {
  for (const BadAddress& bad : kBadAddresses) {
    tap.test("vmx.vmxon", bad.suffix, [&](Report& report) {
      lab.off();
      report.equal("outcome", lab.outcome(lab.cpu.vmxon(Hpa(bad.make(lab, lab.vmxon_region)))),
                   kFailInvalid);
    });
  }
  const auto with_revision = [&](const char* name, uint32_t flip) {
    tap.test("vmx.vmxon", name, [&](Report& report) {
      lab.off();
      lab.set_revision(lab.vmxon_region, lab.caps.revision() ^ flip);
      const Outcome got = lab.outcome(lab.cpu.vmxon(lab.vmxon_region));
      lab.set_revision(lab.vmxon_region, lab.caps.revision());
      report.equal("outcome", got, kFailInvalid);
    });
  };
  with_revision("wrong_revision", 1);
  with_revision("revision_bit_31", kShadowBit);
}

void vmxon_registers(Tap& tap, Lab& lab) {
  tap.test("vmx.vmxon", "cr4_vmxe_clear", [&](Report& report) {
    lab.off();
    lab.cpu.write_cr4(lab.cpu.read_cr4() & ~x86::cr4::VMXE);
    const Outcome got = lab.outcome(lab.cpu.vmxon(lab.vmxon_region));
    lab.cpu.write_cr4(lab.cpu.read_cr4() | x86::cr4::VMXE);
    report.equal("outcome", got, kUndefinedOpcode);
  });
  tap.test("vmx.vmxon", "cr0_ne_clear", [&](Report& report) {
    if ((lab.caps.cr0_fixed0 & x86::cr0::NE) == 0) return report.skip("CR0.NE is not fixed");
    lab.off();
    lab.cpu.write_cr0(lab.cpu.read_cr0() & ~x86::cr0::NE);
    const Outcome got = lab.outcome(lab.cpu.vmxon(lab.vmxon_region));
    lab.cpu.write_cr0(lab.cpu.read_cr0() | x86::cr0::NE);
    report.equal("outcome", got, kGeneralProtection);
  });
  const auto cannot_clear = [&](const char* name, auto attempt) {
    tap.test("vmx.operation", name, [&](Report& report) {
      lab.on();
      attempt();
      report.equal("outcome", lab.outcome(x86::VmxStatus::succeed), kGeneralProtection);
    });
  };
  cannot_clear("cr4_vmxe_stays", [&] { lab.cpu.write_cr4(lab.cpu.read_cr4() & ~x86::cr4::VMXE); });
  cannot_clear("cr0_ne_stays", [&] { lab.cpu.write_cr0(lab.cpu.read_cr0() & ~x86::cr0::NE); });
}

void vmxon_vmxoff(Tap& tap, Lab& lab) {
  tap.test("vmx.vmxon", "success", [&](Report& report) {
    lab.off();
    report.equal("outcome", lab.outcome(lab.cpu.vmxon(lab.vmxon_region)), kSucceed);
  });
  tap.test("vmx.vmxon", "in_root_without_vmcs", [&](Report& report) {
    lab.on();
    report.equal("outcome", lab.outcome(lab.cpu.vmxon(lab.vmxon_region)), kFailInvalid);
  });
  tap.test("vmx.vmxon", "in_root_with_vmcs", [&](Report& report) {
    lab.on();
    report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
    report.equal("outcome", lab.outcome(lab.cpu.vmxon(lab.vmxon_region)), fail_valid(kVmxonInRoot));
  });
  tap.test("vmx.vmxon", "no_current_vmcs_after", [&](Report& report) {
    lab.on();
    lab.off();
    report.equal("vmxon", lab.outcome(lab.cpu.vmxon(lab.vmxon_region)), kSucceed);
    Hpa current;
    report.equal("vmptrst", lab.outcome(lab.cpu.vmptrst(current)), kSucceed);
    report.equal("pointer", current.value(), ~0ull);
  });
  tap.test("vmx.vmxoff", "success", [&](Report& report) {
    lab.on();
    report.equal("outcome", lab.outcome(lab.cpu.vmxoff()), kSucceed);
    report.equal("again", lab.outcome(lab.cpu.vmxoff()), kUndefinedOpcode);
  });
}

void vmclear(Tap& tap, Lab& lab) {
  for (const BadAddress& bad : kBadAddresses) {
    tap.test("vmx.vmclear", bad.suffix, [&](Report& report) {
      lab.on();
      const Hpa at(bad.make(lab, lab.other_vmcs));
      report.equal("without VMCS", lab.outcome(lab.cpu.vmclear(at)), kFailInvalid);
      report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
      report.equal("with VMCS", lab.outcome(lab.cpu.vmclear(at)), fail_valid(kVmclearAddress));
    });
  }
  tap.test("vmx.vmclear", "vmxon_pointer", [&](Report& report) {
    lab.on();
    report.equal("without VMCS", lab.outcome(lab.cpu.vmclear(lab.vmxon_region)), kFailInvalid);
    report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
    report.equal("with VMCS", lab.outcome(lab.cpu.vmclear(lab.vmxon_region)),
                 fail_valid(kVmclearVmxonPointer));
  });
  tap.test("vmx.vmclear", "current", [&](Report& report) {
    lab.on();
    report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
    report.equal("outcome", lab.outcome(lab.cpu.vmclear(lab.vmcs)), kSucceed);
    Hpa current;
    report.equal("vmptrst", lab.outcome(lab.cpu.vmptrst(current)), kSucceed);
    report.equal("pointer", current.value(), ~0ull);
  });
  tap.test("vmx.vmclear", "other_keeps_current", [&](Report& report) {
    lab.on();
    report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
    report.equal("outcome", lab.outcome(lab.cpu.vmclear(lab.other_vmcs)), kSucceed);
    Hpa current;
    report.equal("vmptrst", lab.outcome(lab.cpu.vmptrst(current)), kSucceed);
    report.equal("same", current == lab.vmcs, true);
  });
}

void vmptrld(Tap& tap, Lab& lab) {
  for (const BadAddress& bad : kBadAddresses) {
    tap.test("vmx.vmptrld", bad.suffix, [&](Report& report) {
      lab.on();
      const Hpa at(bad.make(lab, lab.other_vmcs));
      report.equal("without VMCS", lab.outcome(lab.cpu.vmptrld(at)), kFailInvalid);
      report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
      report.equal("with VMCS", lab.outcome(lab.cpu.vmptrld(at)), fail_valid(kVmptrldAddress));
      Hpa current;
      report.equal("vmptrst", lab.outcome(lab.cpu.vmptrst(current)), kSucceed);
      report.equal("current stays", current == lab.vmcs, true);
    });
  }
  tap.test("vmx.vmptrld", "vmxon_pointer", [&](Report& report) {
    lab.on();
    report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
    report.equal("outcome", lab.outcome(lab.cpu.vmptrld(lab.vmxon_region)),
                 fail_valid(kVmptrldVmxonPointer));
  });
  const auto with_revision = [&](const char* name, uint32_t flip, bool may_succeed) {
    tap.test("vmx.vmptrld", name, [&](Report& report) {
      lab.on();
      report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
      lab.set_revision(lab.other_vmcs, lab.caps.revision() ^ flip);
      const Outcome got = lab.outcome(lab.cpu.vmptrld(lab.other_vmcs));
      if (got.ok()) (void)lab.cpu.vmclear(lab.other_vmcs);
      lab.set_revision(lab.other_vmcs, lab.caps.revision());
      report.equal("outcome", got, may_succeed ? kSucceed : fail_valid(kVmptrldRevision));
    });
  };
  with_revision("wrong_revision", 1, false);
  // Bit 31 makes a shadow VMCS. SDM vol. 3C, "VMCS Types: Ordinary and Shadow".
  with_revision("shadow_revision", kShadowBit,
                lab.offers({.secondary = x86::proc2::vmcs_shadowing}));
  tap.test("vmx.vmptrld", "success", [&](Report& report) {
    lab.on();
    for (const Hpa at : {lab.vmcs, lab.other_vmcs, lab.vmcs, lab.vmcs}) {
      report.equal("outcome", lab.outcome(lab.cpu.vmptrld(at)), kSucceed);
      Hpa current;
      report.equal("vmptrst", lab.outcome(lab.cpu.vmptrst(current)), kSucceed);
      report.equal("same", current == at, true);
    }
  });
  tap.test("vmx.vmptrld", "contents_follow_pointer", [&](Report& report) {
    lab.on();
    const auto write = [&](Hpa at, uint64_t value) {
      report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(at)), kSucceed);
      report.equal("vmwrite", lab.outcome(lab.cpu.write(x86::FieldN::guest_rip, value)), kSucceed);
    };
    write(lab.vmcs, 0x1111);
    write(lab.other_vmcs, 0x2222);
    for (const auto& [at, want] : {std::pair{lab.vmcs, 0x1111u}, {lab.other_vmcs, 0x2222u}}) {
      report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(at)), kSucceed);
      uint64_t value = 0;
      report.equal("vmread", lab.outcome(lab.cpu.read(x86::FieldN::guest_rip, value)), kSucceed);
      report.equal("value", value, want);
    }
  });
}

void vmcall(Tap& tap, Lab& lab) {
  tap.test("vmx.vmcall", "in_root", [&](Report& report) {
    lab.on();
    report.equal("without VMCS", lab.outcome(lab.cpu.vmcall()), kFailInvalid);
    report.equal("vmptrld", lab.outcome(lab.cpu.vmptrld(lab.vmcs)), kSucceed);
    report.equal("with VMCS", lab.outcome(lab.cpu.vmcall()), fail_valid(kVmcallInRoot));
  });
  tap.test("vmx.vmfunc", "in_root", [&](Report& report) {
    lab.on();
    clear_trap();
    asm volatile(CUPEL_CAUGHT("vmfunc")::"a"(0), "c"(0) : "memory");
    report.equal("outcome", lab.outcome(x86::VmxStatus::succeed), kUndefinedOpcode);
  });
}

}  // namespace

void test_instructions(Tap& tap, Lab& lab) {
  outside_vmx(tap, lab);
  vmxon_vmxoff(tap, lab);
  vmxon_pointers(tap, lab);
  vmxon_registers(tap, lab);
  vmclear(tap, lab);
  vmptrld(tap, lab);
  vmcall(tap, lab);
}

}  // namespace cupel::metal
