// The generator of cases. Freestanding.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cupel::metal {

// SplitMix64. Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  // A stream of its own for part `part` of case `number`: leaving a part out changes no other.
  Random(uint64_t seed, uint64_t number, uint64_t part)
      : state_((seed * 0x100000001b3 + number) * 0x100000001b3 + part) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  uint64_t below(uint64_t n) { return next() % n; }
  template <class T, size_t size>
  const T& of(const T (&table)[size]) {
    return table[below(size)];
  }

 private:
  uint64_t state_;
};

}  // namespace cupel::metal
