#include "bind_run.h"

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <cstdlib>
#include <filesystem>

#include "errors.h"
#include "scenarios/language/oracle_catalogue.h"
#include "scenarios/runner/runner.h"

namespace py = pybind11;

namespace cupel::python {
namespace {

using namespace cupel::scenarios;  // NOLINT: this file is about nothing else

using Progress = std::function<void(int64_t)>;
using OnEvent = std::function<void(const TraceRecord&)>;

std::string class_of(const OracleReport& report) {
  const OracleKind* kind = find_oracle_kind(report.oracle);
  return kind == nullptr ? "safety" : std::string(to_string(kind->property));
}

std::vector<std::string> violations(const OracleReport& report) {
  std::vector<std::string> all;
  for (const auto& v : report.violations)
    all.push_back("at " + std::to_string(v.at.seconds()) + " s: " + v.text);
  return all;
}

struct PyRunResult : RunResult {
  std::vector<std::string> hosts, vms;
};

PyRunResult run(const Scenario& scenario, uint64_t seed, const std::string& backend,
                const std::optional<Progress>& on_progress, const std::optional<OnEvent>& on_event,
                const std::string& planted) {
  RunOptions options;
  options.seed = seed;
  options.backend = unwrap(backend_from(backend));
  options.assets = built_in_guests();
  const auto bug = datastore::planted_bug_from(planted);
  if (!bug) {
    raise(Error{ErrorKind::bad_input, "unknown planted bug '" + planted + "'",
                "use none, break_lease_early, skip_fencing, ack_before_flush or no_restart"});
  }
  options.planted = *bug;
  options.on_progress = [&](Nanoseconds now) {
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (on_progress) (*on_progress)(now.count());
    return true;
  };
  if (on_event) options.on_event = *on_event;
  Runner runner(scenario, std::move(options));
  PyRunResult result{unwrap(runner.run()), {}, {}};
  for (const auto& h : scenario.hosts) result.hosts.push_back(h.name);
  for (const auto& v : scenario.vms) result.vms.push_back(v.name);
  return result;
}

py::dict figures(const PyRunResult& r) {
  py::dict d;
  for (const auto& [name, value] : r.figures) d[name.c_str()] = value;
  return d;
}

std::string if_exists(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored) ? path.string() : std::string();
}

}  // namespace

GuestAssets built_in_guests() {
  const char* build = std::getenv("CUPEL_BUILD");
  const std::filesystem::path here = build != nullptr ? build : CUPEL_BUILD_DIRECTORY;
  // The Linux guest is shared by all builds of the tree.
  const auto cache = here.parent_path() / "cache" / "linux";
  return {if_exists(cache / "vmlinuz"), if_exists(cache / "initramfs.cpio.gz"),
          if_exists(here / "scenarios" / "guests" / "workload" / "workload.elf")};
}

void bind_run(py::module_& module) {
  py::class_<TraceRecord>(module, "Event")
      .def_property_readonly("at_ns", [](const TraceRecord& r) { return r.at.count(); })
      .def_readonly("source", &TraceRecord::source)
      .def_readonly("what", &TraceRecord::what)
      .def_readonly("detail", &TraceRecord::detail);
  py::class_<OracleReport>(module, "OracleResult")
      .def_readonly("kind", &OracleReport::oracle)
      .def_property_readonly("property_class", &class_of)
      .def_property_readonly(
          "verdict", [](const OracleReport& r) { return std::string(to_string(r.verdict)); })
      .def_readonly("detail", &OracleReport::detail)
      .def_property_readonly("violations", &violations);
  py::class_<PyRunResult>(module, "RunResult")
      .def_readonly("scenario", &PyRunResult::scenario)
      .def_readonly("seed", &PyRunResult::seed)
      .def_property_readonly("backend",
                             [](const PyRunResult& r) { return std::string(to_string(r.backend)); })
      .def_property_readonly(
          "verdict",
          [](const PyRunResult& r) { return r.verdict == Verdict::fail ? "fail" : "pass"; })
      .def_readonly("as_expected", &PyRunResult::as_expected)
      .def_readonly("trace_hash", &PyRunResult::trace_hash)
      .def_property_readonly("duration_ns", [](const PyRunResult& r) { return r.duration.count(); })
      .def_readonly("hosts", &PyRunResult::hosts)
      .def_readonly("vms", &PyRunResult::vms)
      .def_readonly("events", &PyRunResult::events)
      .def_readonly("oracles", &PyRunResult::oracles)
      .def_readonly("consoles", &PyRunResult::consoles)
      .def_property_readonly("figures", &figures);
  module.def("run", &run, py::arg("scenario"), py::arg("seed"), py::arg("backend"),
             py::arg("on_progress") = py::none(), py::arg("on_event") = py::none(),
             py::arg("planted") = "none");
  module.def("guest_assets", [] {
    const auto assets = built_in_guests();
    return std::map<std::string, std::string>{{"linux_kernel", assets.linux_kernel},
                                              {"linux_initrd", assets.linux_initrd},
                                              {"workload", assets.workload}};
  });
}

}  // namespace cupel::python
