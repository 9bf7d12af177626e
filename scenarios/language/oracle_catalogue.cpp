#include "scenarios/language/oracle_catalogue.h"

namespace cupel::scenarios {
namespace {

ParameterSpec recovery_bound() {
  return {.name = "bound",
          .type = ParameterType::duration,
          .required = true,
          .preset = 30_s,
          .least = 1_ms,
          .most = 3600_s,
          .words = {},
          .what =
              "the longest outage of a VM, from the last instant it could answer to its next "
              "answer, in virtual time"};
}

std::vector<OracleKind> make_catalogue() {
  return {
      {OracleId::no_acknowledged_write_lost,
       "no_acknowledged_write_lost",
       PropertyClass::safety,
       {},
       "Every sector holds the last value whose write and flush were reported as done, or one that "
       "was written later; nothing else is ever read.",
       "each read, write and flush of each VM's disk, host crashes, and the disk at the end"},
      {OracleId::single_instance,
       "single_instance",
       PropertyClass::safety,
       {},
       "Once a VM has been started anew, no older instance of it executes another instruction.",
       "starts and stops of VM instances, and the virtual time each spends executing"},
      {OracleId::recovery_within,
       "recovery_within",
       PropertyClass::liveness,
       {recovery_bound()},
       "A VM that goes down under faults the design promises to survive answers again within the "
       "bound.",
       "when a VM stops answering and when it answers again, and which faults are in force"},
  };
}

}  // namespace

std::string_view to_string(PropertyClass property) {
  return property == PropertyClass::safety ? "safety" : "liveness";
}

std::span<const OracleKind> oracle_catalogue() {
  static const std::vector<OracleKind> catalogue = make_catalogue();
  return catalogue;
}

const OracleKind& oracle_kind(OracleId id) { return oracle_catalogue()[static_cast<size_t>(id)]; }

const OracleKind* find_oracle_kind(std::string_view name) {
  for (const OracleKind& kind : oracle_catalogue()) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

}  // namespace cupel::scenarios
