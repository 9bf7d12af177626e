// A logical processor over the fake, in VMX operation with a good 64-bit VMCS.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>

#include "core/x86/vmx_controls.h"
#include "hw_models/vtx/logical_processor.h"
#include "tests/vtx/fake_processor.h"
#include "tests/vtx/good_state.h"

namespace cupel::vtx::testing {

using x86::VmxStatus;

// Writes the good state of the processor's profile. The region is cleared and current afterwards.
void good_vmcs(LogicalProcessor& vmx, PhysicalMemory& memory, Hpa region = kVmcs);

struct Rig {
  explicit Rig(CapabilityProfile profile = server_capabilities(), bool prepare = true)
      : memory(std::move(PhysicalMemory::create(1_MiB)).value()),
        cpu(*memory),
        vmx(cpu, std::move(profile)) {
    if (!prepare) return;
    start();
    good_vmcs(vmx, *memory);
  }

  void start() {
    memory->write(kVmxonRegion, vmx.capabilities().revision);
    vmx.write_cr4(vmx.read_cr4() | x86::cr4::VMXE);
    EXPECT_EQ(vmx.vmxon(kVmxonRegion), VmxStatus::succeed);
  }
  template <class Field>
  void set(Field f, uint64_t value) {
    EXPECT_EQ(vmx.vmwrite(static_cast<uint32_t>(f), value), VmxStatus::succeed);
  }
  void set(F f, uint64_t value) {
    EXPECT_EQ(vmx.vmwrite(encoding_of(f), value), VmxStatus::succeed) << name_of(f);
  }
  uint64_t get(F f) {
    uint64_t value = 0;
    EXPECT_EQ(vmx.vmread(encoding_of(f), value), VmxStatus::succeed) << name_of(f);
    return value;
  }
  void set_bits(F f, uint64_t bits) { set(f, get(f) | bits); }
  void clear_bits(F f, uint64_t bits) { set(f, get(f) & ~bits); }
  VmxStatus launch() { return vmx.vmlaunch(regs); }
  VmxStatus resume() { return vmx.vmresume(regs); }
  uint64_t reason() { return get(F::exit_reason); }
  bool failed(const std::string& id) const {
    const auto& all = vmx.entry_failures();
    return std::any_of(all.begin(), all.end(),
                       [&](const CheckFailure& f) { return id == f.row->id; });
  }
  // Enters, lets the guest raise `trap`, and says whether that was an exit.
  bool exits(cpu::Trap& trap) {
    bool exit = false;
    bool done = false;
    cpu.script = [&](FakeProcessor& p) {
      if (!done) exit = p.monitor->on_trap(trap);
      const bool again = std::exchange(done, true);
      if (!exit || again) p.trap(cpu::TrapKind::cpuid);
    };
    const bool first = !std::exchange(launched, true);
    EXPECT_EQ(first ? launch() : resume(), VmxStatus::succeed);
    EXPECT_TRUE(vmx.entry_failures().empty()) << vmx.describe_entry_failures();
    return exit;
  }
  bool exits(cpu::TrapKind kind) {
    cpu::Trap trap;
    trap.kind = kind;
    trap.length = 2;
    return exits(trap);
  }

  std::unique_ptr<PhysicalMemory> memory;
  FakeProcessor cpu;
  LogicalProcessor vmx;
  x86::GprFile regs;
  bool launched = false;
};

}  // namespace cupel::vtx::testing
