// The memory that a loader fills.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/guest_memory.h"

namespace cupel::boot {

struct BootRig {
  explicit BootRig(uint64_t ram = 16_MiB)
      : host(PhysicalMemory::create(ram).value()), memory(*host, Hpa(0), ram) {}
  template <class T>
  T peek(uint64_t at) const {
    T value{};
    EXPECT_TRUE(memory.read(Gpa(at), value)) << std::hex << at;
    return value;
  }
  std::string text(uint64_t at) const {
    std::string s;
    for (char c = 0; memory.read(Gpa(at), c) && c != '\0'; ++at) s += c;
    return s;
  }

  std::unique_ptr<PhysicalMemory> host;
  GuestMemory memory;
};

}  // namespace cupel::boot
