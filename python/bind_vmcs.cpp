#include "bind_vmcs.h"

#include <pybind11/stl.h>

#include <nlohmann/json.hpp>

#include "errors.h"
#include "hw_models/cpu/cpuid.h"
#include "hw_models/vtx/control_table.h"
#include "hw_models/vtx/doctor.h"
#include "hw_models/vtx/doctor_names.h"
#include "hw_models/vtx/profiles.h"

namespace py = pybind11;

namespace cupel::python {
namespace {

using namespace cupel::vtx;  // NOLINT: this file is about nothing else

std::string known_profiles() {
  std::string text;
  for (const ProfileName& p : profile_names())
    text += (text.empty() ? "" : ", ") + std::string(p.name);
  return text;
}

CapabilityProfile find_profile(const std::string& name, bool implemented,
                               const std::vector<std::string>& without_controls) {
  auto profile = implemented ? capabilities(name) : hardware_capabilities(name);
  if (!profile)
    raise(Error{ErrorKind::bad_input, "there is no profile '" + name + "'",
                "known: " + known_profiles()});
  for (const std::string& control : without_controls) {
    profile = without(std::move(*profile), control);
    if (!profile)
      raise(Error{ErrorKind::bad_input, "there is no control '" + control + "'",
                  "name it as the SDM does: \"enable EPT\", \"exit: load IA32_PAT\""});
  }
  return *profile;
}

DumpOptions options_for(const std::string& name, bool implemented, bool host_ia32e) {
  DumpOptions options;
  options.host_ia32e = host_ia32e;
  const cpu::Silicon* silicon = cpu::silicon(name);
  if (implemented || silicon == nullptr) {
    const auto profile = cpu::cpuid_profile(name);
    options.physical_bits = profile->physical_bits;
    options.linear_bits = profile->linear_bits;
  } else {
    options.physical_bits = silicon->physical_bits;
    options.linear_bits = silicon->linear_bits;
  }
  return options;
}

py::list problem_rows(const VmcsDump& dump) {
  py::list rows;
  for (const DumpProblem& p : dump.problems) {
    py::dict row;
    row["line"] = p.line;
    row["message"] = p.message;
    row["hint"] = p.hint;
    rows.append(std::move(row));
  }
  return rows;
}

py::dict check(const std::string& text, const std::string& profile_name, bool implemented,
               const std::vector<std::string>& without_controls, bool host_ia32e,
               std::optional<int> physical_bits) {
  const CapabilityProfile profile = find_profile(profile_name, implemented, without_controls);
  DumpOptions options = options_for(profile_name, implemented, host_ia32e);
  if (physical_bits) options.physical_bits = static_cast<uint8_t>(*physical_bits);
  const VmcsDump dump = parse_dump(text);
  const Diagnosis diagnosis = diagnose(dump, profile, options);
  py::dict result;
  result["passes"] = diagnosis.passes();
  result["text"] = to_text(diagnosis, profile);
  result["json"] = to_json(diagnosis, profile).dump(2, ' ', true);
  result["problems"] = problem_rows(dump);
  result["given"] = std::count(dump.present.begin(), dump.present.end(), true);
  return result;
}

const char* width_name(x86::FieldWidth width) {
  constexpr const char* names[] = {"16", "64", "32", "natural"};
  return names[static_cast<size_t>(width)];
}
const char* type_name(x86::FieldType type) {
  constexpr const char* names[] = {"control", "read-only", "guest state", "host state"};
  return names[static_cast<size_t>(type)];
}

py::list fields(const std::string& profile_name, bool implemented) {
  const CapabilityProfile profile = find_profile(profile_name, implemented, {});
  py::list rows;
  for (size_t n = 0; n < kFieldCount; ++n) {
    const auto field = static_cast<F>(n);
    const uint32_t encoding = encoding_of(field);
    py::dict row;
    row["name"] = name_of(field);
    row["encoding"] = encoding;
    row["width"] = width_name(x86::field_width(encoding));
    row["type"] = type_name(x86::field_type(encoding));
    row["exists"] = profile.has_field(encoding);
    rows.append(std::move(row));
  }
  return rows;
}

py::list check_rows() {
  constexpr const char* stages[] = {"controls", "host", "guest"};
  const CheckTable& table = CheckTable::instance();
  py::list rows;
  for (size_t n = 0; n < table.size(); ++n) {
    const CheckRow& r = table.row(n);
    std::vector<std::string> reads;
    for (const F f : r.reads)
      if (f != F::none) reads.emplace_back(name_of(f));
    py::dict row;
    row["id"] = r.id;
    row["stage"] = stages[static_cast<size_t>(table.stage(n))];
    row["section"] = r.section;
    row["allowed"] = r.allowed;
    row["fields"] = std::move(reads);
    row["result"] = result_of(table.stage(n), r.qualification);
    row["reads_memory"] = r.memory;
    rows.append(std::move(row));
  }
  return rows;
}

py::list profiles() {
  py::list rows;
  for (const ProfileName& p : profile_names()) {
    py::dict row;
    row["name"] = p.name;
    row["title"] = p.title;
    rows.append(std::move(row));
  }
  return rows;
}

// A field that one of the dumps does not give is None there.
py::dict diff(const std::string& a, const std::string& b) {
  const VmcsDump one = parse_dump(a), other = parse_dump(b);
  py::list rows;
  for (size_t n = 0; n < kFieldCount; ++n) {
    const auto field = static_cast<F>(n);
    const bool same = one.has(field) == other.has(field) &&
                      (!one.has(field) || one.vmcs[field] == other.vmcs[field]);
    if (same) continue;
    py::dict row;
    row["name"] = name_of(field);
    row["encoding"] = encoding_of(field);
    row["a"] = one.has(field) ? py::object(py::int_(one.vmcs[field])) : py::none();
    row["b"] = other.has(field) ? py::object(py::int_(other.vmcs[field])) : py::none();
    rows.append(std::move(row));
  }
  py::dict result;
  result["differences"] = std::move(rows);
  result["problems_a"] = problem_rows(one);
  result["problems_b"] = problem_rows(other);
  return result;
}

}  // namespace

void bind_vmcs(py::module_& module) {
  module.def("vmcs_check", &check, py::arg("text"), py::arg("profile"), py::arg("implemented"),
             py::arg("without"), py::arg("host_ia32e"), py::arg("physical_bits"));
  module.def("vmcs_fields", &fields, py::arg("profile"), py::arg("implemented"));
  module.def("vmcs_rows", &check_rows);
  module.def("vmcs_profiles", &profiles);
  module.def("vmcs_diff", &diff, py::arg("a"), py::arg("b"));
}

}  // namespace cupel::python
