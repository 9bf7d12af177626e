// What an oracle says at the end of a run.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/types.h"

namespace cupel::scenarios {

enum class Verdict : uint8_t {
  pass,
  fail,
  not_judged,  // the run gave no occasion to judge, or its faults were beyond what is promised
};
std::string_view to_string(Verdict verdict);

struct Violation {
  Nanoseconds at;
  std::string text;  // one sentence: who, what was expected, what was found
};

// Keeps the first violations and counts the rest: one broken rule often breaks a thousand times.
class Violations {
 public:
  static constexpr size_t kMost = 20;

  void add(Nanoseconds at, std::string text) {
    ++count_;
    if (list_.size() < kMost) list_.push_back({at, std::move(text)});
  }
  uint64_t count() const { return count_; }
  const std::vector<Violation>& first() const { return list_; }

 private:
  std::vector<Violation> list_;
  uint64_t count_ = 0;
};

struct OracleReport {
  std::string oracle;  // name in the catalogue
  Verdict verdict = Verdict::pass;
  std::string detail;  // one sentence with the figures it rests on
  std::vector<Violation> violations;
};

// FAIL when any oracle fails; a report that is not judged fails nothing.
Verdict overall(std::span<const OracleReport> reports);

}  // namespace cupel::scenarios
