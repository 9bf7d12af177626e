#include "scenarios/language/scenario_loader.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include "scenarios/language/sections.h"
#include "scenarios/language/yaml_tree.h"

namespace cupel::scenarios {
namespace {

void read_lists(MapReader& reader, Scenario& scenario, Problems& problems) {
  reader.need("hosts", "[{name: host-a, memory: 2GiB}]");
  for (const auto& [item, path] : reader.list("hosts", kMostHosts)) {
    scenario.hosts.push_back(read_host(*item, path, problems));
  }
  reader.need("vms", "[{name: web, host: host-a, guest: workload}]");
  for (const auto& [item, path] : reader.list("vms", kMostVms)) {
    scenario.vms.push_back(read_vm(*item, path, problems));
  }
  for (const auto& [item, path] : reader.list("faults", kMostFaults)) {
    if (auto fault = read_fault(*item, path, problems)) {
      scenario.faults.push_back(std::move(*fault));
    }
  }
  for (const auto& [item, path] : reader.list("oracles", 16)) {
    if (auto oracle = read_oracle(*item, path, problems)) {
      scenario.oracles.push_back(std::move(*oracle));
    }
  }
}

bool read_expectation(const YamlNode& node, Problems& problems) {
  static constexpr std::string_view kVerdicts[] = {"pass", "fail"};
  MapReader reader(node, "expect", problems);
  const auto verdict = reader.choice("verdict", kVerdicts);
  reader.finish();
  return verdict.value_or(0) == 0;
}

Scenario read_scenario(const YamlNode& root, Problems& problems) {
  MapReader reader(root, "", problems);
  Scenario scenario;
  scenario.name = reader.name("host-crash");
  scenario.description = reader.text("description").value_or("");
  reader.need("duration", "60s");
  scenario.duration = reader.duration("duration", {1_ms, kLongestRun}).value_or(0_ns);
  scenario.seed = reader.parse("seed", parse_unsigned).value_or(scenario.seed);
  if (const auto* node = reader.find("network")) read_network(*node, scenario, problems);
  if (const auto* node = reader.find("storage")) read_storage(*node, scenario, problems);
  if (const auto* node = reader.find("ha")) scenario.ha = read_ha(*node, problems);
  read_lists(reader, scenario, problems);
  if (const auto* node = reader.find("expect")) {
    scenario.expect_pass = read_expectation(*node, problems);
  }
  reader.finish();
  return scenario;
}

// At most one byte more than a scenario may have, so that a huge file costs nothing.
Result<std::string> read_file(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return fail(ErrorKind::bad_input, path + " is a directory", "name a scenario file");
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return fail(ErrorKind::bad_input, "cannot open " + path, "check the name and its permissions");
  }
  std::string text(YamlLimits{}.bytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

}  // namespace

LoadedScenario load_scenario(std::string_view text) {
  auto root = parse_yaml(text);
  if (!root) return {std::nullopt, {root.error()}};
  Problems problems;
  if (root.value()->kind != YamlNode::Kind::map) {
    problems.error(
        root.value()->where,
        "a scenario is a mapping, but this is " + std::string(to_string(root.value()->kind)),
        "start from one in scenarios/library");
    return {std::nullopt, problems.take()};
  }
  Scenario scenario = read_scenario(*root.value(), problems);
  check_scenario(scenario, problems);
  const bool usable = !problems.has_errors();
  LoadedScenario loaded{std::nullopt, problems.take()};
  if (usable) loaded.scenario = std::move(scenario);
  return loaded;
}

Result<Scenario> load_scenario_file(const std::string& path) {
  auto text = read_file(path);
  if (!text) return std::move(text).failure();
  auto loaded = load_scenario(text.value());
  if (loaded.scenario) return std::move(*loaded.scenario);
  std::string message;
  for (const Problem& problem : loaded.problems) {
    message += (message.empty() ? "" : "\n") + describe(problem, path);
  }
  return fail(ErrorKind::bad_input, message);
}

}  // namespace cupel::scenarios
