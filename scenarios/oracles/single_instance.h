// Oracle: never two running instances of one VM.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"
#include "scenarios/oracles/verdict.h"

namespace cupel::scenarios {

// The newest instance owns the VM: from the virtual time it was started, no older one may execute
// an instruction, whether the newer happens to execute at that time, idles, or has stopped again
// (what an older one does then, it does with memory that its disk has left behind). An instance
// that was stopped never executes either. A hung or paused instance is no violation as long as it
// does not execute.
//
// Slices may be reported before or after a start that lies in the middle of them: processors run
// ahead of the event queue by one slice.
class SingleInstance {
 public:
  using InstanceId = uint64_t;

  // From `at` on the instance may execute.
  InstanceId started(std::string_view vm, std::string_view host, Nanoseconds at);
  // Ends it: powered off, fenced, or its host lost power.
  void stopped(InstanceId instance, Nanoseconds at);
  // The instance executed in [from, to).
  void executed(InstanceId instance, Nanoseconds from, Nanoseconds to);

  uint64_t instances() const { return instances_.size(); }
  OracleReport report() const;

 private:
  struct Instance {
    std::string vm;
    std::string host;
    Nanoseconds started;
    Nanoseconds stopped = Nanoseconds::max();
    Nanoseconds superseded = Nanoseconds::max();  // when a newer one was started
    std::string superseded_on;
    Nanoseconds last_executed{-1};  // end of the last slice
    bool reported = false;
  };
  void judge(Instance& instance, Nanoseconds to);

  std::vector<Instance> instances_;  // index = id
  std::map<std::string, InstanceId, std::less<>> newest_;
  Violations violations_;
};

}  // namespace cupel::scenarios
