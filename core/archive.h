// Byte archives for save/restore of device and processor state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/error.h"

namespace cupel {

// Little-endian, tagged per section. A section is (tag, version, length, bytes), so that a reader
// can name what is wrong instead of misreading it.
class ArchiveWriter {
 public:
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void put(const T& value) {
    const auto* p = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), p, p + sizeof value);
  }
  void put_bytes(std::span<const std::byte> data) {
    put(static_cast<uint64_t>(data.size()));
    bytes_.insert(bytes_.end(), data.begin(), data.end());
  }
  // Opens a section named by a tag of at most 31 characters.
  void section(std::string_view tag, uint32_t version);

  const std::vector<std::byte>& bytes() const { return bytes_; }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

// Reads what ArchiveWriter wrote. A short or foreign archive turns ok() false and yields zeros;
// callers check once, at the end, with finish().
class ArchiveReader {
 public:
  explicit ArchiveReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
  requires std::is_trivially_copyable_v<T>
  void get(T& value) {
    if (bytes_.size() - at_ < sizeof value) {
      note("archive ends too early");
      value = T{};
      return;
    }
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
  }
  template <class T>
  T get() {
    T value{};
    get(value);
    return value;
  }
  std::vector<std::byte> get_bytes();
  void section(std::string_view tag, uint32_t version);

  bool ok() const { return error_.empty(); }
  Result<void> finish() const;
  void note(std::string_view what);

 private:
  std::span<const std::byte> bytes_;
  size_t at_ = 0;
  std::string error_;
};

}  // namespace cupel
