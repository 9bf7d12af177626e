// Scenarios for tests: out of the library, changed in place, run on the model.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "scenarios/language/scenario.h"
#include "scenarios/runner/runner.h"

namespace cupel::scenarios::testing {

// Paths of the built-in guests; those of the Linux guest are empty when it was never fetched.
GuestAssets guest_assets();

// A scenario of scenarios/library, without ".yaml". Not finding it fails the test.
Scenario library(std::string_view name);
// The small guest on host-a of three hosts, with high availability and all oracles; no faults.
Scenario quiet(Nanoseconds duration);

FaultSpec fault(FaultId kind, std::string target, Nanoseconds at,
                std::optional<Nanoseconds> duration = std::nullopt);

struct RunChoice {
  std::optional<uint64_t> seed = std::nullopt;  // none: the scenario's own
  datastore::PlantedBug planted = datastore::PlantedBug::none;
};
Result<RunResult> try_run(const Scenario& scenario, RunChoice choice = {});
// The run must come to its end.
RunResult run(const Scenario& scenario, RunChoice choice = {});

// Of one oracle; not_judged when the run has none of that name.
Verdict verdict_of(const RunResult& result, std::string_view oracle);
// All violations and details, for messages.
std::string explain(const RunResult& result);
size_t count_events(const RunResult& result, std::string_view source, std::string_view what);
// The first of them, which must exist.
TraceRecord event(const RunResult& result, std::string_view source, std::string_view what);
double figure(const RunResult& result, std::string_view name);

}  // namespace cupel::scenarios::testing
