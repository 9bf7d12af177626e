#include "scenarios/oracles/single_instance.h"

#include <algorithm>
#include <cassert>
#include <cstdio>

namespace cupel::scenarios {
namespace {

std::string seconds(Nanoseconds t) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6f s", t.seconds());
  return text;
}

}  // namespace

SingleInstance::InstanceId SingleInstance::started(std::string_view vm, std::string_view host,
                                                   Nanoseconds at) {
  const InstanceId id = instances_.size();
  Instance instance;
  instance.vm = vm;
  instance.host = host;
  instance.started = at;
  instances_.push_back(std::move(instance));
  const auto [entry, first] = newest_.emplace(vm, id);
  if (!first) {
    Instance& older = instances_[entry->second];
    older.superseded = at;
    older.superseded_on = host;
    entry->second = id;
    judge(older, older.last_executed);
  }
  return id;
}

void SingleInstance::stopped(InstanceId id, Nanoseconds at) {
  assert(id < instances_.size());
  Instance& instance = instances_[id];
  instance.stopped = std::min(instance.stopped, at);
  judge(instance, instance.last_executed);
}

void SingleInstance::executed(InstanceId id, Nanoseconds from, Nanoseconds to) {
  assert(id < instances_.size());
  if (to <= from) return;
  Instance& instance = instances_[id];
  instance.last_executed = std::max(instance.last_executed, to);
  judge(instance, to);
}

void SingleInstance::judge(Instance& instance, Nanoseconds to) {
  if (instance.reported) return;
  const std::string who = "VM " + instance.vm + ": its instance on " + instance.host;
  if (to > instance.superseded) {
    violations_.add(to, who + " executed until " + seconds(to) +
                            ", but a newer one was started on " + instance.superseded_on + " at " +
                            seconds(instance.superseded));
    instance.reported = true;
  } else if (to > instance.stopped) {
    violations_.add(to, who + " executed until " + seconds(to) + ", but was stopped at " +
                            seconds(instance.stopped));
    instance.reported = true;
  }
}

OracleReport SingleInstance::report() const {
  OracleReport report{"single_instance", Verdict::pass, {}, violations_.first()};
  report.verdict = violations_.count() > 0 ? Verdict::fail : Verdict::pass;
  report.detail = std::to_string(newest_.size()) + " VMs, " + std::to_string(instances_.size()) +
                  " instances, " + std::to_string(violations_.count()) + " ran when they must not";
  return report;
}

}  // namespace cupel::scenarios
