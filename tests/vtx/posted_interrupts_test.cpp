#include "tests/vtx/apic_rig.h"

namespace cupel::vtx::testing {
namespace {

using namespace x86;

constexpr uint64_t kDescriptor = 0x1a040;
constexpr uint8_t kNotification = 0xf2;

struct PostedRig : ApicRig {
  PostedRig() : ApicRig(proc2::virtual_interrupt_delivery) {
    set_bits(F::pin_based_controls, pin::process_posted_interrupts);
    set_bits(F::exit_controls, exitctl::acknowledge_interrupt);
    set(F::posted_interrupt_vector, kNotification);
    set(F::posted_interrupt_descriptor, kDescriptor);
  }
  void post(uint8_t vector) {
    const Hpa at(kDescriptor + vector / 32 * 4u);
    memory->write(at, memory->read<uint32_t>(at) | 1u << (vector & 31));
    memory->write(Hpa(kDescriptor + 32), uint32_t{0xaabbcc01});  // ON, and what else is there
  }
};

TEST(PostedInterrupt, NotificationDeliversWithoutExit) {
  PostedRig rig;
  rig.enter([&](FakeProcessor& p) {
    rig.post(0x41);
    rig.post(0x99);
    rig.vmx.raise_external_interrupt(kNotification);
    EXPECT_TRUE(p.monitor->on_boundary());  // to take the virtual interrupt
  });
  EXPECT_EQ(rig.reason(), 10u);
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
  EXPECT_EQ(rig.cpu.delivered[0].vector, 0x99);
  EXPECT_EQ(rig.status().requesting, 0x41);
  EXPECT_EQ(rig.status().servicing, 0x99);
  EXPECT_EQ(rig.apic(apic::irr + 0x20), 1u << 1);
  EXPECT_EQ(rig.memory->read<uint32_t>(Hpa(kDescriptor + 32)), 0xaabbcc00u);
  for (uint64_t n = 0; n < 32; n += 4)
    EXPECT_EQ(rig.memory->read<uint32_t>(Hpa(kDescriptor + n)), 0u);
  EXPECT_FALSE(rig.vmx.acknowledge_external_interrupt().has_value());
}

TEST(PostedInterrupt, EmptyDescriptorLeavesTheRequestAlone) {
  PostedRig rig;
  rig.set_status(0x15, 0x20);
  rig.enter([&](FakeProcessor& p) {
    rig.vmx.raise_external_interrupt(kNotification);
    EXPECT_FALSE(p.monitor->on_boundary());
    p.trap(cpu::TrapKind::cpuid);
  });
  EXPECT_EQ(rig.status().requesting, 0x15);
}

TEST(PostedInterrupt, OtherVectorsExitAcknowledged) {
  PostedRig rig;
  rig.enter([&](FakeProcessor& p) {
    rig.vmx.raise_external_interrupt(0x33);
    EXPECT_TRUE(p.monitor->on_boundary());
  });
  EXPECT_EQ(rig.reason(), 1u);
  EXPECT_EQ(rig.get(F::exit_interruption_info), 0x80000033u);
}

TEST(PostedInterrupt, ProcessedWithInterruptsOffAndDeliveredLater) {
  PostedRig rig;
  rig.set(F::guest_rflags, 2);
  rig.enter([&](FakeProcessor& p) {
    rig.post(0x41);
    rig.vmx.raise_external_interrupt(kNotification);
    EXPECT_FALSE(p.monitor->on_boundary());
    EXPECT_EQ(rig.apic(apic::irr + 0x20), 1u << 1);
    EXPECT_TRUE(p.watching);
    p.set_rflags(0x202);
    EXPECT_TRUE(p.monitor->on_boundary());
  });
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
}

TEST(PostedInterrupt, WakesHlt) {
  PostedRig rig;
  rig.clear_bits(F::primary_processor_controls, proc::hlt_exiting);
  rig.enter([&](FakeProcessor& p) {
    p.set_activity(Activity::hlt);
    rig.post(0x41);
    rig.vmx.raise_external_interrupt(kNotification);
    EXPECT_TRUE(p.monitor->on_boundary());
  });
  EXPECT_EQ(rig.reason(), 10u);
  ASSERT_EQ(rig.cpu.delivered.size(), 1u);
}

}  // namespace
}  // namespace cupel::vtx::testing
