// Every kind of fault a scenario can inject, as typed data.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "scenarios/language/parameters.h"

namespace cupel::scenarios {

enum class FaultId : uint8_t {
  host_power_loss,
  host_hang,
  nic_link_down,
  disk_io_errors,
  disk_loss,
  host_path_delay,
};

enum class TargetKind : uint8_t {
  host,  // "host-a"
  nic,   // "host-a/nic0"
  disk,  // "shared"
};
std::string_view to_string(TargetKind kind);

struct FaultKind {
  FaultId id = FaultId::host_power_loss;
  std::string_view name;  // "host.power_loss"
  TargetKind target = TargetKind::host;
  std::vector<ParameterSpec> parameters;
  std::string_view contract;   // what happens to whom, in one sentence
  std::string_view after_end;  // what happens when the fault's duration is over
  std::string_view source;     // why this kind: where such failures are described
};

// Injection goes through the hardware models only; a kind says what the model does, never what the
// hypervisor should make of it.
std::span<const FaultKind> fault_catalogue();
const FaultKind& fault_kind(FaultId id);
const FaultKind* find_fault_kind(std::string_view name);

}  // namespace cupel::scenarios
