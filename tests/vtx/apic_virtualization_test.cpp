// The model's part of APIC virtualization, without a processor that executes.
#include "tests/vtx/apic_rig.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;
using cpu::Access;
using cpu::PhysicalAccess;

constexpr uint32_t kDelivery = proc2::virtual_interrupt_delivery;

cpu::Trap cr8(CrAccess::Kind kind, uint64_t value = 0) {
  cpu::Trap trap;
  trap.kind = cpu::TrapKind::cr_access;
  trap.length = 4;
  trap.cr.cr = 8;
  trap.cr.kind = kind;
  trap.value = value;
  return trap;
}
PhysicalAccess access(uint32_t offset, Access kind, unsigned size = 4) {
  PhysicalAccess a;
  a.gpa = Gpa(kApicAccess + offset);
  a.access = kind;
  a.size = size;
  return a;
}

TEST(TprShadow, MovFromCr8ReadsVtpr) {
  ApicRig rig;
  rig.set_apic(apic::tpr, 0x7f);
  cpu::Trap trap = cr8(CrAccess::Kind::mov_from_cr);
  rig.run_trap(trap);
  EXPECT_TRUE(trap.virtualized);
  EXPECT_EQ(trap.value, 7u);
  EXPECT_EQ(rig.reason(), 10u);
}

TEST(TprShadow, MovToCr8WritesVtprWhole) {
  ApicRig rig;
  rig.set_apic(apic::tpr, 0xffffffff);
  cpu::Trap trap = cr8(CrAccess::Kind::mov_to_cr, 5);
  rig.run_trap(trap);
  EXPECT_TRUE(trap.virtualized);
  EXPECT_EQ(rig.apic(apic::tpr), 0x50u);
  EXPECT_EQ(rig.reason(), 10u);
}

TEST(TprShadow, Cr8ExitingComesFirst) {
  ApicRig rig;
  rig.set_bits(F::primary_processor_controls, proc::cr8_load_exiting | proc::cr8_store_exiting);
  cpu::Trap trap = cr8(CrAccess::Kind::mov_to_cr, 5);
  rig.run_trap(trap);
  EXPECT_EQ(rig.reason(), 28u);
  EXPECT_EQ(rig.apic(apic::tpr), 0u);
}

TEST(TprShadow, ReservedBitsAreLeftToTheProcessor) {
  ApicRig rig;
  cpu::Trap trap = cr8(CrAccess::Kind::mov_to_cr, 16);
  rig.run_trap(trap);
  EXPECT_FALSE(trap.virtualized);
  EXPECT_EQ(rig.apic(apic::tpr), 0u);
}

TEST(TprThreshold, ExitBehindTheInstructionThatLowersTheTpr) {
  for (const uint64_t value : {3u, 4u}) {
    ApicRig rig;
    rig.set_apic(apic::tpr, 0x90);
    rig.set(F::tpr_threshold, 4);
    cpu::Trap trap = cr8(CrAccess::Kind::mov_to_cr, value);
    rig.run_trap(trap);
    EXPECT_EQ(rig.reason(), value == 3 ? 43u : 10u);
  }
}

TEST(TprThreshold, AtEntryOnlyWithTheApicAccessPage) {
  ApicRig rig(proc2::virtualize_apic_accesses);
  rig.set(F::tpr_threshold, 1);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 43u);
  EXPECT_EQ(rig.cpu.runs, 0);
  rig.set_apic(apic::tpr, 0x10);
  EXPECT_EQ(rig.resume(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 10u);
}

TEST(TprThreshold, AtEntryBeforeInit) {
  ApicRig rig(proc2::virtualize_apic_accesses);
  rig.set(F::tpr_threshold, 1);
  rig.vmx.raise_init();
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 43u);
}

TEST(TprThreshold, AtEntryBehindTheInjectedEvent) {
  ApicRig rig(proc2::virtualize_apic_accesses);
  rig.set(F::tpr_threshold, 1);
  rig.set(F::entry_interruption_info, 0x80000030);
  rig.enter([&](FakeProcessor& p) {
    EXPECT_TRUE(p.boundary_requested);
    EXPECT_TRUE(p.monitor->on_boundary());
  });
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.reason(), 43u);
  EXPECT_EQ(rig.get(F::idt_vectoring_info), 0u);
}

TEST(ApicAccess, ReadOutsideOfTheTableExits) {
  ApicRig rig(proc2::virtualize_apic_accesses);
  rig.enter([&](FakeProcessor& p) {
    EXPECT_TRUE(p.monitor->translate(access(0x80, Access::read)).virtualized);
    EXPECT_EQ(p.monitor->translate(access(0x80, Access::read)).hpa, Hpa(kVirtualApic + 0x80));
    const auto refused = access(0x20, Access::read);
    EXPECT_FALSE(p.monitor->translate(refused).ok);
    p.monitor->on_translation_fault(refused);
  });
  EXPECT_EQ(rig.reason(), 44u);
  EXPECT_EQ(rig.get(F::exit_qualification), 0x0020u);
}

TEST(ApicAccess, QualificationByTypeOfAccess) {
  const auto qualification = [](PhysicalAccess a, bool delivering, uint32_t secondary) {
    ApicRig rig(proc2::virtualize_apic_accesses | secondary);
    // EPT: 4 KiB pages, one to one, for the first 2 MiB.
    rig.memory->write(Hpa(kPml4), uint64_t{0x11000 | 7});
    rig.memory->write(Hpa(0x11000), uint64_t{0x12000 | 7});
    rig.memory->write(Hpa(0x12000), uint64_t{0x13000 | 7});
    for (uint64_t n = 0; n < 512; ++n)
      rig.memory->write(Hpa(0x13000 + 8 * n), n << 12 | 7 | 6 << 3);
    rig.enter([&](FakeProcessor& p) {
      if (delivering) p.vectoring_event = cpu::Event{0x30};
      EXPECT_FALSE(p.monitor->translate(a).ok);
      p.monitor->on_translation_fault(a);
    });
    EXPECT_EQ(rig.reason(), 44u);
    EXPECT_EQ(rig.get(F::idt_vectoring_info) >> 31, delivering ? 1u : 0u);
    EXPECT_EQ(rig.get(F::guest_rflags) >> 16 & 1, delivering ? 0u : 1u);
    return rig.get(F::exit_qualification);
  };
  PhysicalAccess structure = access(0x80, Access::read);
  structure.paging_structure = true;
  constexpr uint32_t ept = proc2::enable_ept;
  EXPECT_EQ(qualification(access(0x90, Access::write), false, 0), 0x1090u);
  EXPECT_EQ(qualification(access(0x80, Access::fetch), false, 0), 0x2080u);
  EXPECT_EQ(qualification(access(0x84, Access::write), true, 0), 0x3084u);
  EXPECT_EQ(qualification(access(0x80, Access::read, 8), false, ept), 0x0080u);
  EXPECT_EQ(qualification(structure, true, ept), 0xa000u);
  EXPECT_EQ(qualification(structure, false, ept), 0xf000u);
}

TEST(ApicAccess, EptViolationComesFirst) {
  ApicRig rig(proc2::virtualize_apic_accesses | proc2::enable_ept);
  rig.enter([&](FakeProcessor& p) {
    const auto a = access(0x20, Access::read);
    EXPECT_FALSE(p.monitor->translate(a).ok);
    p.monitor->on_translation_fault(a);
  });
  EXPECT_EQ(rig.reason(), 48u);
}

TEST(ApicAccess, OtherPagesAreMemory) {
  ApicRig rig(proc2::virtualize_apic_accesses);
  rig.enter([&](FakeProcessor& p) {
    const auto t = p.monitor->translate(access(0x1080, Access::read));
    EXPECT_TRUE(t.ok && t.writable && !t.virtualized);
    p.trap(cpu::TrapKind::cpuid);
  });
}

// One virtualized write, with the value that it stores.
void run_write(ApicRig& rig, uint32_t offset, uint32_t value, unsigned size = 4) {
  rig.enter([&](FakeProcessor& p) {
    const auto a = access(offset, Access::write, size);
    const auto t = p.monitor->translate(a);
    ASSERT_TRUE(t.ok && t.virtualized);
    p.monitor->on_virtualized_write(a);
    if (size == 4) {
      p.memory().write(t.hpa, value);
    } else {
      p.memory().write(t.hpa, static_cast<uint8_t>(value));
    }
    if (!rig.complete_instruction()) p.trap(cpu::TrapKind::cpuid);
  });
}

TEST(ApicWrite, TprClearsTheUpperBytesAndComparesWithTheThreshold) {
  ApicRig rig(proc2::virtualize_apic_accesses);
  rig.set_apic(apic::tpr, 0xff);
  rig.set(F::tpr_threshold, 2);
  run_write(rig, 0x80, 0x12345610);
  EXPECT_EQ(rig.apic(apic::tpr), 0x10u);
  EXPECT_EQ(rig.reason(), 43u);
}

TEST(ApicWrite, OtherRegistersExitBehindTheWrite) {
  ApicRig rig(proc2::virtualize_apic_accesses | proc2::apic_register_virtualization);
  run_write(rig, 0xd0, 0x01000000);
  EXPECT_EQ(rig.reason(), 56u);
  EXPECT_EQ(rig.get(F::exit_qualification), 0xd0u);
  EXPECT_EQ(rig.apic(0xd0), 0x01000000u);
  run_write(rig, 0xb0, 0);  // EOI without virtual-interrupt delivery
  EXPECT_EQ(rig.reason(), 56u);
  EXPECT_EQ(rig.get(F::exit_qualification), 0xb0u);
  run_write(rig, 0x81, 7, 1);  // not the first byte of the TPR
  EXPECT_EQ(rig.reason(), 56u);
  EXPECT_EQ(rig.get(F::exit_qualification), 0x81u);
}

TEST(ApicWrite, HighHalfOfTheCommandOnlyClearsItsReservedBytes) {
  ApicRig rig(proc2::virtualize_apic_accesses | proc2::apic_register_virtualization);
  run_write(rig, 0x310, 0x12345678);
  EXPECT_EQ(rig.reason(), 10u);
  EXPECT_EQ(rig.apic(0x310), 0x12000000u);
}

TEST(ApicWrite, SecondAccessOfTheOperationExits) {
  ApicRig rig(proc2::virtualize_apic_accesses | proc2::apic_register_virtualization);
  rig.enter([&](FakeProcessor& p) {
    const auto a = access(0x80, Access::write);
    EXPECT_TRUE(p.monitor->translate(a).ok);
    p.monitor->on_virtualized_write(a);
    EXPECT_TRUE(p.monitor->translate(a).ok);
    EXPECT_FALSE(p.monitor->translate(access(0x80, Access::write, 2)).ok);
    EXPECT_FALSE(p.monitor->translate(access(0x80, Access::read)).ok);
    const auto other = access(0xd0, Access::write);
    EXPECT_FALSE(p.monitor->translate(other).ok);
    p.monitor->on_translation_fault(other);
    EXPECT_FALSE(p.monitor->on_completion());  // the exit takes the emulation's place
  });
  EXPECT_EQ(rig.reason(), 44u);
  EXPECT_EQ(rig.get(F::exit_qualification), 0x10d0u);
}

TEST(VirtualInterrupt, EntryDeliversWhatIsRequested) {
  ApicRig rig(kDelivery);
  rig.set_status(0x51, 0x31);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.cpu.delivered[0].vector, 0x51);
  EXPECT_EQ(rig.cpu.delivered[0].type, EventType::external_interrupt);
  EXPECT_EQ(rig.status().servicing, 0x51);
  EXPECT_EQ(rig.status().requesting, 0);
  EXPECT_EQ(rig.apic(apic::ppr), 0x50u);
  EXPECT_EQ(rig.apic(apic::isr + 0x20), 1u << 17);
  EXPECT_EQ(rig.apic(apic::irr + 0x20), 0u);
}

TEST(VirtualInterrupt, EntryComputesThePriority) {
  ApicRig rig(kDelivery);
  rig.set_status(0x41, 0x4f);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_TRUE(rig.cpu.delivered.empty());
  EXPECT_EQ(rig.apic(apic::ppr), 0x40u);
}

TEST(VirtualInterrupt, WaitsForTheWindow) {
  ApicRig rig(kDelivery);
  rig.set_status(0x51, 0);
  rig.set(F::guest_rflags, 2);
  rig.enter([&](FakeProcessor& p) {
    EXPECT_TRUE(p.watching);
    EXPECT_FALSE(p.monitor->on_boundary());
    p.set_rflags(0x202);
    p.set_interruptibility(interruptibility::sti);
    EXPECT_FALSE(p.monitor->on_boundary());
    p.set_interruptibility(0);
    EXPECT_TRUE(p.monitor->on_boundary());
  });
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
}

TEST(VirtualInterrupt, NotWithInterruptWindowExiting) {
  ApicRig rig(kDelivery);
  rig.set_status(0x51, 0);
  rig.set_bits(F::primary_processor_controls, proc::interrupt_window);
  EXPECT_EQ(rig.launch(), VmxStatus::succeed);
  EXPECT_EQ(rig.reason(), 7u);
  EXPECT_EQ(rig.status().requesting, 0x51);
}

TEST(VirtualInterrupt, NmiComesFirstAndExternalInterruptsAfter) {
  ApicRig rig(kDelivery);
  rig.set_status(0x51, 0);
  rig.vmx.raise_external_interrupt(0x20);
  rig.enter([&](FakeProcessor& p) {  // the handler's first boundary
    EXPECT_TRUE(p.boundary_requested);
    EXPECT_TRUE(p.monitor->on_boundary());
  });
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.reason(), 1u);
  ApicRig other(kDelivery);
  other.set_status(0x51, 0);
  other.vmx.raise_nmi();
  EXPECT_EQ(other.launch(), VmxStatus::succeed);
  EXPECT_EQ(other.reason(), 0u);
  EXPECT_TRUE(other.cpu.delivered.empty());
}

TEST(VirtualInterrupt, WakesHltButNotShutdown) {
  for (const uint64_t activity : {1u, 2u}) {
    ApicRig rig(kDelivery);
    rig.set_status(0x51, 0);
    rig.set(F::guest_activity_state, activity);
    EXPECT_EQ(rig.launch(), VmxStatus::succeed);
    EXPECT_EQ(rig.cpu.delivered.size(), activity == 1 ? 1u : 0u);
  }
}

TEST(VirtualInterrupt, LoweringTheTprLetsItThrough) {
  ApicRig rig(kDelivery);
  rig.set_apic(apic::tpr, 0x60);
  rig.set_status(0x51, 0);
  rig.set(F::tpr_threshold, 15);  // not used
  cpu::Trap trap = cr8(CrAccess::Kind::mov_to_cr, 4);
  rig.run_trap(trap);
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.cpu.delivered[0].vector, 0x51);
}

TEST(Eoi, EndsTheInterruptAndDeliversTheNext) {
  ApicRig rig(kDelivery | proc2::virtualize_apic_accesses);
  rig.set_status(0x41, 0x51);
  run_write(rig, 0xb0, 0x1234);
  EXPECT_EQ(rig.apic(apic::eoi), 0u);
  EXPECT_EQ(rig.apic(apic::isr + 0x20), 1u << 1);  // 41H now
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.cpu.delivered[0].vector, 0x41);
}

TEST(Eoi, ExitsByBitmap) {
  for (const uint8_t vector : {0x3f, 0x40, 0xff}) {
    ApicRig rig(kDelivery | proc2::virtualize_apic_accesses);
    rig.set_status(0, vector);
    const F bitmaps[] = {F::eoi_exit_bitmap_0, F::eoi_exit_bitmap_1, F::eoi_exit_bitmap_2,
                         F::eoi_exit_bitmap_3};
    rig.set(bitmaps[vector / 64], 1ull << vector % 64);
    run_write(rig, 0xb0, 0);
    EXPECT_EQ(rig.reason(), 45u);
    EXPECT_EQ(rig.get(F::exit_qualification), vector);
    EXPECT_EQ(rig.status().servicing, 0);
  }
}

TEST(SelfIpiByCommand, DeliveredOrExit) {
  ApicRig rig(kDelivery | proc2::virtualize_apic_accesses);
  run_write(rig, 0x300, 0x00040033);
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.cpu.delivered[0].vector, 0x33);
  run_write(rig, 0x300, 0x00000033);
  EXPECT_EQ(rig.reason(), 56u);
  EXPECT_EQ(rig.get(F::exit_qualification), 0x300u);
}

}  // namespace
}  // namespace cupel::vtx::testing
