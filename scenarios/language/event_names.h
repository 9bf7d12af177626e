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
inline constexpr std::string_view kHostUp = "host.up";            // HOST; after a power loss
inline constexpr std::string_view kHostDead = "ha.host_dead";     // the detecting host; "host-a"
inline constexpr std::string_view kRestart = "ha.restart";        // vm/NAME; "host-b"
inline constexpr std::string_view kWatchdog = "ha.watchdog";      // the host that fences itself
// "fault." + the name of the kind begins it: source is its target, detail its parameters.
inline constexpr std::string_view kFaultPrefix = "fault.";
inline constexpr std::string_view kFaultEnd = "fault.end";          // its target; the kind's name
inline constexpr std::string_view kViolation = "oracle.violation";  // oracle/KIND; what was found

}  // namespace cupel::scenarios::events
