#include "tests/scenarios/scenario_rig.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "scenarios/language/scenario_loader.h"

namespace cupel::scenarios::testing {
namespace {

std::string if_exists(const std::string& path) {
  return std::filesystem::exists(path) ? path : std::string();
}

}  // namespace

GuestAssets guest_assets() {
  const std::string linux = CUPEL_LINUX_CACHE;
  return {if_exists(linux + "/vmlinuz"), if_exists(linux + "/initramfs.cpio.gz"),
          CUPEL_WORKLOAD_GUEST_FILE};
}

Scenario library(std::string_view name) {
  auto loaded =
      load_scenario_file(std::string(CUPEL_SCENARIO_LIBRARY) + '/' + std::string(name) + ".yaml");
  EXPECT_TRUE(loaded.ok()) << (loaded.ok() ? "" : describe(loaded.error()));
  return loaded.ok() ? std::move(loaded).value() : Scenario();
}

Scenario quiet(Nanoseconds duration) {
  Scenario scenario = library("host-crash-workload");
  scenario.name = "test";
  scenario.duration = duration;
  scenario.faults.clear();
  return scenario;
}

FaultSpec fault(FaultId kind, std::string target, Nanoseconds at,
                std::optional<Nanoseconds> duration) {
  FaultSpec spec;
  spec.at = {at, at};
  spec.kind = kind;
  spec.target = std::move(target);
  spec.duration = duration;
  spec.parameters = Parameters::presets(fault_kind(kind).parameters);
  return spec;
}

Result<RunResult> try_run(const Scenario& scenario, RunChoice choice) {
  RunOptions options;
  options.seed = choice.seed.value_or(scenario.seed);
  options.assets = guest_assets();
  options.planted = choice.planted;
  Runner runner(scenario, std::move(options));
  return runner.run();
}

RunResult run(const Scenario& scenario, RunChoice choice) {
  auto result = try_run(scenario, choice);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : describe(result.error()));
  return result.ok() ? std::move(result).value() : RunResult();
}

Verdict verdict_of(const RunResult& result, std::string_view oracle) {
  const auto at = std::ranges::find(result.oracles, oracle, &OracleReport::oracle);
  return at == result.oracles.end() ? Verdict::not_judged : at->verdict;
}

std::string explain(const RunResult& result) {
  std::string text;
  for (const auto& report : result.oracles) {
    text += report.oracle + ": " + std::string(to_string(report.verdict)) + ", " + report.detail;
    for (const auto& violation : report.violations) text += "\n  " + violation.text;
    text += '\n';
  }
  return text;
}

size_t count_events(const RunResult& result, std::string_view source, std::string_view what) {
  return static_cast<size_t>(std::ranges::count_if(
      result.events, [&](const auto& e) { return e.source == source && e.what == what; }));
}

TraceRecord event(const RunResult& result, std::string_view source, std::string_view what) {
  const auto at = std::ranges::find_if(
      result.events, [&](const auto& e) { return e.source == source && e.what == what; });
  EXPECT_NE(at, result.events.end()) << "no " << what << " of " << source;
  return at == result.events.end() ? TraceRecord() : *at;
}

double figure(const RunResult& result, std::string_view name) {
  for (const auto& [known, value] : result.figures)
    if (known == name) return value;
  ADD_FAILURE() << "no figure " << name;
  return 0;
}

}  // namespace cupel::scenarios::testing
