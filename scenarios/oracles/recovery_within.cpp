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

void RecoveryWithin::down(std::string_view vm, Nanoseconds at) {
  if (!open_.emplace(vm, outages_.size()).second) return;
  outages_.push_back({std::string(vm), at, std::nullopt, tolerable_});
}

void RecoveryWithin::answering(std::string_view vm, Nanoseconds at) {
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

void RecoveryWithin::within_tolerance() { tolerable_ = true; }

void RecoveryWithin::run_ended(Nanoseconds at) {
  for (const auto& [vm, index] : open_) close(index, at, false);
  open_.clear();
}

void RecoveryWithin::close(size_t index, Nanoseconds at, bool recovered) {
  const Outage& outage = outages_[index];
  const Nanoseconds length = at - outage.down;
  longest_ = std::max(longest_, length);
  if (!outage.judged) return;
  if (length <= bound_) {
    undecided_ += recovered ? 0 : 1;
    return;
  }
  violations_.add(at, "VM " + outage.vm + " went down at " + seconds(outage.down) +
                          (recovered ? " and answered after " : " and had not answered after ") +
                          seconds(length) + "; the bound is " + seconds(bound_));
}

OracleReport RecoveryWithin::report() const {
  OracleReport report{"recovery_within", Verdict::pass, {}, violations_.first()};
  const auto judged = static_cast<uint64_t>(
      std::count_if(outages_.begin(), outages_.end(), [](const Outage& o) { return o.judged; }));
  if (violations_.count() > 0) {
    report.verdict = Verdict::fail;
  } else if (outages_.empty() || judged == undecided_) {
    report.verdict = Verdict::not_judged;
  }
  report.detail = std::to_string(outages_.size()) + " outages, longest " + seconds(longest_) +
                  ", bound " + seconds(bound_);
  if (judged < outages_.size()) report.detail += "; not all judged: " + why_not_;
  if (undecided_ > 0) report.detail += "; the run ended before the bound";
  return report;
}

}  // namespace cupel::scenarios
