// Typed parameters of faults and oracles: what a kind takes, and what a scenario gave.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/types.h"
#include "scenarios/language/map_reader.h"

namespace cupel::scenarios {

enum class ParameterType : uint8_t {
  duration,     // Nanoseconds
  probability,  // double, 0..1
  count,        // uint64_t
  choice,       // std::string, one of `words`
};
std::string_view to_string(ParameterType type);

using ParameterValue = std::variant<Nanoseconds, double, uint64_t, std::string>;
std::string format(const ParameterValue& value);

// One row of a catalogue. Ranges are inclusive and hold values of the parameter's type; a choice
// has `words` instead. A required parameter's `preset` is only an example.
struct ParameterSpec {
  std::string_view name;
  ParameterType type = ParameterType::count;
  bool required = false;
  ParameterValue preset;
  ParameterValue least;
  ParameterValue most;
  std::vector<std::string_view> words;
  std::string_view what;  // one sentence, with the unit
};

// The values of one fault or oracle, complete: what the file did not give is the preset.
class Parameters {
 public:
  Parameters() = default;
  // All presets, for callers without a file.
  static Parameters presets(std::span<const ParameterSpec> specs);
  // Takes every parameter of `specs` out of `reader`; other keys are left for its finish().
  static Parameters read(MapReader& reader, std::span<const ParameterSpec> specs);

  // The named parameter must exist with that type: asking for another is a bug of the caller.
  Nanoseconds duration(std::string_view name) const;
  double probability(std::string_view name) const;
  uint64_t count(std::string_view name) const;
  const std::string& choice(std::string_view name) const;
  void set(std::string_view name, ParameterValue value);

  struct Item {
    std::string name;
    ParameterValue value;
  };
  std::span<const Item> items() const { return items_; }

 private:
  const ParameterValue& value(std::string_view name) const;
  std::vector<Item> items_;  // in the order of the catalogue
};

}  // namespace cupel::scenarios
