// Strong types of the project: addresses of three kinds, virtual time, sectors.
// Freestanding: no OS, no exceptions.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace cupel {

// An address or index of one kind. Distances are plain uint64_t; two kinds never mix.
template <class Tag>
class Address {
 public:
  constexpr Address() = default;
  constexpr explicit Address(uint64_t value) : value_(value) {}
  constexpr uint64_t value() const { return value_; }

  constexpr Address operator+(uint64_t n) const { return Address(value_ + n); }
  constexpr Address operator-(uint64_t n) const { return Address(value_ - n); }
  constexpr uint64_t operator-(Address other) const { return value_ - other.value_; }
  constexpr Address& operator+=(uint64_t n) {
    value_ += n;
    return *this;
  }
  constexpr auto operator<=>(const Address&) const = default;

  // Rounds down to a multiple of `size`, a power of two.
  constexpr Address align_down(uint64_t size) const { return Address(value_ & ~(size - 1)); }
  // Byte offset within an aligned block of `size`, a power of two.
  constexpr uint64_t offset_in(uint64_t size) const { return value_ & (size - 1); }

 private:
  uint64_t value_ = 0;
};

using Gva = Address<struct GvaTag>;  // guest-virtual (linear) address
using Gpa = Address<struct GpaTag>;  // guest-physical address
using Hpa = Address<struct HpaTag>;  // host-physical address of the machine the hypervisor runs on
using Lba = Address<struct LbaTag>;  // logical block address, in 512-byte sectors

inline constexpr uint64_t kPageSize = 4096;
inline constexpr uint64_t kSectorSize = 512;
inline constexpr uint64_t operator""_KiB(unsigned long long n) { return n << 10; }
inline constexpr uint64_t operator""_MiB(unsigned long long n) { return n << 20; }
inline constexpr uint64_t operator""_GiB(unsigned long long n) { return n << 30; }

// Virtual time: a point since the start of the run, or a duration; range +-292 years.
class Nanoseconds {
 public:
  constexpr Nanoseconds() = default;
  constexpr explicit Nanoseconds(int64_t count) : count_(count) {}
  constexpr int64_t count() const { return count_; }
  constexpr double seconds() const { return static_cast<double>(count_) * 1e-9; }

  constexpr Nanoseconds operator+(Nanoseconds o) const { return Nanoseconds(count_ + o.count_); }
  constexpr Nanoseconds operator-(Nanoseconds o) const { return Nanoseconds(count_ - o.count_); }
  constexpr Nanoseconds operator*(int64_t n) const { return Nanoseconds(count_ * n); }
  constexpr Nanoseconds operator/(int64_t n) const { return Nanoseconds(count_ / n); }
  constexpr Nanoseconds& operator+=(Nanoseconds o) {
    count_ += o.count_;
    return *this;
  }
  constexpr auto operator<=>(const Nanoseconds&) const = default;

  static constexpr Nanoseconds max() { return Nanoseconds(INT64_MAX); }

 private:
  int64_t count_ = 0;
};

inline constexpr Nanoseconds operator""_ns(unsigned long long n) {
  return Nanoseconds(static_cast<int64_t>(n));
}
inline constexpr Nanoseconds operator""_us(unsigned long long n) {
  return Nanoseconds(static_cast<int64_t>(n) * 1'000);
}
inline constexpr Nanoseconds operator""_ms(unsigned long long n) {
  return Nanoseconds(static_cast<int64_t>(n) * 1'000'000);
}
inline constexpr Nanoseconds operator""_s(unsigned long long n) {
  return Nanoseconds(static_cast<int64_t>(n) * 1'000'000'000);
}

}  // namespace cupel
