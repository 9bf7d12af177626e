// "Virtualize x2APIC mode", without a processor that executes.
#include "tests/vtx/apic_rig.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

constexpr uint32_t kDelivery = proc2::virtual_interrupt_delivery;

cpu::Trap msr(cpu::TrapKind kind, uint32_t index, uint64_t value = 0) {
  cpu::Trap trap;
  trap.kind = kind;
  trap.length = 2;
  trap.msr = index;
  trap.value = value;
  return trap;
}
TEST(X2apic, OnlyTheTprWithoutRegisterVirtualization) {
  ApicRig rig(proc2::virtualize_x2apic);
  rig.set_apic(apic::tpr, 0x70);
  cpu::Trap read = msr(cpu::TrapKind::rdmsr, 0x808);
  rig.run_trap(read);
  EXPECT_TRUE(read.virtualized);
  EXPECT_EQ(read.value, 0x70u);
  cpu::Trap other = msr(cpu::TrapKind::rdmsr, 0x802);
  rig.run_trap(other);
  EXPECT_FALSE(other.virtualized);
}

TEST(X2apic, EveryIndexReadsThePageWithRegisterVirtualization) {
  ApicRig rig(proc2::virtualize_x2apic | proc2::apic_register_virtualization);
  rig.memory->write(Hpa(kVirtualApic + 0x300), uint64_t{0x0000000500040033});
  for (uint32_t index = 0x800; index <= 0x8ff; ++index) {
    cpu::Trap trap = msr(cpu::TrapKind::rdmsr, index);
    rig.run_trap(trap);
    EXPECT_TRUE(trap.virtualized);
    if (index == 0x830) {
      EXPECT_EQ(trap.value, 0x0000000500040033u);
    }
  }
  cpu::Trap outside = msr(cpu::TrapKind::rdmsr, 0x7ff);
  rig.run_trap(outside);
  EXPECT_FALSE(outside.virtualized);
}

TEST(X2apic, TheBitmapComesFirst) {
  ApicRig rig(proc2::virtualize_x2apic);
  rig.memory->write(Hpa(kMsrBitmap + 0x808 / 8), uint8_t{1});
  cpu::Trap trap = msr(cpu::TrapKind::rdmsr, 0x808);
  rig.run_trap(trap);
  EXPECT_EQ(rig.reason(), 31u);
}

TEST(X2apic, WritesAndTheirReservedBits) {
  ApicRig rig(proc2::virtualize_x2apic | kDelivery);
  struct Row {
    uint32_t index;
    uint64_t value;
    bool reject;
  };
  for (const Row& row : {Row{0x808, 0xff, false}, Row{0x808, 0x100, true}, Row{0x80b, 0, false},
                         Row{0x80b, 1, true}, Row{0x83f, 0xe1, false}, Row{0x83f, 0x121, true}}) {
    cpu::Trap trap = msr(cpu::TrapKind::wrmsr, row.index, row.value);
    rig.run_trap(trap);
    EXPECT_EQ(trap.reject, row.reject) << row.index;
    EXPECT_EQ(trap.virtualized, !row.reject) << row.index;
  }
  EXPECT_EQ(rig.apic(apic::tpr), 0xffu);
  EXPECT_EQ(rig.status().requesting, 0xe1);  // TPR holds it back
  cpu::Trap command = msr(cpu::TrapKind::wrmsr, 0x830, 0x40033);
  rig.run_trap(command);
  EXPECT_FALSE(command.virtualized);
}

TEST(X2apic, SelfIpiWithAnIllegalVectorExits) {
  ApicRig rig(proc2::virtualize_x2apic | kDelivery);
  cpu::Trap trap = msr(cpu::TrapKind::wrmsr, 0x83f, 15);
  rig.run_trap(trap);
  EXPECT_EQ(rig.reason(), 56u);
  EXPECT_EQ(rig.get(F::exit_qualification), 0x3f0u);
}

TEST(X2apic, WithoutDeliveryEoiAndSelfIpiGoToTheProcessor) {
  ApicRig rig(proc2::virtualize_x2apic | proc2::apic_register_virtualization);
  for (const uint32_t index : {0x80bu, 0x83fu}) {
    cpu::Trap trap = msr(cpu::TrapKind::wrmsr, index, 0);
    rig.run_trap(trap);
    EXPECT_FALSE(trap.virtualized);
  }
}

}  // namespace
}  // namespace cupel::vtx::testing
