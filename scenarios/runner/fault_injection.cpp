// Faults on time, through the hardware models only.

#include <algorithm>

#include "scenarios/language/event_names.h"
#include "scenarios/runner/runner.h"

namespace cupel::scenarios {
namespace {

std::string source_of(const FaultSpec& fault) {
  return (fault_kind(fault.kind).target == TargetKind::disk ? "disk/" : "") + fault.target;
}

std::string detail_of(const FaultSpec& fault) {
  std::string text = fault.duration ? "for " + format_duration(*fault.duration) : "for good";
  for (const auto& item : fault.parameters.items())
    text += ", " + item.name + " " + format(item.value);
  return text;
}

}  // namespace

void Runner::schedule_faults() {
  size_t number = 0;
  for (const FaultSpec& fault : scenario_.faults) {
    RandomStream when = random_.stream("fault/" + std::to_string(number++));
    const auto at =
        static_cast<int64_t>(when.uniform(static_cast<uint64_t>(fault.at.earliest.count()),
                                          static_cast<uint64_t>(fault.at.latest.count())));
    queue_.at(Nanoseconds(at), [this, &fault] { inject(fault); });
  }
}

SimHost& Runner::host(std::string_view name) {
  const auto at = std::ranges::find_if(hosts_, [&](auto& h) { return h->spec().name == name; });
  return **at;  // targets were checked when the scenario was read
}

void Runner::inject(const FaultSpec& fault) {
  if (!first_fault_) first_fault_ = clock_.now();
  const std::string_view kind = fault_kind(fault.kind).name;
  trace_.record(source_of(fault), std::string(events::kFaultPrefix) + std::string(kind),
                detail_of(fault));
  apply(fault);
  update_tolerance();
  if (!fault.duration) return;
  queue_.after(*fault.duration, [this, &fault, kind] {
    trace_.record(source_of(fault), events::kFaultEnd, kind);
    update_tolerance();
  });
}

void Runner::apply(const FaultSpec& fault) {
  const Nanoseconds duration = fault.duration.value_or(Nanoseconds::max());
  const Nanoseconds until = fault.duration ? clock_.now() + duration : Nanoseconds::max();
  switch (fault.kind) {
    case FaultId::host_power_loss:
      return host(fault.target).hardware().power_loss(duration);
    case FaultId::host_hang:
      return host(fault.target).hardware().hang(duration);
    case FaultId::nic_link_down: {
      const NicRef nic = find_nic(scenario_, fault.target);
      const auto index = static_cast<size_t>(nic.nic - nic.host->nics.data());
      return host(nic.host->name).hardware().nic_link_down(index, duration);
    }
    case FaultId::disk_io_errors:
      return fail_requests(fault, until);
    case FaultId::disk_loss:
      return lun_->lose_device(duration);
    case FaultId::host_path_delay:
      if (auto* port = lun_ ? lun_->port(host(fault.target).hardware().id()) : nullptr)
        port->delay_path(fault.parameters.duration("delay"), until);
      return;
  }
}

void Runner::fail_requests(const FaultSpec& fault, Nanoseconds until) {
  storage::IoErrorRule rule;
  rule.until = until;
  rule.probability = fault.parameters.probability("probability");
  const std::string& operation = fault.parameters.choice("operation");
  const bool all = operation == "all";
  rule.reads = all || operation == "read";
  rule.writes = all || operation == "write";
  rule.flushes = all || operation == "flush";
  lun_->faults().add(rule);
  if (rule.probability >= 1.0) disk_useless_until_ = std::max(disk_useless_until_, until);
}

// What no cluster on one shared disk can survive; liveness is not asked for meanwhile.
std::string Runner::beyond_the_design() const {
  if (lun_ && lun_->lost()) return "the only shared disk was lost";
  if (clock_.now() < disk_useless_until_) return "requests to the only shared disk always failed";
  const auto runs = [](const auto& h) { return h->hardware().running(); };
  if (std::ranges::none_of(hosts_, runs)) return "no host was running";
  return {};
}

void Runner::update_tolerance() {
  if (!recovery_) return;
  if (const std::string why = beyond_the_design(); !why.empty()) {
    recovery_->beyond_tolerance(why);
  } else {
    recovery_->within_tolerance(clock_.now());
  }
}

}  // namespace cupel::scenarios
