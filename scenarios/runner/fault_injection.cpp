// Faults on time, through the hardware models only.

#include "scenarios/runner/runner.h"

namespace cupel::scenarios {

void Runner::schedule_faults() {
  size_t number = 0;
  for (const FaultSpec& fault : scenario_.faults) {
    RandomStream when = random_.stream("fault/" + std::to_string(number++));
    const auto at = static_cast<int64_t>(
        when.uniform(static_cast<uint64_t>(fault.at.earliest.count()),
                     static_cast<uint64_t>(fault.at.latest.count())));
    queue_.at(Nanoseconds(at), [this, &fault] { inject(fault); });
  }
}

SimHost* Runner::host(std::string_view name) {
  for (auto& h : hosts_)
    if (h->spec().name == name) return h.get();
  return nullptr;
}

void Runner::inject(const FaultSpec& fault) {
  if (!first_fault_) first_fault_ = clock_.now();
  const Nanoseconds duration = fault.duration.value_or(Nanoseconds::max());
  const Nanoseconds until = fault.duration ? clock_.now() + duration : Nanoseconds::max();
  switch (fault.kind) {
    case FaultId::host_power_loss: host(fault.target)->hardware().power_loss(duration); break;
    case FaultId::host_hang: host(fault.target)->hardware().hang(duration); break;
    case FaultId::nic_link_down: {
      const NicRef nic = find_nic(scenario_, fault.target);
      const auto index = static_cast<size_t>(nic.nic - nic.host->nics.data());
      host(nic.host->name)->hardware().nic_link_down(index, duration);
      break;
    }
    case FaultId::disk_io_errors: {
      storage::IoErrorRule rule;
      rule.until = until;
      rule.probability = fault.parameters.probability("probability");
      const std::string& operation = fault.parameters.choice("operation");
      const bool all = operation == "all";
      rule.reads = all || operation == "read";
      rule.writes = all || operation == "write";
      rule.flushes = all || operation == "flush";
      lun_->faults().add(rule);
      trace_.record("disk/" + fault.target, "fault.disk_io_errors", operation);
      break;
    }
    case FaultId::disk_loss: lun_->lose_device(); break;
  }
}

}  // namespace cupel::scenarios
