// The parts of a scenario file, each read from its mapping. Internal to the loader.
#pragma once

#include "scenarios/language/map_reader.h"
#include "scenarios/language/scenario.h"

namespace cupel::scenarios {

// What no scenario needs more of.
inline constexpr size_t kMostHosts = 64;
inline constexpr size_t kMostVms = 64;  // places on a datastore
inline constexpr size_t kMostDisks = 64;
inline constexpr size_t kMostFaults = 1000;
inline constexpr Nanoseconds kLongestRun = Nanoseconds(86'400'000'000'000);
inline constexpr uint64_t kLeastVmMemory = 16_MiB;
inline constexpr uint64_t kMostVmMemory = 3584_MiB;  // RAM ends below the PCI window
inline constexpr uint64_t kMostMemory = 1024_GiB;

HostSpec read_host(const YamlNode& node, const std::string& path, Problems& problems);
void read_network(const YamlNode& node, Scenario& scenario, Problems& problems);
void read_storage(const YamlNode& node, Scenario& scenario, Problems& problems);
VmSpec read_vm(const YamlNode& node, const std::string& path, Problems& problems);
HaSpec read_ha(const YamlNode& node, Problems& problems);
std::optional<FaultSpec> read_fault(const YamlNode& node, const std::string& path,
                                    Problems& problems);
std::optional<OracleSpec> read_oracle(const YamlNode& node, const std::string& path,
                                      Problems& problems);

// Everything that joins two parts: references, duplicates, times, memory.
void check_scenario(const Scenario& scenario, Problems& problems);

}  // namespace cupel::scenarios
