// Every property a scenario can have judged, as typed data.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "scenarios/language/parameters.h"

namespace cupel::scenarios {

enum class OracleId : uint8_t {
  no_acknowledged_write_lost,
  single_instance,
  recovery_within,
};

// Safety must hold under any faults. Liveness is judged only while the faults stay inside what the
// design promises to survive.
enum class PropertyClass : uint8_t { safety, liveness };
std::string_view to_string(PropertyClass property);

struct OracleKind {
  OracleId id = OracleId::no_acknowledged_write_lost;
  std::string_view name;
  PropertyClass property = PropertyClass::safety;
  std::vector<ParameterSpec> parameters;
  std::string_view claim;    // what holds when the verdict is PASS
  std::string_view watches;  // what it is told
};

std::span<const OracleKind> oracle_catalogue();
const OracleKind& oracle_kind(OracleId id);
const OracleKind* find_oracle_kind(std::string_view name);

}  // namespace cupel::scenarios
