// From the text of a scenario file to a checked Scenario.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "scenarios/language/problem.h"
#include "scenarios/language/scenario.h"

namespace cupel::scenarios {

struct LoadedScenario {
  std::optional<Scenario> scenario;  // none when a problem is an error
  std::vector<Problem> problems;     // all that were found, by place
};

// Never throws. What can be known from the text alone has been checked: names, references, ranges,
// times, memory of hosts. Files that a guest names are not opened.
LoadedScenario load_scenario(std::string_view text);

// Reads the file (bad_input when that fails). Errors come back as one Error whose message is the
// list of problems with file:line:column.
Result<Scenario> load_scenario_file(const std::string& path);

}  // namespace cupel::scenarios
