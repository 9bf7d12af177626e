#include <gtest/gtest.h>

#include <set>

#include "scenarios/language/fault_catalogue.h"
#include "scenarios/language/oracle_catalogue.h"

namespace cupel::scenarios {
namespace {

void check_parameters(const std::vector<ParameterSpec>& specs) {
  for (const auto& spec : specs) {
    EXPECT_FALSE(spec.what.empty()) << spec.name;
    if (spec.type == ParameterType::choice) {
      EXPECT_FALSE(spec.words.empty()) << spec.name;
      continue;
    }
    EXPECT_EQ(spec.preset.index(), spec.least.index()) << spec.name;
    EXPECT_EQ(spec.preset.index(), spec.most.index()) << spec.name;
    EXPECT_LE(spec.least, spec.preset) << spec.name;
    EXPECT_LE(spec.preset, spec.most) << spec.name;
  }
}

TEST(Catalogue, EveryFaultKindIsCompleteAndFoundByIdAndName) {
  std::set<std::string_view> names;
  for (const FaultKind& kind : fault_catalogue()) {
    EXPECT_TRUE(names.insert(kind.name).second) << kind.name;
    EXPECT_EQ(&fault_kind(kind.id), &kind);
    EXPECT_EQ(find_fault_kind(kind.name), &kind);
    EXPECT_TRUE(kind.name.starts_with(to_string(kind.target))) << kind.name;
    EXPECT_FALSE(kind.contract.empty());
    EXPECT_FALSE(kind.after_end.empty());
    EXPECT_FALSE(kind.source.empty());
    check_parameters(kind.parameters);
  }
  EXPECT_EQ(find_fault_kind("host.dance"), nullptr);
}

TEST(Catalogue, EveryOracleIsCompleteAndFoundByIdAndName) {
  for (const OracleKind& kind : oracle_catalogue()) {
    EXPECT_EQ(&oracle_kind(kind.id), &kind);
    EXPECT_EQ(find_oracle_kind(kind.name), &kind);
    EXPECT_FALSE(kind.claim.empty());
    EXPECT_FALSE(kind.watches.empty());
    check_parameters(kind.parameters);
  }
}

TEST(Catalogue, PresetsNeedNoFile) {
  const auto p = Parameters::presets(fault_kind(FaultId::disk_io_errors).parameters);
  EXPECT_EQ(p.probability("probability"), 1.0);
  EXPECT_EQ(p.choice("operation"), "all");
}

}  // namespace
}  // namespace cupel::scenarios
