#include "bind_language.h"

#include <pybind11/stl.h>

#include "errors.h"
#include "scenarios/language/scenario_loader.h"

namespace py = pybind11;

namespace cupel::python {
namespace {

using namespace cupel::scenarios;  // NOLINT: this file is about nothing else

// A scenario as Python holds it: with the warnings its text gave.
struct PyScenario : Scenario {
  std::vector<Problem> warnings;
};

PyScenario load(std::string_view text, std::string_view filename) {
  auto loaded = load_scenario(text);
  if (!loaded.scenario) raise(filename, std::move(loaded.problems));
  return {std::move(*loaded.scenario), std::move(loaded.problems)};
}

py::dict to_dict(const FaultSpec& fault) {
  py::dict parameters;
  for (const auto& item : fault.parameters.items()) {
    parameters[item.name.c_str()] = format(item.value);
  }
  py::dict d;
  d["kind"] = std::string(fault_kind(fault.kind).name);
  d["target"] = fault.target;
  d["earliest_ns"] = fault.at.earliest.count();
  d["latest_ns"] = fault.at.latest.count();
  d["duration_ns"] = fault.duration ? py::object(py::int_(fault.duration->count())) : py::none();
  d["parameters"] = std::move(parameters);
  return d;
}

template <class Specs>
std::vector<std::string> names(const Specs& specs) {
  std::vector<std::string> all;
  for (const auto& spec : specs) all.push_back(spec.name);
  return all;
}

py::list parameter_rows(const std::vector<ParameterSpec>& specs) {
  py::list rows;
  for (const auto& spec : specs) {
    const bool choice = spec.type == ParameterType::choice;
    py::dict row;
    row["name"] = std::string(spec.name);
    row["type"] = std::string(to_string(spec.type));
    row["required"] = spec.required;
    row["default"] = spec.required ? py::object(py::none()) : py::str(format(spec.preset));
    row["least"] = choice ? py::object(py::none()) : py::str(format(spec.least));
    row["most"] = choice ? py::object(py::none()) : py::str(format(spec.most));
    row["choices"] = std::vector<std::string>(spec.words.begin(), spec.words.end());
    row["what"] = std::string(spec.what);
    rows.append(std::move(row));
  }
  return rows;
}

py::list faults() {
  py::list rows;
  for (const FaultKind& kind : fault_catalogue()) {
    py::dict row;
    row["name"] = std::string(kind.name);
    row["target"] = std::string(to_string(kind.target));
    row["parameters"] = parameter_rows(kind.parameters);
    row["contract"] = std::string(kind.contract);
    row["after_end"] = std::string(kind.after_end);
    row["source"] = std::string(kind.source);
    rows.append(std::move(row));
  }
  return rows;
}

py::list oracles() {
  py::list rows;
  for (const OracleKind& kind : oracle_catalogue()) {
    py::dict row;
    row["name"] = std::string(kind.name);
    row["property"] = std::string(to_string(kind.property));
    row["parameters"] = parameter_rows(kind.parameters);
    row["claim"] = std::string(kind.claim);
    row["watches"] = std::string(kind.watches);
    rows.append(std::move(row));
  }
  return rows;
}

void bind_problem(py::module_& module) {
  py::class_<Problem>(module, "Problem")
      .def_property_readonly("line", [](const Problem& p) { return p.where.line; })
      .def_property_readonly("column", [](const Problem& p) { return p.where.column; })
      .def_property_readonly(
          "severity",
          [](const Problem& p) { return p.severity == Severity::error ? "error" : "warning"; })
      .def_readonly("message", &Problem::message)
      .def_readonly("hint", &Problem::hint);
}

void bind_scenario(py::module_& module) {
  py::class_<Scenario>(module, "_Scenario");
  py::class_<PyScenario, Scenario>(module, "Scenario")
      .def_readonly("name", &PyScenario::name)
      .def_readonly("description", &PyScenario::description)
      .def_readonly("seed", &PyScenario::seed)
      .def_readonly("warnings", &PyScenario::warnings)
      .def_property_readonly("duration_ns", [](const PyScenario& s) { return s.duration.count(); })
      .def_property_readonly("expected",
                             [](const PyScenario& s) { return s.expect_pass ? "pass" : "fail"; })
      .def_property_readonly("hosts", [](const PyScenario& s) { return names(s.hosts); })
      .def_property_readonly("vms", [](const PyScenario& s) { return names(s.vms); })
      .def_property_readonly("faults",
                             [](const PyScenario& s) {
                               py::list all;
                               for (const auto& fault : s.faults) all.append(to_dict(fault));
                               return all;
                             })
      .def_property_readonly("oracles", [](const PyScenario& s) {
        std::vector<std::string> all;
        for (const auto& oracle : s.oracles) all.emplace_back(oracle_kind(oracle.kind).name);
        return all;
      });
}

}  // namespace

void bind_language(py::module_& module) {
  bind_problem(module);
  bind_scenario(module);
  module.def("load_scenario", &load, py::arg("text"), py::arg("filename"));
  module.def("fault_catalogue", &faults);
  module.def("oracle_catalogue", &oracles);
}

}  // namespace cupel::python
