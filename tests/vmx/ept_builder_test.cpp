#include "hypervisor/vmx/ept_builder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <vector>

#include "core/physical_memory.h"

namespace cupel::vmx {
namespace {

struct Leaf {
  uint64_t hpa, page, entry;
};

struct EptBuilderTest : ::testing::Test {
  std::unique_ptr<PhysicalMemory> host = std::move(PhysicalMemory::create(8_MiB)).value();
  FrameAllocator frames = FrameAllocator::create(host->data(), Hpa(0), 4_MiB).value();

  // A walk that shares nothing with the builder but the SDM's layout.
  std::optional<Leaf> walk(const EptBuilder& ept, uint64_t gpa) {
    uint64_t table = ept.pointer() & 0x000ffffffffff000;
    for (int shift = 39; shift >= 12; shift -= 9) {
      const auto entry = host->read<uint64_t>(Hpa(table + (gpa >> shift & 511) * 8));
      if ((entry & 7) == 0) return {};
      if (shift == 12 || (entry & 0x80) != 0) {
        const uint64_t page = 1ull << shift;
        const uint64_t base = entry & 0x000ffffffffff000;
        EXPECT_EQ(base % page, 0u) << "reserved bits set";
        return Leaf{base + gpa % page, page, entry};
      }
      EXPECT_EQ(entry & 0xf8, 0u) << "reserved bits of a table entry";
      table = entry & 0x000ffffffffff000;
    }
    return {};
  }
  EptBuilder make(EptOptions options = {}) {
    auto made = EptBuilder::create(frames, options);
    EXPECT_TRUE(made.ok());
    return *made;
  }
};

TEST_F(EptBuilderTest, TakesTheLargestPageThatAlignmentAllows) {
  EptBuilder ept = make();
  ASSERT_TRUE(ept.map(Gpa(0x1ff000), Hpa(0x401ff000), 3_GiB).ok());
  struct {
    uint64_t gpa, page;
  } const cases[] = {{0x1ff000, 4_KiB},   {0x200000, 2_MiB},   {0x3fe00000, 2_MiB},
                     {0x40000000, 1_GiB}, {0x80000000, 1_GiB}, {0xc0000000, 2_MiB},
                     {0xc01fe000, 4_KiB}};
  for (const auto& c : cases) {
    const auto leaf = walk(ept, c.gpa);
    ASSERT_TRUE(leaf) << std::hex << c.gpa;
    EXPECT_EQ(leaf->hpa, c.gpa + 0x40000000) << std::hex << c.gpa;
    if (c.gpa != 0xc0000000) {
      EXPECT_EQ(leaf->page, c.page) << std::hex << c.gpa;
    }
    EXPECT_EQ(leaf->entry & 0x3f, 0x37u);  // WB, readable, writable, executable
  }
  EXPECT_FALSE(walk(ept, 0x1fe000));
  EXPECT_FALSE(walk(ept, 0xc01ff000));
}

TEST_F(EptBuilderTest, MisalignedHostAddressesForceSmallPages) {
  EptBuilder ept = make();
  ASSERT_TRUE(ept.map(Gpa(0), Hpa(0x1000), 4_MiB).ok());
  EXPECT_EQ(walk(ept, 0x200000)->page, 4_KiB);
  EXPECT_EQ(walk(ept, 0x3ff000)->hpa, 0x400000u);
}

TEST_F(EptBuilderTest, KeepsToThePagesTheProcessorHas) {
  EptBuilder ept = make({.large_2m = true, .large_1g = false, .accessed_dirty = false});
  ASSERT_TRUE(ept.map(Gpa(0), Hpa(0), 1_GiB).ok());
  EXPECT_EQ(walk(ept, 0)->page, 2_MiB);
  EXPECT_EQ(ept.pointer() & 0xfff, 0x1eu);  // WB, walk length 4, no A/D
  EXPECT_EQ(make().pointer() & 0xfff, 0x5eu);
}

TEST_F(EptBuilderTest, UnmapSplitsLargePagesAndLeavesTheRest) {
  EptBuilder ept = make();
  ASSERT_TRUE(ept.map(Gpa(0), Hpa(1_GiB), 2_GiB).ok());
  ASSERT_TRUE(ept.unmap(Gpa(0xa0000), 0x20000).ok());
  EXPECT_TRUE(walk(ept, 0x9f000));
  EXPECT_FALSE(walk(ept, 0xa0000));
  EXPECT_FALSE(walk(ept, 0xbf000));
  EXPECT_EQ(walk(ept, 0xc0000)->hpa, 1_GiB + 0xc0000);
  EXPECT_EQ(walk(ept, 0x200000)->page, 2_MiB);
  EXPECT_EQ(walk(ept, 0x200000)->hpa, 1_GiB + 0x200000);
  EXPECT_EQ(walk(ept, 1_GiB)->page, 1_GiB);
}

TEST_F(EptBuilderTest, RemapReplacesAndGivesTablesBack) {
  EptBuilder ept = make();
  ASSERT_TRUE(ept.map(Gpa(0), Hpa(0x1000), 2_MiB).ok());
  const uint64_t before = frames.free_frames();
  ASSERT_TRUE(ept.map(Gpa(0), Hpa(4_MiB), 2_MiB).ok());
  EXPECT_EQ(frames.free_frames(), before + 1);
  EXPECT_EQ(walk(ept, 0x5000)->hpa, 4_MiB + 0x5000);
  EXPECT_EQ(walk(ept, 0x5000)->page, 2_MiB);
}

TEST_F(EptBuilderTest, ReleaseGivesEveryFrameBack) {
  const uint64_t before = frames.free_frames();
  EptBuilder ept = make();
  ASSERT_TRUE(ept.map(Gpa(0), Hpa(0x1000), 64_MiB).ok());
  ept.release();
  EXPECT_EQ(frames.free_frames(), before);
}

TEST_F(EptBuilderTest, HarvestReportsDirtyPagesOnceAndOnlyThem) {
  EptBuilder ept = make();
  ASSERT_TRUE(ept.map(Gpa(0), Hpa(0), 2_MiB + 0x3000).ok());
  const auto set_dirty = [&](uint64_t gpa) {
    uint64_t table = ept.pointer() & 0x000ffffffffff000;
    for (int shift = 39;; shift -= 9) {
      const Hpa at(table + (gpa >> shift & 511) * 8);
      const auto entry = host->read<uint64_t>(at);
      if (shift == 12 || (entry & 0x80) != 0) {
        host->write(at, entry | 0x300);
        return;
      }
      table = entry & 0x000ffffffffff000;
    }
  };
  set_dirty(0x1000);
  set_dirty(0x201000);
  std::vector<std::pair<uint64_t, uint64_t>> seen;
  const auto collect = [&](Gpa at, uint64_t size) { seen.emplace_back(at.value(), size); };
  ept.harvest_dirty(collect);
  const std::vector<std::pair<uint64_t, uint64_t>> expected = {{0, 2_MiB}, {0x201000, 4_KiB}};
  EXPECT_EQ(seen, expected);
  seen.clear();
  ept.harvest_dirty(collect);
  EXPECT_TRUE(seen.empty());
  EXPECT_EQ(walk(ept, 0x201000)->entry & 0x300, 0x100u);  // accessed stays
}

TEST_F(EptBuilderTest, RefusesBadRangesAndReportsAFullAllocator) {
  EptBuilder ept = make();
  EXPECT_EQ(ept.map(Gpa(1), Hpa(0), 4_KiB).error(), EptError::misaligned);
  EXPECT_EQ(ept.map(Gpa(0), Hpa(0), 100).error(), EptError::misaligned);
  EXPECT_EQ(ept.map(Gpa(1ull << 48), Hpa(0), 4_KiB).error(), EptError::out_of_range);
  EXPECT_EQ(ept.map(Gpa(~0xfffull), Hpa(0), 4_KiB).error(), EptError::out_of_range);
  while (frames.free_frames() > 1) ASSERT_TRUE(frames.allocate().ok());
  EXPECT_EQ(ept.map(Gpa(0), Hpa(0), 4_KiB).error(), EptError::full);
}

}  // namespace
}  // namespace cupel::vmx
