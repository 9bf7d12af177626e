#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "scenarios/language/scenario_loader.h"

namespace cupel::scenarios {
namespace {

TEST(Library, EveryScenarioLoadsWithoutAWarningAndSaysWhatItShows) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(CUPEL_SCENARIO_LIBRARY)) {
    if (entry.path().extension() != ".yaml") continue;
    std::ifstream in(entry.path());
    const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    const auto loaded = load_scenario(text);
    for (const auto& problem : loaded.problems) {
      ADD_FAILURE() << describe(problem, entry.path().string());
    }
    ASSERT_TRUE(loaded.scenario.has_value()) << entry.path();
    EXPECT_EQ(loaded.scenario->name, entry.path().stem().string());
    EXPECT_FALSE(loaded.scenario->description.empty()) << entry.path();
    EXPECT_TRUE(text.starts_with("# ")) << entry.path();
    EXPECT_NE(text.find("# Shows: "), std::string::npos) << entry.path();
    EXPECT_EQ(loaded.scenario->oracles.size(), oracle_catalogue().size()) << entry.path();
    names.insert(loaded.scenario->name);
  }
  for (const char* name :
       {"host-crash", "host-crash-workload", "nic-loss", "disk-loss", "host-hang", "disk-errors"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

}  // namespace
}  // namespace cupel::scenarios
