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

ParameterSpec delay_of_request() {
  return {.name = "delay",
          .type = ParameterType::duration,
          .required = true,
          .preset = 1_s,
          .least = 1_us,
          .most = 3600_s,
          .words = {},
          .what = "how much longer each request takes to reach the disk"};
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
       "The host is powered on again and boots empty, which takes a minute; without a duration it "
       "stays off.",
       "Host failures per cluster and year: Schroeder and Gibson, DSN 2006"},
      {FaultId::host_hang,
       "host.hang",
       TargetKind::host,
       {},
       "All processors of the host stop; its memory and links stay up and its disks go on with "
       "what "
       "they were asked, but it answers nothing. Its hardware watchdog goes on counting, and "
       "resets "
       "the host if it was armed and runs out.",
       "The processors go on where they stopped, unless the host was reset meanwhile; without a "
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
       "Requests that reach the disk fail with io_error, and failed writes have no effect.",
       "Requests succeed again; without a duration they fail until the end of the run.",
       "Latent sector errors: Bairavasundaram et al., SIGMETRICS 2007"},
      {FaultId::disk_loss,
       "disk.loss",
       TargetKind::disk,
       {},
       "The disk disappears for all hosts: requests in flight and new ones end with device_lost, "
       "and writes that only its volatile cache held may be lost.",
       "The disk comes back with what was durable, and the first flush of each host fails if other "
       "writes may be gone; without a duration it is gone for good.",
       "Annual replacement rates of disks: Schroeder and Gibson, FAST 2007"},
      {FaultId::host_path_delay,
       "host.path_delay",
       TargetKind::host,
       {delay_of_request()},
       "Requests that the host issues to the shared disk stay in the fabric for the delay before "
       "they reach the disk; none is lost.",
       "New requests arrive at once again; those on their way keep their delay.",
       "Delayed requests after a lease has expired: Burrows, OSDI 2006, section 2.4"},
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
