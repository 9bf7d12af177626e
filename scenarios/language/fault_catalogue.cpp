#include "scenarios/language/fault_catalogue.h"

namespace cupel::scenarios {
namespace {

ParameterSpec probability_of_error() {
  return {.name = "probability",
          .type = ParameterType::probability,
          .preset = 1.0,
          .least = 0.0,
          .most = 1.0,
          .words = {},
          .what = "share of the requests that fail, each drawn from the seed"};
}

ParameterSpec affected_operation() {
  return {.name = "operation",
          .type = ParameterType::choice,
          .preset = std::string("all"),
          .least = {},
          .most = {},
          .words = {"all", "read", "write", "flush"},
          .what = "which requests can fail"};
}

std::vector<FaultKind> make_catalogue() {
  return {
      {FaultId::host_power_loss,
       "host.power_loss",
       TargetKind::host,
       {},
       "The host stops between two instructions: its processors, memory and requests that have not "
       "reached a disk are gone; what a shared disk has already taken stays with the disk.",
       "The host is powered on again and boots empty; without a duration it stays off.",
       "Host failures per cluster and year: Schroeder and Gibson, DSN 2006"},
      {FaultId::host_hang,
       "host.hang",
       TargetKind::host,
       {},
       "All processors of the host stop; its memory and links stay up, it answers nothing, and its "
       "watchdog does not run either.",
       "The processors go on where they stopped, believing that no time has passed; without a "
       "duration they never do.",
       "Fail-slow and hang reports: Gunawi et al., FAST 2018"},
      {FaultId::nic_link_down,
       "nic.link_down",
       TargetKind::nic,
       {},
       "The link of the NIC goes down at both ends: frames in flight and frames sent are lost, and "
       "both ends see the link state change.",
       "The link comes up again; without a duration it stays down.",
       "Link and port failures: Gill, Jain and Nagappan, SIGCOMM 2011"},
      {FaultId::disk_io_errors,
       "disk.io_errors",
       TargetKind::disk,
       {probability_of_error(), affected_operation()},
       "Requests that reach the disk fail with io_error, and a failed write leaves each of its "
       "sectors either old or new.",
       "Requests succeed again; without a duration they fail until the end of the run.",
       "Latent sector errors: Bairavasundaram et al., SIGMETRICS 2007"},
      {FaultId::disk_loss,
       "disk.loss",
       TargetKind::disk,
       {},
       "The disk disappears for all hosts: requests in flight and new ones end with device_lost, "
       "and writes in its volatile cache are lost.",
       "The disk comes back with what was durable; without a duration it is gone for good.",
       "Annual replacement rates of disks: Schroeder and Gibson, FAST 2007"},
  };
}

}  // namespace

std::string_view to_string(TargetKind kind) {
  switch (kind) {
    case TargetKind::host:
      return "host";
    case TargetKind::nic:
      return "nic";
    case TargetKind::disk:
      return "disk";
  }
  return "host";
}

std::span<const FaultKind> fault_catalogue() {
  static const std::vector<FaultKind> catalogue = make_catalogue();
  return catalogue;
}

const FaultKind& fault_kind(FaultId id) { return fault_catalogue()[static_cast<size_t>(id)]; }

const FaultKind* find_fault_kind(std::string_view name) {
  for (const FaultKind& kind : fault_catalogue()) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

}  // namespace cupel::scenarios
