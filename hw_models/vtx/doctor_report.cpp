// The doctor's findings as text and as JSON.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "hw_models/vtx/doctor.h"

namespace cupel::vtx {
namespace {

using nlohmann::json;

std::string hex(uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string encoding_text(F field) {
  char text[16];
  std::snprintf(text, sizeof text, "%04XH", encoding_of(field));
  return text;
}

const char* stage_name(CheckStage stage) {
  switch (stage) {
    case CheckStage::controls:
      return "controls";
    case CheckStage::host:
      return "host";
    case CheckStage::guest:
      break;
  }
  return "guest";
}

std::string failure_text(const CheckFailure& failure, const CapabilityProfile& profile) {
  std::string text = std::string(failure.row->id) + " -> " +
                     result_of(failure.stage, failure.row->qualification) + "\n  SDM vol. 3C, \"" +
                     failure.row->section + "\"\n  allowed: " + failure.row->allowed + "\n";
  for (const auto& [field, value] : failure.values)
    text += std::string("  ") + name_of(field) + " (" + encoding_text(field) + ") = " + hex(value) +
            "\n";
  for (const std::string& line : offending_bits(failure, profile)) text += "    " + line + "\n";
  return text;
}

std::string list_of(const std::vector<F>& fields) {
  std::string text;
  for (const F f : fields) text += std::string(text.empty() ? "" : ", ") + name_of(f);
  return text;
}

json failure_json(const CheckFailure& failure, const CapabilityProfile& profile) {
  json fields = json::array();
  for (const auto& [field, value] : failure.values)
    fields.push_back(
        {{"name", name_of(field)}, {"encoding", encoding_of(field)}, {"value", hex(value)}});
  return {{"id", failure.row->id},
          {"stage", stage_name(failure.stage)},
          {"section", failure.row->section},
          {"allowed", failure.row->allowed},
          {"result", result_of(failure.stage, failure.row->qualification)},
          {"fields", std::move(fields)},
          {"bits", offending_bits(failure, profile)}};
}

json outcome_json(const Diagnosis& d) {
  if (d.passes()) return {{"kind", "entry"}};
  const CheckFailure& first = d.failures.front();
  if (first.stage == CheckStage::guest)
    return {{"kind", "exit"},
            {"reason", 0x80000021u},
            {"qualification", first.row->qualification},
            {"decided_by", first.row->id}};
  return {{"kind", "vmfail"},
          {"error", first.stage == CheckStage::controls ? 7 : 8},
          {"decided_by", first.row->id}};
}

}  // namespace

std::string to_text(const Diagnosis& d, const CapabilityProfile& profile) {
  std::string text;
  if (d.passes()) {
    text = "every check holds on profile " + d.profile + ": the VM entry succeeds\n";
  } else {
    const CheckFailure& first = d.failures.front();
    text = "the VM entry fails on profile " + d.profile + ": " +
           result_of(first.stage, first.row->qualification) + "\n" +
           std::to_string(d.failures.size()) + " failing check(s), the first decides:\n\n";
  }
  for (const CheckFailure& failure : d.failures) text += failure_text(failure, profile) + "\n";
  for (const WarningRow* w : d.warnings)
    text += std::string("warning: ") + w->id + ": " + w->text + " (SDM vol. 3C, \"" + w->source +
            "\")\n";
  for (const CheckRow* row : d.undecided)
    text += std::string("undecided: ") + row->id +
            " looks at memory, which a dump has not: " + row->allowed + "\n";
  for (const std::string& line : d.assumptions) text += "assumed: " + line + "\n";
  if (!d.missing.empty()) text += "not given, taken as 0: " + list_of(d.missing) + "\n";
  return text;
}

json to_json(const Diagnosis& d, const CapabilityProfile& profile) {
  json failures = json::array(), warnings = json::array(), undecided = json::array(),
       missing = json::array();
  for (const CheckFailure& failure : d.failures) failures.push_back(failure_json(failure, profile));
  for (const WarningRow* w : d.warnings)
    warnings.push_back({{"id", w->id}, {"section", w->source}, {"text", w->text}});
  for (const CheckRow* row : d.undecided)
    undecided.push_back({{"id", row->id}, {"allowed", row->allowed}});
  for (const F f : d.missing) missing.push_back(name_of(f));
  return {{"profile", d.profile},
          {"passes", d.passes()},
          {"outcome", outcome_json(d)},
          {"failures", std::move(failures)},
          {"warnings", std::move(warnings)},
          {"undecided", std::move(undecided)},
          {"missing", std::move(missing)},
          {"assumptions", d.assumptions}};
}

}  // namespace cupel::vtx
