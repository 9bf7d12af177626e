#include "scenarios/language/parameters.h"

#include <cassert>
#include <cstdio>

namespace cupel::scenarios {
namespace {

std::optional<ParameterValue> read_one(MapReader& reader, const ParameterSpec& spec) {
  const auto wrap = [](auto value) -> std::optional<ParameterValue> {
    if (!value) return std::nullopt;
    return ParameterValue(*value);
  };
  switch (spec.type) {
    case ParameterType::duration:
      return wrap(reader.duration(
          spec.name, {std::get<Nanoseconds>(spec.least), std::get<Nanoseconds>(spec.most)}));
    case ParameterType::count:
      return wrap(
          reader.count(spec.name, {std::get<uint64_t>(spec.least), std::get<uint64_t>(spec.most)}));
    case ParameterType::choice: {
      const auto index = reader.choice(spec.name, spec.words);
      if (!index) return std::nullopt;
      return ParameterValue(std::string(spec.words[*index]));
    }
    case ParameterType::probability: {
      const auto value = reader.parse(spec.name, parse_number);
      if (value &&
          (*value < std::get<double>(spec.least) || *value > std::get<double>(spec.most))) {
        reader.problems().error(
            reader.where(spec.name), reader.path(spec.name) + " is " + format(*value),
            "it must be from " + format(spec.least) + " to " + format(spec.most));
        return std::nullopt;
      }
      return wrap(value);
    }
  }
  return std::nullopt;
}

}  // namespace

std::string_view to_string(ParameterType type) {
  switch (type) {
    case ParameterType::duration:
      return "duration";
    case ParameterType::probability:
      return "probability";
    case ParameterType::count:
      return "count";
    case ParameterType::choice:
      return "choice";
  }
  return "count";
}

std::string format(const ParameterValue& value) {
  if (const auto* t = std::get_if<Nanoseconds>(&value)) return format_duration(*t);
  if (const auto* n = std::get_if<uint64_t>(&value)) return std::to_string(*n);
  if (const auto* word = std::get_if<std::string>(&value)) return *word;
  char text[32];
  std::snprintf(text, sizeof text, "%g", std::get<double>(value));
  return text;
}

Parameters Parameters::presets(std::span<const ParameterSpec> specs) {
  Parameters parameters;
  for (const auto& spec : specs) {
    parameters.items_.push_back({std::string(spec.name), spec.preset});
  }
  return parameters;
}

Parameters Parameters::read(MapReader& reader, std::span<const ParameterSpec> specs) {
  Parameters parameters = presets(specs);
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].required) reader.need(specs[i].name, format(specs[i].preset));
    if (auto given = read_one(reader, specs[i])) parameters.items_[i].value = std::move(*given);
  }
  return parameters;
}

const ParameterValue& Parameters::value(std::string_view name) const {
  for (const Item& item : items_) {
    if (item.name == name) return item.value;
  }
  assert(false && "no such parameter");
  static const ParameterValue none;
  return none;
}

Nanoseconds Parameters::duration(std::string_view name) const {
  return std::get<Nanoseconds>(value(name));
}
double Parameters::probability(std::string_view name) const {
  return std::get<double>(value(name));
}
uint64_t Parameters::count(std::string_view name) const { return std::get<uint64_t>(value(name)); }
const std::string& Parameters::choice(std::string_view name) const {
  return std::get<std::string>(value(name));
}

void Parameters::set(std::string_view name, ParameterValue new_value) {
  for (Item& item : items_) {
    if (item.name == name) item.value = std::move(new_value);
  }
}

}  // namespace cupel::scenarios
