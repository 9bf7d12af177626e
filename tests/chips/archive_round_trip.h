// Saving and restoring in tests.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "core/archive.h"

namespace cupel::chips {

template <class T>
std::vector<std::byte> saved(const T& chip) {
  ArchiveWriter out;
  chip.save(out);
  return out.take();
}

template <class T>
void restore_from(T& chip, const std::vector<std::byte>& bytes) {
  ArchiveReader in(bytes);
  chip.restore(in);
  EXPECT_TRUE(in.finish().ok());
}

// Restores `to` from `from`, and checks that saving it again gives the same bytes.
template <class T>
void copy_state(const T& from, T& to) {
  const auto bytes = saved(from);
  restore_from(to, bytes);
  EXPECT_EQ(saved(to), bytes);
}

// An archive of the right shape whose numbers are all `fill` must leave a chip that works.
template <class T>
void restore_garbage(T& chip, std::byte fill) {
  auto bytes = saved(chip);
  for (size_t i = 36; i < bytes.size(); ++i) bytes[i] = fill;  // keeps tag and version
  ArchiveReader in(bytes);
  chip.restore(in);
}

}  // namespace cupel::chips
