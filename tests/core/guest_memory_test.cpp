#include "core/guest_memory.h"

#include <gtest/gtest.h>

#include <memory>

namespace cupel {
namespace {

constexpr uint64_t kSize = 1_MiB;
constexpr Hpa kBase{2_MiB};

class GuestMemoryTest : public testing::Test {
 protected:
  void SetUp() override {
    auto created = PhysicalMemory::create(4_MiB);
    ASSERT_TRUE(created.ok());
    host = std::move(created).value();
    guest = std::make_unique<GuestMemory>(*host, kBase, kSize);
  }
  std::unique_ptr<PhysicalMemory> host;
  std::unique_ptr<GuestMemory> guest;
};

TEST_F(GuestMemoryTest, LiesAtItsBaseInTheHost) {
  EXPECT_TRUE(guest->write(Gpa(0x1234), uint32_t{0xdeadbeef}));
  EXPECT_EQ(host->read<uint32_t>(kBase + 0x1234), 0xdeadbeefu);
  uint32_t value = 0;
  EXPECT_TRUE(guest->read(Gpa(0x1234), value));
  EXPECT_EQ(value, 0xdeadbeefu);
  EXPECT_EQ(guest->to_host(Gpa(0x1234)), kBase + 0x1234);
}

TEST_F(GuestMemoryTest, RefusesWhatIsNotWhollyInside) {
  static constexpr struct {
    uint64_t at, length;
    bool inside;
  } kRows[] = {
      {0, kSize, true},       {0, kSize + 1, false},
      {kSize - 4, 4, true},   {kSize - 3, 4, false},
      {kSize, 0, true},       {kSize + 1, 0, false},
      {UINT64_MAX, 4, false}, {UINT64_MAX - 3, 4, false},
      {4, UINT64_MAX, false}, {UINT64_MAX, UINT64_MAX, false},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(guest->contains(Gpa(row.at), row.length), row.inside) << row.at;
    if (row.inside) continue;
    EXPECT_TRUE(guest->view(Gpa(row.at), row.length).empty());
    EXPECT_TRUE(guest->writable(Gpa(row.at), row.length).empty());
  }
  uint32_t value = 5;
  EXPECT_FALSE(guest->read(Gpa(kSize - 2), value));
  EXPECT_FALSE(guest->write(Gpa(kSize - 2), value));
  EXPECT_EQ(host->read<uint32_t>(kBase + (kSize - 2)), 0u);
}

TEST_F(GuestMemoryTest, WritesMarkEveryPageTheyTouch) {
  const std::vector<std::byte> data(kPageSize + 2, std::byte{1});
  EXPECT_TRUE(guest->write(Gpa(5 * kPageSize - 1), data));
  EXPECT_FALSE(guest->is_dirty(Gpa(3 * kPageSize)));
  EXPECT_TRUE(guest->is_dirty(Gpa(4 * kPageSize)));
  EXPECT_TRUE(guest->is_dirty(Gpa(5 * kPageSize)));
  EXPECT_TRUE(guest->is_dirty(Gpa(6 * kPageSize)));
  EXPECT_FALSE(guest->is_dirty(Gpa(7 * kPageSize)));
  EXPECT_EQ(guest->take_dirty()[0], 0x70u);
  EXPECT_EQ(guest->take_dirty()[0], 0u) << "taking clears";
}

TEST_F(GuestMemoryTest, ReadsAndEmptyWritesMarkNothing) {
  guest->view(Gpa(0), kPageSize);
  guest->writable(Gpa(0), 0);
  guest->mark_dirty(Gpa(0), 0);
  guest->writable(Gpa(kSize - 1), 2);
  for (const uint64_t word : guest->take_dirty()) EXPECT_EQ(word, 0u);
}

TEST_F(GuestMemoryTest, TheLastPageHasItsBit) {
  guest->mark_dirty(Gpa(kSize - 1), 1);
  const auto dirty = guest->take_dirty();
  ASSERT_EQ(dirty.size(), kSize / kPageSize / 64);
  EXPECT_EQ(dirty.back(), 1ull << 63);
}

}  // namespace
}  // namespace cupel
