// Faults and oracles: the sections whose keys come out of the catalogues.
#include "scenarios/language/sections.h"

namespace cupel::scenarios {
namespace {

template <class Kind>
std::vector<std::string_view> names(std::span<const Kind> catalogue) {
  std::vector<std::string_view> all;
  for (const Kind& kind : catalogue) all.push_back(kind.name);
  return all;
}

// "12s", or "10s..14s" for an instant drawn from the seed.
Parsed<TimeWindow> parse_window(std::string_view text) {
  const size_t dots = text.find("..");
  auto earliest = parse_duration(text.substr(0, dots));
  if (!earliest) return std::move(earliest).failure();
  if (dots == std::string_view::npos) return TimeWindow{earliest.value(), earliest.value()};
  auto latest = parse_duration(text.substr(dots + 2));
  if (!latest) return std::move(latest).failure();
  if (latest.value() < earliest.value()) {
    return Failure(UnitError{"ends before it begins", "write the earlier time first: 10s..14s"});
  }
  return TimeWindow{earliest.value(), latest.value()};
}

std::optional<TimeWindow> read_time(MapReader& reader) {
  reader.need("at", "12s");
  const auto at = reader.parse("at", parse_window);
  if (at && at->earliest < 0_ns) {
    reader.problems().error(reader.where("at"),
                            reader.path("at") + " is " + format_duration(at->earliest) +
                                ": a fault cannot be before the run begins",
                            "times count from 0, the start of the run");
    return std::nullopt;
  }
  return at;
}

// Parameters stand in their own mapping; without one, the presets hold.
Parameters read_parameters(MapReader& owner, std::span<const ParameterSpec> specs) {
  static const YamlNode kNothing{YamlNode::Kind::map, {}, {}, {}, {}, 1};
  const YamlNode* node = owner.find("parameters");
  YamlNode empty = kNothing;
  empty.where = owner.where();
  MapReader reader(node != nullptr ? *node : empty, owner.path("parameters"), owner.problems());
  auto parameters = Parameters::read(reader, specs);
  reader.finish();
  return parameters;
}

}  // namespace

std::optional<FaultSpec> read_fault(const YamlNode& node, const std::string& path,
                                    Problems& problems) {
  MapReader reader(node, path, problems);
  FaultSpec fault;
  fault.where = reader.where();
  const auto at = read_time(reader);
  const auto kinds = names(fault_catalogue());
  reader.need("kind", "host.power_loss");
  const auto kind = reader.choice("kind", kinds);
  reader.need("target", "host-a");
  fault.target = reader.text("target").value_or("");
  fault.duration = reader.duration("duration", {1_ns, kLongestRun});
  if (kind) {
    fault.kind = fault_catalogue()[*kind].id;
    fault.parameters = read_parameters(reader, fault_kind(fault.kind).parameters);
  } else {
    reader.find("parameters");
  }
  reader.finish();
  if (!at || !kind || fault.target.empty()) return std::nullopt;
  fault.at = *at;
  return fault;
}

std::optional<OracleSpec> read_oracle(const YamlNode& node, const std::string& path,
                                      Problems& problems) {
  const auto kinds = names(oracle_catalogue());
  // "- single_instance" is short for "- kind: single_instance".
  YamlNode map{YamlNode::Kind::map, node.where, {}, {}, {}, 1};
  if (node.kind == YamlNode::Kind::scalar) {
    map.entries.push_back({node.where, "kind", std::make_shared<YamlNode>(node)});
  }
  MapReader reader(node.kind == YamlNode::Kind::scalar ? map : node, path, problems);
  reader.need("kind", "single_instance");
  const auto kind = reader.choice("kind", kinds);
  OracleSpec oracle;
  oracle.where = node.where;
  if (kind) {
    oracle.kind = oracle_catalogue()[*kind].id;
    oracle.parameters = read_parameters(reader, oracle_kind(oracle.kind).parameters);
  } else {
    reader.find("parameters");
  }
  reader.finish();
  if (!kind) return std::nullopt;
  return oracle;
}

}  // namespace cupel::scenarios
