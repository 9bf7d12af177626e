// A VmxCpu that plays a script: an in-memory VMCS and a list of exits. It models nothing of VT-x.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/x86/exit_qualification.h"
#include "core/x86/exit_reason.h"
#include "core/x86/msr.h"
#include "core/x86/vmx_controls.h"
#include "core/x86/vmx_cpu.h"

namespace cupel::vmx::test {

using namespace cupel::x86;

class FakeVmxCpu final : public VmxCpu {
 public:
  // Runs when the guest would: sets registers and exit fields, ends in exit().
  using Step = std::function<void(FakeVmxCpu&, GprFile&)>;

  // What the VMCS held when an entry was made.
  struct Entry {
    bool launch;
    uint32_t interruption_info, error_code, instruction_length, timer, primary;
    uint64_t rip;
  };

  FakeVmxCpu() {
    msrs = {{msr::VMX_BASIC, 0x11 | 1ull << 54 | 1ull << 55},
            {msr::VMX_TRUE_PINBASED, 0xff00000016},
            {msr::VMX_TRUE_PROCBASED, 0xfff9fffe04006172},
            {msr::VMX_PROCBASED2, 0x001010ff00000000},
            {msr::VMX_TRUE_EXIT, 0x01ffffff00036dfb},
            {msr::VMX_TRUE_ENTRY, 0x0003ffff000011fb},
            {msr::VMX_MISC, 1 << 5},
            {msr::VMX_CR0_FIXED0, 0x80000021},
            {msr::VMX_CR0_FIXED1, 0xffffffff},
            {msr::VMX_CR4_FIXED0, 0x2000},
            {msr::VMX_CR4_FIXED1, 0x3767ff},
            {msr::VMX_EPT_VPID_CAP, 0xf0106334141},
            {msr::FEATURE_CONTROL, 5},
            {msr::EFER, 0xd01},
            {msr::PAT, 0x0007040600070406},
            {msr::STAR, 0},
            {msr::LSTAR, 0},
            {msr::CSTAR, 0},
            {msr::FMASK, 0},
            {msr::KERNEL_GS_BASE, 0},
            {msr::TSC_AUX, 0}};
  }

  // --- the script
  void then(Step step) { script.push_back(std::move(step)); }
  // An exit that needs no more than reason, qualification and instruction length.
  void then_exit(ExitReason reason, uint64_t qualification = 0, uint32_t length = 2) {
    then([=](FakeVmxCpu& cpu, GprFile&) { cpu.exit(reason, qualification, length); });
  }
  void exit(ExitReason reason, uint64_t qualification = 0, uint32_t length = 2) {
    set(Field32::exit_reason, static_cast<uint32_t>(reason));
    set(FieldN::exit_qualification, qualification);
    set(Field32::exit_instruction_length, length);
    set(Field32::idt_vectoring_info, 0u);
  }
  template <class Field>
  uint64_t get(Field field) const {
    const auto at = vmcs.find(static_cast<uint32_t>(field));
    return at == vmcs.end() ? 0 : at->second;
  }
  template <class Field>
  void set(Field field, uint64_t value) {
    vmcs[static_cast<uint32_t>(field)] = value;
  }

  // --- VmxCpu
  VmxStatus vmxon(Hpa) override { return call("vmxon"); }
  VmxStatus vmxoff() override { return call("vmxoff"); }
  VmxStatus vmclear(Hpa) override { return call("vmclear"); }
  VmxStatus vmptrld(Hpa) override { return call("vmptrld"); }
  VmxStatus vmptrst(Hpa&) override { return call("vmptrst"); }
  VmxStatus vmread(uint32_t encoding, uint64_t& value) override {
    if (encoding == broken_field) return VmxStatus::fail_valid;
    value = vmcs[encoding];
    ++reads;
    return VmxStatus::succeed;
  }
  VmxStatus vmwrite(uint32_t encoding, uint64_t value) override {
    if (encoding == broken_field) return VmxStatus::fail_valid;
    vmcs[encoding] = value;
    ++writes;
    return VmxStatus::succeed;
  }
  VmxStatus invept(uint64_t, const InveptDescriptor&) override { return call("invept"); }
  VmxStatus invvpid(uint64_t, const InvvpidDescriptor&) override { return call("invvpid"); }
  VmxStatus vmlaunch(GprFile& regs) override { return enter(true, regs); }
  VmxStatus vmresume(GprFile& regs) override { return enter(false, regs); }
  bool rdmsr(uint32_t index, uint64_t& value) override {
    const auto at = msrs.find(index);
    if (at == msrs.end()) return false;
    value = at->second;
    return true;
  }
  bool wrmsr(uint32_t index, uint64_t value) override {
    if (msrs.count(index) == 0) return false;
    msrs[index] = value;
    return true;
  }
  uint64_t read_cr0() override { return cr0; }
  uint64_t read_cr3() override { return 0x1000; }
  uint64_t read_cr4() override { return cr4; }
  void write_cr0(uint64_t value) override { cr0 = value; }
  void write_cr4(uint64_t value) override { cr4 = value; }
  uint64_t read_cr2() override { return cr2; }
  void write_cr2(uint64_t value) override { cr2 = value; }
  uint64_t read_dr(unsigned n) override { return dr[n]; }
  void write_dr(unsigned n, uint64_t value) override { dr[n] = value; }
  void fxsave(uint8_t* area) override { std::copy(fx.begin(), fx.end(), area); }
  void fxrstor(const uint8_t* area) override { std::copy(area, area + 512, fx.begin()); }
  uint64_t rdtsc() override { return tsc; }

  int calls(const std::string& name) const {
    return static_cast<int>(std::count(called.begin(), called.end(), name));
  }

  std::map<uint32_t, uint64_t> vmcs, msrs;
  std::deque<Step> script;
  std::vector<Entry> entries;
  std::vector<std::string> called;
  std::map<std::string, VmxStatus> answers;  // of instructions that shall fail
  uint32_t broken_field = ~0u;
  uint64_t cr0 = 0x80050033, cr4 = 0x20, cr2 = 0, tsc = 0;
  std::array<uint64_t, 8> dr{};
  std::array<uint8_t, 512> fx{};
  uint64_t reads = 0, writes = 0;

 private:
  VmxStatus call(const std::string& name) {
    called.push_back(name);
    const auto at = answers.find(name);
    return at == answers.end() ? VmxStatus::succeed : at->second;
  }
  VmxStatus enter(bool launch, GprFile& regs) {
    const VmxStatus status = call(launch ? "vmlaunch" : "vmresume");
    if (status != VmxStatus::succeed) return status;
    entries.push_back({launch, static_cast<uint32_t>(get(Field32::entry_interruption_info)),
                       static_cast<uint32_t>(get(Field32::entry_exception_error_code)),
                       static_cast<uint32_t>(get(Field32::entry_instruction_length)),
                       static_cast<uint32_t>(get(Field32::preemption_timer_value)),
                       static_cast<uint32_t>(get(Field32::primary_processor_controls)),
                       get(FieldN::guest_rip)});
    // As the processor does: the valid bit is consumed.
    set(Field32::entry_interruption_info, get(Field32::entry_interruption_info) & 0x7fffffff);
    if (script.empty()) {
      exit(ExitReason::triple_fault);
    } else {
      const Step step = std::move(script.front());
      script.pop_front();
      step(*this, regs);
    }
    return VmxStatus::succeed;
  }
};

}  // namespace cupel::vmx::test
