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
  bool judged = true;             // false: not promised, or faults beyond the design
  bool promised = true;           // false: nobody promised to restart this VM
  Nanoseconds since;              // from when on the bound counts
};

// Liveness, so judged only while the faults stay inside what the design promises to survive: an
// outage during which that was left is listed, but fails nothing when the VM answers again before
// the promise holds again; from then on the bound counts anew. An outage that is still open when
// the run ends fails only when the bound had passed by then. So does a VM that never answered.
class RecoveryWithin {
 public:
  explicit RecoveryWithin(Nanoseconds bound) : bound_(bound) {}

  // The VM was started. Until its first answer it counts as on its way up, not as down.
  void started(std::string_view vm, Nanoseconds at);
  // The VM can no longer answer. A second report of the same outage is ignored.
  // Nothing was promised for a VM without high availability.
  void down(std::string_view vm, Nanoseconds at, bool promised = true);
  // It answered.
  void answering(std::string_view vm, Nanoseconds at);
  // From now on, until within_tolerance(), more is broken than the design survives.
  void beyond_tolerance(std::string why);
  void within_tolerance(Nanoseconds at);
  void run_ended(Nanoseconds at);

  const std::vector<Outage>& outages() const { return outages_; }
  // The longest one, open ones counted up to the end of the run. Zero without outages.
  Nanoseconds longest() const { return longest_; }
  OracleReport report() const;

 private:
  void close(size_t index, Nanoseconds at, bool recovered);
  void judge_first_answer(const std::string& vm, Nanoseconds started, Nanoseconds ended);

  const Nanoseconds bound_;
  std::vector<Outage> outages_;
  std::map<std::string, size_t, std::less<>> open_;  // VM -> index of its outage
  std::map<std::string, std::optional<Nanoseconds>, std::less<>> first_start_;  // none: answered
  bool tolerable_ = true;
  std::string why_not_;
  Nanoseconds longest_;
  uint64_t undecided_ = 0;
  Violations violations_;
};

}  // namespace cupel::scenarios
