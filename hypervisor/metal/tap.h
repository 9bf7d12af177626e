// Test results as TAP (Test Anything Protocol 13), one line a test, plan at the end. Lines hold
// nothing that differs between two processors with the same capabilities. Freestanding.
#pragma once

#include <concepts>
#include <cstdint>

#include "core/x86/exit_reason.h"

namespace cupel::metal {

// How a result line shows a value: text, a number, or text with a number in brackets.
struct Shown {
  const char* text = nullptr;
  uint64_t number = 0;
  bool has_number = true;
  bool operator==(const Shown& other) const;
};

inline Shown show(bool value) { return {value ? "yes" : "no", 0, false}; }
inline Shown show(const char* text) { return {text, 0, false}; }
inline Shown show(x86::ExitReason reason) {
  return {x86::to_string(reason), static_cast<uint64_t>(reason), true};
}
template <std::integral T>
Shown show(T value) {
  return {nullptr, static_cast<uint64_t>(value), true};
}

// The verdict of one test while it runs. Only the first mismatch is kept.
class Report {
 public:
  template <class Got, class Want>
  bool equal(const char* what, const Got& got, const Want& want) {
    return equal_shown(what, show(got), show(want));
  }
  bool equal_shown(const char* what, Shown got, Shown want);
  // The processor does not offer what the test needs.
  void skip(const char* reason) { skip_ = reason; }
  bool failed() const { return what_ != nullptr; }
  bool skipped() const { return skip_ != nullptr; }

 private:
  friend class Tap;
  const char* what_ = nullptr;
  const char* skip_ = nullptr;
  Shown got_, want_;
};

class Tap {
 public:
  // pattern: which tests to run. skip: which of them to report as skipped without running them,
  // for a machine that would not survive them.
  Tap(const char* pattern, const char* skip);

  // Runs body(Report&) when "group.name" matches the pattern.
  template <class Body>
  void test(const char* group, const char* name, Body body) {
    if (!begin(group, name)) return;
    Report report;
    if (left_out()) {
      report.skip("by option");
    } else {
      body(report);
    }
    end(report);
  }

  // Prints the plan; true when nothing failed.
  bool finish();

 private:
  bool begin(const char* group, const char* name);
  bool left_out() const;
  void end(const Report& report);

  const char* pattern_;
  const char* skip_;
  char name_[96] = {};
  uint32_t count_ = 0, failed_ = 0, skipped_ = 0;
};

}  // namespace cupel::metal
