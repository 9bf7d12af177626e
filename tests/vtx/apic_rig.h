// A rig with a virtual-APIC page.
#pragma once

#include "hw_models/vtx/virtual_apic.h"
#include "tests/vtx/rig.h"

namespace cupel::vtx::testing {

constexpr uint64_t kVirtualApic = 0x18000, kApicAccess = 0x19000;

struct ApicRig : Rig {
  explicit ApicRig(uint32_t secondary = 0) {
    using namespace x86;
    set_bits(F::primary_processor_controls, proc::tpr_shadow);
    if ((secondary & proc2::enable_ept) == 0)
      clear_bits(F::secondary_processor_controls, proc2::enable_ept | proc2::unrestricted_guest);
    set_bits(F::secondary_processor_controls, secondary);
    set(F::virtual_apic_address, kVirtualApic);
    set(F::apic_access_address, kApicAccess);
    set(F::guest_rflags, 0x202);
  }
  uint32_t apic(uint32_t offset) const {
    return memory->read<uint32_t>(Hpa(kVirtualApic + offset));
  }
  void set_apic(uint32_t offset, uint32_t value) {
    memory->write(Hpa(kVirtualApic + offset), value);
  }
  void set_status(uint8_t requesting, uint8_t servicing) {
    set(F::guest_interrupt_status, InterruptStatus{requesting, servicing}.encode());
    if (requesting != 0) set_apic(apic::irr + requesting / 32 * 16u, 1u << (requesting & 31));
    if (servicing != 0) set_apic(apic::isr + servicing / 32 * 16u, 1u << (servicing & 31));
  }
  InterruptStatus status() { return InterruptStatus::decode(get(F::guest_interrupt_status)); }

  // What the processor does behind an instruction that caused no exit: completion, then a boundary.
  // True: it parks.
  bool complete_instruction() {
    auto& monitor = *cpu.monitor;
    cpu.boundary_requested = false;
    return monitor.on_completion() || (cpu.boundary_requested && monitor.on_boundary());
  }
  void enter(FakeProcessor::Script script) {
    cpu.script = [script = std::move(script), first = true](FakeProcessor& p) mutable {
      if (std::exchange(first, false)) return script(p);
      p.trap(cpu::TrapKind::cpuid);
    };
    const bool first = !std::exchange(launched, true);
    EXPECT_EQ(first ? launch() : resume(), VmxStatus::succeed);
    EXPECT_TRUE(vmx.entry_failures().empty()) << vmx.describe_entry_failures();
  }
  // The guest makes one trap and completes it; then CPUID.
  void run_trap(cpu::Trap& trap) {
    enter([&](FakeProcessor& p) {
      if (p.monitor->on_trap(trap)) return;
      if (!complete_instruction()) p.trap(cpu::TrapKind::cpuid);
    });
  }
};

}  // namespace cupel::vtx::testing
