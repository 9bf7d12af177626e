// VMCS shadowing.
// SDM vol. 3C, "VMCS Types: Ordinary and Shadow"; "VMREAD", "VMWRITE".
#include "hypervisor/metal/selftest/suites.h"

namespace cupel::metal {
namespace {

using namespace x86;

CUPEL_GUEST(sh_read, "", "vmread %rax, %rbx", "pushfq\n pop %rdx");
CUPEL_GUEST(sh_read_memory, "", "vmread %rax, (%rdi)", "");
CUPEL_GUEST(sh_write, "", "vmwrite %rbx, %rax", "pushfq\n pop %rdx");

constexpr Controls kControls{.secondary = proc2::vmcs_shadowing};
constexpr uint32_t kRip = static_cast<uint32_t>(FieldN::guest_rip);
constexpr uint64_t kValue = 0x123456789abcdef0;

// lab.other_vmcs as a shadow VMCS whose guest RIP is kValue. It stays one until the end.
class Shadow {
 public:
  explicit Shadow(Lab& lab) : lab_(lab) {
    lab.set_revision(lab.other_vmcs, lab.caps.revision() | 1u << 31);
    prepared_ = lab.outcome(lab.cpu.vmclear(lab.other_vmcs)).ok() && load() &&
                lab.outcome(lab.cpu.vmwrite(kRip, kValue)).ok() && unload();
  }
  ~Shadow() {
    (void)lab_.cpu.vmclear(lab_.other_vmcs);
    lab_.set_revision(lab_.other_vmcs, lab_.caps.revision());
  }
  bool prepared(Report& report) const { return report.equal("shadow VMCS", prepared_, true); }
  bool load() { return lab_.outcome(lab_.cpu.vmptrld(lab_.other_vmcs)).ok(); }
  // The ordinary VMCS becomes current, and the shadow's data goes to memory.
  bool unload() {
    return lab_.outcome(lab_.cpu.vmclear(lab_.other_vmcs)).ok() &&
           lab_.outcome(lab_.cpu.vmptrld(lab_.vmcs)).ok();
  }
  uint64_t rip() {
    uint64_t value = 0;
    if (!load() || lab_.cpu.vmread(kRip, value) != VmxStatus::succeed) value = ~0ull;
    unload();
    return value;
  }

 private:
  Lab& lab_;
  bool prepared_ = false;
};

void link(TestVm& vm) {
  vm.set(Field64::vmcs_link_pointer, vm.lab().other_vmcs.value());
  vm.regs[Gpr::rax] = kRip;
  vm.regs[Gpr::rbx] = 0x77;
}

template <class Body>
void test(Tap& tap, Lab& lab, const char* name, Body body) {
  tap.test("shadowing.guest", name, [&](Report& report) {
    TestVm vm(lab, kControls);
    if (!vm.ready(report)) return;
    Shadow shadow(lab);
    if (!shadow.prepared(report)) return;
    body(report, vm, shadow);
  });
}

// One bit of a bitmap in lab.scratch_page.
struct Forbid {
  Forbid(Lab& lab, uint32_t encoding)
      : byte(reinterpret_cast<volatile uint8_t*>(lab.scratch_page.value()) + encoding / 8),
        before(*byte) {
    *byte = static_cast<uint8_t>(before | 1u << (encoding & 7));
  }
  ~Forbid() { *byte = before; }
  volatile uint8_t* byte;
  uint8_t before;
};

void accesses(Tap& tap, Lab& lab) {
  test(tap, lab, "vmread", [&](Report& report, TestVm& vm, Shadow&) {
    link(vm);
    if (!vm.run(report, sh_read.code, ExitReason::vmcall)) return;
    report.equal("value", vm.regs[Gpr::rbx], kValue);
    report.equal("flags", vm.regs[Gpr::rdx] & (rflags::CF | rflags::ZF), 0u);
  });
  test(tap, lab, "vmread_to_memory", [&](Report& report, TestVm& vm, Shadow&) {
    volatile uint64_t target = 0;
    link(vm);
    vm.regs[Gpr::rdi] = reinterpret_cast<uint64_t>(&target);
    if (!vm.run(report, sh_read_memory.code, ExitReason::vmcall)) return;
    report.equal("value", uint64_t{target}, kValue);
  });
  test(tap, lab, "vmwrite", [&](Report& report, TestVm& vm, Shadow& shadow) {
    link(vm);
    if (!vm.run(report, sh_write.code, ExitReason::vmcall)) return;
    report.equal("flags", vm.regs[Gpr::rdx] & (rflags::CF | rflags::ZF), 0u);
    report.equal("value", shadow.rip(), 0x77u);
  });
  test(tap, lab, "unsupported_field", [&](Report& report, TestVm& vm, Shadow&) {
    link(vm);
    vm.regs[Gpr::rax] = 0x7ffe;
    if (!vm.run(report, sh_read.code, ExitReason::vmcall)) return;
    report.equal("flags", vm.regs[Gpr::rdx] & (rflags::CF | rflags::ZF), rflags::ZF);
  });
  test(tap, lab, "no_link", [&](Report& report, TestVm& vm, Shadow&) {
    vm.regs[Gpr::rax] = kRip;
    if (!vm.run(report, sh_read.code, ExitReason::vmcall)) return;
    report.equal("flags", vm.regs[Gpr::rdx] & (rflags::CF | rflags::ZF), rflags::CF);
  });
}

void exits(Tap& tap, Lab& lab) {
  test(tap, lab, "vmread_bitmap", [&](Report& report, TestVm& vm, Shadow&) {
    const Forbid forbid(lab, kRip);
    link(vm);
    vm.set(Field64::vmread_bitmap, lab.scratch_page.value());
    if (!vm.run(report, sh_read.code, ExitReason::vmread)) return;
    report.equal("instruction length", vm.exit().length, sh_read.length());
  });
  test(tap, lab, "vmwrite_bitmap", [&](Report& report, TestVm& vm, Shadow& shadow) {
    const Forbid forbid(lab, kRip);
    link(vm);
    vm.set(Field64::vmwrite_bitmap, lab.scratch_page.value());
    if (!vm.run(report, sh_write.code, ExitReason::vmwrite)) return;
    report.equal("value", shadow.rip(), kValue);
  });
  test(tap, lab, "encoding_beyond_bitmap", [&](Report& report, TestVm& vm, Shadow&) {
    link(vm);
    vm.regs[Gpr::rax] = kRip | 0x8000;
    vm.run(report, sh_read.code, ExitReason::vmread);
  });
  test(tap, lab, "entry_of_a_shadow", [&](Report& report, TestVm& vm, Shadow& shadow) {
    if (!report.equal("VMPTRLD", shadow.load(), true)) return;
    report.equal("VMLAUNCH", lab.outcome(lab.cpu.vmlaunch(vm.regs)), kFailInvalid);
    shadow.unload();
  });
}

}  // namespace

void test_shadowing(Tap& tap, Lab& lab) {
  accesses(tap, lab);
  exits(tap, lab);
}

}  // namespace cupel::metal
