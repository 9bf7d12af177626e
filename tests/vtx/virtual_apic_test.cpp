#include "hw_models/vtx/virtual_apic.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <vector>

namespace cupel::vtx {
namespace {

using Test = bool (*)(const ApicControls&, uint32_t, unsigned);

std::set<uint32_t> offsets(Test test, const ApicControls& controls, unsigned size) {
  std::set<uint32_t> found;
  for (uint32_t offset = 0; offset < 4096; ++offset)
    if (test(controls, offset, size)) found.insert(offset);
  return found;
}

TEST(ApicAccessTable, NothingWithoutTprShadow) {
  for (const unsigned size : {1u, 2u, 4u}) {
    EXPECT_TRUE(offsets(read_virtualized, {false, true, true}, size).empty());
    EXPECT_TRUE(offsets(write_virtualized, {false, true, true}, size).empty());
  }
}

TEST(ApicAccessTable, TprShadowAlone) {
  for (const unsigned size : {1u, 2u, 3u, 4u}) {
    EXPECT_EQ(offsets(read_virtualized, {true, false, false}, size), std::set<uint32_t>{0x80});
    EXPECT_EQ(offsets(write_virtualized, {true, false, false}, size), std::set<uint32_t>{0x80});
  }
  EXPECT_TRUE(offsets(read_virtualized, {true, false, false}, 8).empty());
}

TEST(ApicAccessTable, VirtualInterruptDeliveryAddsEoiAndCommand) {
  const std::set<uint32_t> three{0x80, 0xb0, 0x300};
  EXPECT_EQ(offsets(read_virtualized, {true, false, true}, 4), three);
  EXPECT_EQ(offsets(write_virtualized, {true, false, true}, 1), three);
}

TEST(ApicAccessTable, RegisterVirtualizationByRegister) {
  const ApicControls controls{true, true, false};
  std::set<uint32_t> readable{0x20,  0x30,  0x80,  0xb0,  0xd0,  0xe0,  0xf0,  0x280, 0x300,
                              0x310, 0x320, 0x330, 0x340, 0x350, 0x360, 0x370, 0x380, 0x3e0};
  std::set<uint32_t> writable = readable;
  writable.erase(0x30);
  for (uint32_t n = 0x100; n <= 0x270; n += 16) readable.insert(n);
  EXPECT_EQ(offsets(read_virtualized, controls, 4), readable);
  EXPECT_EQ(offsets(write_virtualized, controls, 4), writable);
  // Bytes anywhere in the low 4 bytes; words only where they do not leave them.
  EXPECT_EQ(offsets(write_virtualized, controls, 1).size(), 4 * writable.size());
  EXPECT_EQ(offsets(write_virtualized, controls, 2).size(), 3 * writable.size());
  EXPECT_TRUE(offsets(write_virtualized, controls, 8).empty());
}

TEST(SelfIpi, OnlyFixedEdgeToItselfWithALegalVector) {
  EXPECT_TRUE(is_self_ipi(0x00040010));
  EXPECT_TRUE(is_self_ipi(0x000448ff));  // destination mode and level do not matter
  for (const uint32_t bits : {1u << 8, 1u << 9, 1u << 10, 1u << 12, 1u << 13, 1u << 15, 1u << 16,
                              1u << 17, 1u << 19, 1u << 20, 1u << 31})
    EXPECT_FALSE(is_self_ipi(0x00040010 | bits)) << bits;
  EXPECT_FALSE(is_self_ipi(0x00000010));
  EXPECT_FALSE(is_self_ipi(0x0004000f));
}

class PageTest : public ::testing::Test {
 protected:
  std::unique_ptr<PhysicalMemory> memory = std::move(PhysicalMemory::create(2_MiB)).value();
  VirtualApicPage page{*memory, Hpa(0x3000)};
  InterruptStatus status;
};

TEST_F(PageTest, BitsLieInEightRegisters) {
  page.set_bit(apic::irr, 0xff);
  page.set_bit(apic::irr, 0x20);
  EXPECT_EQ(memory->read<uint32_t>(Hpa(0x3270)), 0x80000000u);
  EXPECT_EQ(memory->read<uint32_t>(Hpa(0x3210)), 1u);
  EXPECT_EQ(page.highest(apic::irr), 0xff);
  page.clear_bit(apic::irr, 0xff);
  EXPECT_EQ(page.highest(apic::irr), 0x20);
  page.clear_bit(apic::irr, 0x20);
  EXPECT_EQ(page.highest(apic::irr), 0);
}

TEST_F(PageTest, PriorityIsTheHigherOfTaskAndService) {
  page.write(apic::tpr, 0x3c);
  status.servicing = 0x2f;
  virtualize_ppr(page, status);
  EXPECT_EQ(page.read(apic::ppr), 0x3cu);
  status.servicing = 0x3f;  // the same class: VTPR whole
  virtualize_ppr(page, status);
  EXPECT_EQ(page.read(apic::ppr), 0x3cu);
  status.servicing = 0x4f;
  virtualize_ppr(page, status);
  EXPECT_EQ(page.read(apic::ppr), 0x40u);
}

TEST_F(PageTest, AcceptThenEndNested) {
  request_interrupt(page, status, 0x41);
  request_interrupt(page, status, 0x31);
  EXPECT_EQ(status.requesting, 0x41);
  EXPECT_EQ(accept_interrupt(page, status), 0x41);
  EXPECT_EQ(status.requesting, 0x31);
  EXPECT_EQ(status.servicing, 0x41);
  EXPECT_EQ(page.read(apic::ppr), 0x40u);
  request_interrupt(page, status, 0x52);
  EXPECT_EQ(accept_interrupt(page, status), 0x52);
  EXPECT_EQ(end_interrupt(page, status), 0x52);
  EXPECT_EQ(status.servicing, 0x41);
  EXPECT_EQ(page.read(apic::ppr), 0x40u);
  EXPECT_EQ(end_interrupt(page, status), 0x41);
  EXPECT_EQ(status.servicing, 0);
  EXPECT_EQ(page.read(apic::ppr), 0u);
  EXPECT_EQ(page.highest(apic::irr), 0x31);
}

}  // namespace
}  // namespace cupel::vtx
