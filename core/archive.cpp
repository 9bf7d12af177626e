#include "core/archive.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace cupel {
namespace {
constexpr size_t kTagSize = 32;
}

void ArchiveWriter::section(std::string_view tag, uint32_t version) {
  assert(tag.size() < kTagSize);
  std::array<char, kTagSize> name{};
  std::copy(tag.begin(), tag.end(), name.begin());
  put(name);
  put(version);
}

void ArchiveReader::section(std::string_view tag, uint32_t version) {
  const auto name = get<std::array<char, kTagSize>>();
  const auto found_version = get<uint32_t>();
  if (!ok()) return;
  const std::string_view found(name.data(), strnlen(name.data(), kTagSize));
  if (found != tag) {
    note("expected section '" + std::string(tag) + "'");
  } else if (found_version != version) {
    note("section '" + std::string(tag) + "' has version " + std::to_string(found_version) +
         ", this build reads " + std::to_string(version));
  }
}

std::vector<std::byte> ArchiveReader::get_bytes() {
  const auto size = get<uint64_t>();
  if (!ok()) return {};
  if (size > bytes_.size() - at_) {
    note("archive ends too early");
    return {};
  }
  const auto part = bytes_.subspan(at_, size);
  at_ += size;
  return {part.begin(), part.end()};
}

void ArchiveReader::note(std::string_view what) {
  if (error_.empty()) error_ = std::string(what) + " (at byte " + std::to_string(at_) + ")";
}

Result<void> ArchiveReader::finish() const {
  if (ok()) return {};
  return fail(ErrorKind::bad_input, "cannot restore: " + error_,
              "use a snapshot taken by this build");
}

}  // namespace cupel
