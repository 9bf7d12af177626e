#include "scenarios/oracles/recovery_within.h"

#include <algorithm>
#include <cstdio>

namespace cupel::scenarios {
namespace {

std::string seconds(Nanoseconds t) {
  char text[40];
  std::snprintf(text, sizeof text, "%.3f s", t.seconds());
  return text;
}

}  // namespace

void RecoveryWithin::started(std::string_view vm, Nanoseconds at) { first_start_.emplace(vm, at); }

void RecoveryWithin::down(std::string_view vm, Nanoseconds at, bool promised) {
  if (!open_.emplace(vm, outages_.size()).second) return;
  outages_.push_back({std::string(vm), at, std::nullopt, tolerable_ && promised, promised, at});
  if (!promised) why_not_ = "VM " + std::string(vm) + " has no high availability";
}

void RecoveryWithin::answering(std::string_view vm, Nanoseconds at) {
  first_start_[std::string(vm)].reset();
  const auto found = open_.find(vm);
  if (found == open_.end()) return;
  const size_t index = found->second;
  open_.erase(found);
  outages_[index].up = at;
  close(index, at, true);
}

void RecoveryWithin::beyond_tolerance(std::string why) {
  tolerable_ = false;
  why_not_ = std::move(why);
  for (const auto& [vm, index] : open_) outages_[index].judged = false;
}

void RecoveryWithin::within_tolerance(Nanoseconds at) {
  if (tolerable_) return;
  tolerable_ = true;
  for (const auto& [vm, index] : open_) {
    if (outages_[index].judged || !outages_[index].promised) continue;
    outages_[index].judged = true;
    outages_[index].since = at;
  }
}

void RecoveryWithin::judge_first_answer(const std::string& vm, Nanoseconds started,
                                        Nanoseconds ended) {
  if (!tolerable_) return;
  if (ended - started <= bound_) {
    ++undecided_;
    return;
  }
  violations_.add(ended, "VM " + vm + " was started at " + seconds(started) +
                             " and has never answered on UDP port 7777");
}

void RecoveryWithin::run_ended(Nanoseconds at) {
  for (const auto& [vm, start] : first_start_) {
    if (start) judge_first_answer(vm, *start, at);
  }
  for (const auto& [vm, index] : open_) close(index, at, false);
  open_.clear();
}

void RecoveryWithin::close(size_t index, Nanoseconds at, bool recovered) {
  const Outage& outage = outages_[index];
  const Nanoseconds length = at - outage.down;
  longest_ = std::max(longest_, length);
  if (!outage.judged) return;
  if (at - outage.since <= bound_) {
    undecided_ += recovered ? 0 : 1;
    return;
  }
  violations_.add(at,
                  "VM " + outage.vm + " went down at " + seconds(outage.down) +
                      (recovered ? " and answered after " : " and had not answered after ") +
                      seconds(length) + "; the bound is " + seconds(bound_) +
                      (outage.since == outage.down
                           ? std::string()
                           : " and counts from " + seconds(outage.since) + ", after " + why_not_));
}

OracleReport RecoveryWithin::report() const {
  OracleReport report{"recovery_within", Verdict::pass, {}, violations_.first()};
  const auto judged = static_cast<uint64_t>(
      std::count_if(outages_.begin(), outages_.end(), [](const Outage& o) { return o.judged; }));
  if (violations_.count() > 0) {
    report.verdict = Verdict::fail;
  } else if (judged <= undecided_) {
    report.verdict = Verdict::not_judged;
  }
  report.detail = std::to_string(outages_.size()) + " outages, longest " + seconds(longest_) +
                  ", bound " + seconds(bound_);
  if (judged < outages_.size()) report.detail += "; not all judged: " + why_not_;
  if (undecided_ > 0) report.detail += "; the run ended before the bound";
  return report;
}

}  // namespace cupel::scenarios
