// A YAML document as a tree in which every node knows its place in the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "scenarios/language/problem.h"

namespace cupel::scenarios {

struct YamlNode {
  enum class Kind : uint8_t { null, scalar, sequence, map };
  struct Entry;

  Kind kind = Kind::null;
  Position where;
  std::string text;                                    // scalar
  std::vector<std::shared_ptr<const YamlNode>> items;  // sequence
  std::vector<Entry> entries;                          // map, in file order, duplicates kept
  size_t weight = 1;                                   // nodes below and including this one
};

struct YamlNode::Entry {
  Position where;
  std::string key;
  std::shared_ptr<const YamlNode> value;
};

// "a list", "a mapping", "a single value", "nothing"
std::string_view to_string(YamlNode::Kind kind);

// Bounds that no sensible scenario reaches, and that keep a hostile file from costing anything.
// `nodes` counts aliases with all they stand for, so a nest of aliases is refused, not expanded.
struct YamlLimits {
  size_t bytes = 1 << 20;
  size_t nodes = 20'000;
  size_t depth = 32;
};

// Reads exactly one document; never throws. The problem names the limit or the syntax error.
Result<std::shared_ptr<const YamlNode>, Problem> parse_yaml(std::string_view text,
                                                            const YamlLimits& limits = {});

}  // namespace cupel::scenarios
