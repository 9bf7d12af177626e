#include "hw_models/cpu/breakpoints.h"

namespace cupel::cpu {

Breakpoints::Breakpoints(const std::array<uint64_t, 8>& dr) {
  constexpr uint64_t kLengths[] = {1, 2, 8, 4};
  for (unsigned n = 0; n < 4; ++n) {
    if ((dr[7] >> (2 * n) & 3) == 0) continue;  // neither local nor global
    const auto kind = static_cast<Kind>(dr[7] >> (16 + 4 * n) & 3);
    if (kind == Kind::io) continue;  // I/O breakpoints are not modelled
    const uint64_t length = kind == Kind::execute ? 1 : kLengths[dr[7] >> (18 + 4 * n) & 3];
    const uint64_t first = dr[n] & ~(length - 1);
    list_[n] = {first, first + length - 1, kind};
    enabled_ |= 1u << n;
  }
}

bool Breakpoints::matches(Kind kind, Access access) {
  switch (access) {
    case Access::fetch:
      return kind == Kind::execute;
    case Access::write:
      return kind == Kind::write || kind == Kind::read_write;
    case Access::read:
      return kind == Kind::read_write;
  }
  return false;
}

bool Breakpoints::on_page(uint64_t page, Access access) const {
  for (unsigned n = 0; n < 4; ++n)
    if (enabled(n) && matches(list_[n].kind, access) && (list_[n].first & ~(kPageSize - 1)) == page)
      return true;
  return false;
}

uint64_t Breakpoints::hits(uint64_t linear, unsigned size, Access access) const {
  uint64_t found = 0;
  for (unsigned n = 0; n < 4; ++n) {
    if (!enabled(n) || !matches(list_[n].kind, access)) continue;
    const uint64_t last = access == Access::fetch ? linear : linear + size - 1;
    if (linear <= list_[n].last && last >= list_[n].first) found |= 1ull << n;
  }
  return found;
}

}  // namespace cupel::cpu
