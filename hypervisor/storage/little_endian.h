// Reading and writing little-endian fields of an on-disk structure of known size.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

namespace cupel::datastore {

template <class T>
void put_le(std::span<std::byte> to, size_t offset, T value) {
  assert(offset + sizeof(T) <= to.size());
  for (size_t i = 0; i < sizeof(T); ++i) {
    to[offset + i] = static_cast<std::byte>(static_cast<uint64_t>(value) >> (8 * i));
  }
}

template <class T>
T get_le(std::span<const std::byte> from, size_t offset) {
  assert(offset + sizeof(T) <= from.size());
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<uint64_t>(from[offset + i]) << (8 * i);
  }
  return static_cast<T>(value);
}

}  // namespace cupel::datastore
