// The events a run reports, by which the timeline and the reports find their way. A trace may
// record more kinds; these have a meaning outside of the run.
#pragma once

#include <string_view>

// source: who reports it; detail: as said. The words in a detail are separated by one space.
namespace cupel::scenarios::events {

inline constexpr std::string_view kVmStarted = "vm.started";      // vm/NAME; "host-a"
inline constexpr std::string_view kVmAnswering = "vm.answering";  // vm/NAME; its workload is up
inline constexpr std::string_view kVmDown = "vm.down";            // vm/NAME; why
inline constexpr std::string_view kVmStopped = "vm.stopped";      // vm/NAME; "host-a why"
inline constexpr std::string_view kHostBooting = "host.booting";  // HOST
inline constexpr std::string_view kHostBooted = "host.booted";    // HOST; its software runs
inline constexpr std::string_view kHostReset = "host.reset";      // HOST; why ("watchdog")
inline constexpr std::string_view kHostDead = "ha.host_dead";     // "cluster"; "host-a"
inline constexpr std::string_view kRestart = "ha.restart";        // HOST; "vm NAME, epoch 2"
// "fault." + the name of the kind begins it: source is its target ("host-a", "host-a/nic0",
// "disk/shared"), detail its parameters.
inline constexpr std::string_view kFaultPrefix = "fault.";
inline constexpr std::string_view kFaultEnd = "fault.end";          // its target; the kind's name
inline constexpr std::string_view kViolation = "oracle.violation";  // oracle/KIND; what was found

}  // namespace cupel::scenarios::events
