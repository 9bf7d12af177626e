// Reads one mapping of a scenario: takes known keys, checks types and ranges, names the rest.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scenarios/language/problem.h"
#include "scenarios/language/units.h"
#include "scenarios/language/yaml_tree.h"

namespace cupel::scenarios {

// Inclusive, in the unit of T.
template <class T>
struct Range {
  T least;
  T most;
};

// Each getter consumes its key; finish() reports the keys nobody asked for, with the nearest known
// one. A missing or wrong value is reported and yields nothing, so that reading goes on.
class MapReader {
 public:
  // `path` names the mapping in messages: "hosts[2]". A node that is no mapping is reported; the
  // reader then behaves as an empty mapping that complains no further.
  MapReader(const YamlNode& node, std::string path, Problems& problems);

  // The raw node; null when absent. A key without a value counts as absent and is reported.
  const YamlNode* find(std::string_view key);
  // Reports the absence, with `example` as what to write.
  const YamlNode* need(std::string_view key, std::string_view example);

  std::optional<std::string> text(std::string_view key);
  // A name: lower-case letters, digits, '-', '_' or '.', starting with a letter, at most 32.
  std::string name(std::string_view example);
  std::optional<Nanoseconds> duration(std::string_view key, Range<Nanoseconds> range);
  std::optional<uint64_t> size(std::string_view key, Range<uint64_t> range);
  std::optional<uint64_t> count(std::string_view key, Range<uint64_t> range);
  std::optional<bool> flag(std::string_view key);
  // One of `words`; returns its index.
  std::optional<size_t> choice(std::string_view key, std::span<const std::string_view> words);
  // The items of a list, each with its path; a missing key is an empty list.
  using Items = std::vector<std::pair<const YamlNode*, std::string>>;
  Items list(std::string_view key, size_t most);

  // Any other notation out of units.h.
  template <class T>
  std::optional<T> parse(std::string_view key, Parsed<T> (*parser)(std::string_view)) {
    const YamlNode* node = scalar(find(key), key);
    if (node == nullptr) return std::nullopt;
    auto value = parser(node->text);
    if (!value) {
      report(*node, key, value.error());
      return std::nullopt;
    }
    return std::move(value).value();
  }

  void finish();

  bool valid() const { return valid_; }
  Position where() const { return node_.where; }
  Position where(std::string_view key) const;
  std::string path(std::string_view key) const;
  Problems& problems() { return problems_; }

 private:
  const YamlNode* scalar(const YamlNode* node, std::string_view key);
  void report(const YamlNode& node, std::string_view key, const UnitError& error);

  const YamlNode& node_;
  const std::string path_;
  Problems& problems_;
  bool valid_;
  std::vector<std::string_view> known_;
};

bool is_name(std::string_view text);
inline constexpr std::string_view kNameHint =
    "a name starts with a lower-case letter, then letters, digits, '-', '_' or '.', at most 32";

}  // namespace cupel::scenarios
