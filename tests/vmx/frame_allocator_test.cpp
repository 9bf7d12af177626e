#include "hypervisor/vmx/frame_allocator.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace cupel::vmx {
namespace {

struct FrameAllocatorTest : ::testing::Test {
  std::vector<std::byte> storage = std::vector<std::byte>(9 * kPageSize);
  // Page-aligned inside the vector, as host memory would be.
  std::byte* base = reinterpret_cast<std::byte*>(
      (reinterpret_cast<uintptr_t>(storage.data()) + kPageSize - 1) & ~(kPageSize - 1));
};

TEST_F(FrameAllocatorTest, HandsOutEachFrameOnceAndThenIsFull) {
  auto made = FrameAllocator::create(base, Hpa(0x10000), 8 * kPageSize);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->free_frames(), 7u);  // one holds the bitmap
  std::set<uint64_t> seen;
  for (int n = 0; n < 7; ++n) {
    auto frame = made->allocate();
    ASSERT_TRUE(frame.ok());
    EXPECT_EQ(frame->offset_in(kPageSize), 0u);
    EXPECT_TRUE(seen.insert(frame->value()).second);
  }
  auto none = made->allocate();
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error(), FrameError::full);
}

TEST_F(FrameAllocatorTest, AReleasedFrameComesBackZeroed) {
  auto made = FrameAllocator::create(base, Hpa(0x10000), 2 * kPageSize);
  ASSERT_TRUE(made.ok());
  auto frame = made->allocate();
  ASSERT_TRUE(frame.ok());
  made->data(*frame)[17] = std::byte{9};
  made->release(*frame);
  auto again = made->allocate();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, *frame);
  EXPECT_EQ(made->data(*again)[17], std::byte{0});
}

TEST_F(FrameAllocatorTest, RefusesRangesWithoutRoom) {
  EXPECT_FALSE(FrameAllocator::create(base, Hpa(0x10000), kPageSize).ok());
  EXPECT_FALSE(FrameAllocator::create(base, Hpa(0x10001), 8 * kPageSize).ok());
  EXPECT_FALSE(FrameAllocator::create(nullptr, Hpa(0), 8 * kPageSize).ok());
}

}  // namespace
}  // namespace cupel::vmx
