#include "scenarios/oracles/verdict.h"

namespace cupel::scenarios {

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass:
      return "pass";
    case Verdict::fail:
      return "fail";
    case Verdict::not_judged:
      return "not judged";
  }
  return "fail";
}

Verdict overall(std::span<const OracleReport> reports) {
  for (const auto& report : reports) {
    if (report.verdict == Verdict::fail) return Verdict::fail;
  }
  return Verdict::pass;
}

}  // namespace cupel::scenarios
