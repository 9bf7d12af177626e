// One list of fields serves both directions of an archive.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "core/archive.h"

namespace cupel::chips {

// A class lists its state once, as
//   template <class Self, class Visit> static void fields(Self& s, Visit&& visit) { visit(s.a,
//   s.b); }
// and saves with fields(*this, FieldWriter(out)), restores with fields(*this, FieldReader(in)).
// Types with padding are refused: two equal states must give equal bytes.
class FieldWriter {
 public:
  explicit FieldWriter(ArchiveWriter& out) : out_(out) {}
  template <class... T>
  void operator()(const T&... values) {
    (put(values), ...);
  }

 private:
  template <class T>
  void put(const T& value) {
    static_assert(std::has_unique_object_representations_v<T>);
    if constexpr (std::is_same_v<T, bool>) {
      out_.put(static_cast<uint8_t>(value));
    } else {
      out_.put(value);
    }
  }
  ArchiveWriter& out_;
};

class FieldReader {
 public:
  explicit FieldReader(ArchiveReader& in) : in_(in) {}
  template <class... T>
  void operator()(T&... values) {
    (get(values), ...);
  }

 private:
  template <class T>
  void get(T& value) {
    static_assert(!std::is_enum_v<T>, "an archive may hold any number: range-check it yourself");
    if constexpr (std::is_same_v<T, bool>) {
      value = in_.get<uint8_t>() != 0;
    } else {
      in_.get(value);
    }
  }
  ArchiveReader& in_;
};

}  // namespace cupel::chips
