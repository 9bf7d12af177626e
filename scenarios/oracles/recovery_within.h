// Oracle: a VM that goes down answers again within a bound.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"
#include "scenarios/oracles/verdict.h"

namespace cupel::scenarios {

struct Outage {
  std::string vm;
  Nanoseconds down;
  std::optional<Nanoseconds> up;  // none: still down when the run ended
  bool judged = true;             // false: faults beyond what the design survives
};

// Liveness, so judged only while the faults stay inside what the design promises to survive: an
// outage during which that was left is listed, but fails nothing. One that is still open when the
// run ends fails only when the bound had passed by then.
class RecoveryWithin {
 public:
  explicit RecoveryWithin(Nanoseconds bound) : bound_(bound) {}

  // The VM can no longer answer. A second report of the same outage is ignored.
  void down(std::string_view vm, Nanoseconds at);
  // It answered.
  void answering(std::string_view vm, Nanoseconds at);
  // From now on, until within_tolerance(), more is broken than the design survives.
  void beyond_tolerance(std::string why);
  void within_tolerance();
  void run_ended(Nanoseconds at);

  const std::vector<Outage>& outages() const { return outages_; }
  // The longest one, open ones counted up to the end of the run. Zero without outages.
  Nanoseconds longest() const { return longest_; }
  OracleReport report() const;

 private:
  void close(size_t index, Nanoseconds at, bool recovered);

  const Nanoseconds bound_;
  std::vector<Outage> outages_;
  std::map<std::string, size_t, std::less<>> open_;  // VM -> index of its outage
  bool tolerable_ = true;
  std::string why_not_;
  Nanoseconds longest_;
  uint64_t undecided_ = 0;
  Violations violations_;
};

}  // namespace cupel::scenarios
