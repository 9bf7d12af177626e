// Bugs that can be switched on deliberately, to show that the oracles catch each of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace cupel::datastore {

enum class PlantedBug : uint8_t {
  none,
  break_lease_early,  // a lease is taken for dead after a quarter of its duration, alive owner or
                      // not
  skip_fencing,       // the old owner's registration is left alone at a take-over
  ack_before_flush,   // a VM's disk acknowledges writes and flushes from the host's memory
  no_restart,         // a VM whose host died stays dead
};

constexpr std::string_view to_string(PlantedBug bug) {
  switch (bug) {
    case PlantedBug::none:
      return "none";
    case PlantedBug::break_lease_early:
      return "break_lease_early";
    case PlantedBug::skip_fencing:
      return "skip_fencing";
    case PlantedBug::ack_before_flush:
      return "ack_before_flush";
    case PlantedBug::no_restart:
      return "no_restart";
  }
  return "unknown";
}

constexpr std::optional<PlantedBug> planted_bug_from(std::string_view name) {
  for (auto bug : {PlantedBug::none, PlantedBug::break_lease_early, PlantedBug::skip_fencing,
                   PlantedBug::ack_before_flush, PlantedBug::no_restart}) {
    if (to_string(bug) == name) return bug;
  }
  return std::nullopt;
}

}  // namespace cupel::datastore
