#include "scenarios/language/map_reader.h"

#include <algorithm>

namespace cupel::scenarios {

MapReader::MapReader(const YamlNode& node, std::string path, Problems& problems)
    : node_(node),
      path_(std::move(path)),
      problems_(problems),
      valid_(node.kind == YamlNode::Kind::map) {
  if (!valid_) {
    problems_.error(node.where,
                    path_ + " must be a mapping, but is " + std::string(to_string(node.kind)),
                    "write 'key: value' lines");
    return;
  }
  for (auto entry = node_.entries.begin(); entry != node_.entries.end(); ++entry) {
    const auto same = [&](const YamlNode::Entry& other) { return other.key == entry->key; };
    const auto first = std::find_if(node_.entries.begin(), entry, same);
    if (first != entry) {
      problems_.error(entry->where, "key " + quote(entry->key) + " is given twice",
                      "keep one; the first is in line " + std::to_string(first->where.line));
    }
  }
}

std::string MapReader::path(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + '.' + std::string(key);
}

Position MapReader::where(std::string_view key) const {
  for (const auto& entry : node_.entries) {
    if (entry.key == key) return entry.value->where;
  }
  return node_.where;
}

const YamlNode* MapReader::find(std::string_view key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  for (const auto& entry : node_.entries) {
    if (entry.key != key) continue;
    if (entry.value->kind != YamlNode::Kind::null) return entry.value.get();
    problems_.error(entry.where, path(key) + " has no value", "give it one, or remove the key");
    return nullptr;
  }
  return nullptr;
}

const YamlNode* MapReader::need(std::string_view key, std::string_view example) {
  const YamlNode* node = find(key);
  const auto is_key = [&](const YamlNode::Entry& entry) { return entry.key == key; };
  if (node == nullptr && valid_ &&
      std::none_of(node_.entries.begin(), node_.entries.end(), is_key)) {
    problems_.error(node_.where,
                    (path_.empty() ? "the scenario" : path_) + " lacks '" + std::string(key) + "'",
                    "add for example '" + std::string(key) + ": " + std::string(example) + "'");
  }
  return node;
}

const YamlNode* MapReader::scalar(const YamlNode* node, std::string_view key) {
  if (node == nullptr || node->kind == YamlNode::Kind::scalar) return node;
  problems_.error(
      node->where,
      path(key) + " must be a single value, but is " + std::string(to_string(node->kind)),
      "write '" + std::string(key) + ": value' in one line");
  return nullptr;
}

void MapReader::report(const YamlNode& node, std::string_view key, const UnitError& error) {
  problems_.error(node.where, path(key) + ": " + quote(node.text) + ' ' + error.what, error.hint);
}

std::optional<std::string> MapReader::text(std::string_view key) {
  constexpr size_t kMost = 4096;
  const YamlNode* node = scalar(find(key), key);
  if (node == nullptr) return std::nullopt;
  if (node->text.size() > kMost) {
    problems_.error(node->where, path(key) + " is longer than 4096 bytes", "shorten it");
    return std::nullopt;
  }
  return node->text;
}

bool is_name(std::string_view text) {
  const auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto inner = [&](char c) {
    return letter(c) || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  };
  return !text.empty() && text.size() <= 32 && letter(text[0]) &&
         std::all_of(text.begin(), text.end(), inner);
}

std::string MapReader::name(std::string_view example) {
  const YamlNode* node = scalar(need("name", example), "name");
  if (node == nullptr) return {};
  if (is_name(node->text)) return node->text;
  problems_.error(node->where, path("name") + ": " + quote(node->text) + " cannot be a name",
                  std::string(kNameHint));
  return {};
}

std::optional<Nanoseconds> MapReader::duration(std::string_view key, Range<Nanoseconds> range) {
  const auto value = parse(key, parse_duration);
  if (!value) return std::nullopt;
  if (*value < range.least || *value > range.most) {
    problems_.error(
        where(key), path(key) + " is " + format_duration(*value),
        "it must be from " + format_duration(range.least) + " to " + format_duration(range.most));
    return std::nullopt;
  }
  return value;
}

std::optional<uint64_t> MapReader::size(std::string_view key, Range<uint64_t> range) {
  const auto value = parse(key, parse_size);
  if (!value) return std::nullopt;
  if (*value < range.least || *value > range.most) {
    problems_.error(
        where(key), path(key) + " is " + format_size(*value),
        "it must be from " + format_size(range.least) + " to " + format_size(range.most));
    return std::nullopt;
  }
  return value;
}

std::optional<uint64_t> MapReader::count(std::string_view key, Range<uint64_t> range) {
  const auto value = parse(key, parse_integer);
  if (!value) return std::nullopt;
  if (*value < 0 || static_cast<uint64_t>(*value) < range.least ||
      static_cast<uint64_t>(*value) > range.most) {
    problems_.error(
        where(key), path(key) + " is " + std::to_string(*value),
        "it must be from " + std::to_string(range.least) + " to " + std::to_string(range.most));
    return std::nullopt;
  }
  return static_cast<uint64_t>(*value);
}

std::optional<bool> MapReader::flag(std::string_view key) { return parse(key, parse_bool); }

std::optional<size_t> MapReader::choice(std::string_view key,
                                        std::span<const std::string_view> words) {
  const YamlNode* node = scalar(find(key), key);
  if (node == nullptr) return std::nullopt;
  const auto found = std::find(words.begin(), words.end(), node->text);
  if (found != words.end()) return static_cast<size_t>(found - words.begin());
  problems_.error(node->where, path(key) + " cannot be " + quote(node->text),
                  suggest(node->text, words));
  return std::nullopt;
}

MapReader::Items MapReader::list(std::string_view key, size_t most) {
  const YamlNode* node = find(key);
  if (node == nullptr) return {};
  if (node->kind != YamlNode::Kind::sequence) {
    problems_.error(node->where,
                    path(key) + " must be a list, but is " + std::string(to_string(node->kind)),
                    "start each item with '- '");
    return {};
  }
  if (node->items.size() > most) {
    problems_.error(node->where,
                    path(key) + " has " + std::to_string(node->items.size()) +
                        " items; the most is " + std::to_string(most),
                    "split the scenario");
    return {};
  }
  Items items;
  for (size_t i = 0; i < node->items.size(); ++i) {
    items.emplace_back(node->items[i].get(), path(key) + '[' + std::to_string(i) + ']');
  }
  return items;
}

void MapReader::finish() {
  for (const auto& entry : node_.entries) {
    if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
    problems_.error(
        entry.where,
        "unknown key " + quote(entry.key) + (path_.empty() ? std::string() : " in " + path_),
        suggest(entry.key, known_));
  }
}

}  // namespace cupel::scenarios
