// A modelled machine that boots an image, for Python.
#include <pybind11/stl.h>

#include "bind_run.h"
#include "errors.h"
#include "hw_models/machine/machine.h"
#include "hw_models/vtx/profiles.h"
#include "scenarios/session/console_session.h"

namespace py = pybind11;

namespace cupel::python {
namespace {

using machine::Machine;
using machine::MachineConfig;
using machine::MachineStop;

// File name and command line of a module.
using ModuleArgument = std::pair<std::string, std::string>;

class MachineConsole {
 public:
  explicit MachineConsole(std::unique_ptr<Machine> machine) : machine_(std::move(machine)) {}

  bool step(int64_t nanoseconds) {
    machine_->run_for(Nanoseconds(nanoseconds));
    return !machine_->stopped();
  }
  py::bytes read() { return machine_->take_output(); }
  size_t write(const std::string& data) {
    machine_->input(data);
    return data.size();
  }
  bool idle() const { return machine_->idle(); }
  std::optional<uint32_t> exit_status() const {
    if (machine_->stop().kind != MachineStop::Kind::debug_exit) return std::nullopt;
    return machine_->stop().status;
  }
  int64_t virtual_ns() const { return machine_->clock().now().count(); }
  std::string stop_kind() const { return std::string(to_string(machine_->stop().kind)); }
  std::string stop_text() const { return machine_->stop().text; }
  py::list processors() const {
    py::list all;
    for (unsigned n = 0; n < machine_->processor_count(); ++n) {
      const auto& p = machine_->processor(n);
      py::dict d;
      d["rip"] = p.rip();
      d["activity"] = static_cast<unsigned>(p.activity());
      d["vmx_operation"] = machine_->vtx(n).in_vmx_operation();
      d["non_root"] = machine_->vtx(n).in_guest();
      d["events"] = p.stats().traps;
      d["exits"] = p.stats().exits;
      d["interrupts"] = p.stats().interrupts;
      all.append(d);
    }
    return all;
  }

 private:
  std::unique_ptr<Machine> machine_;
};

std::optional<boot::ImageKind> kind_from(const std::string& name) {
  if (name == "multiboot") return boot::ImageKind::multiboot;
  if (name == "pvh") return boot::ImageKind::pvh;
  if (name == "linux") return boot::ImageKind::linux_bzimage;
  return std::nullopt;
}

std::unique_ptr<MachineConsole> make_machine(const std::string& image, const std::string& append,
                                             const std::vector<ModuleArgument>& modules,
                                             unsigned processors, uint64_t memory, uint64_t seed,
                                             const std::string& kind, const std::string& profile) {
  const auto file = unwrap(scenarios::read_image(image, "image"));
  std::vector<std::vector<std::byte>> contents;
  for (const auto& [path, line] : modules)
    contents.push_back(unwrap(scenarios::read_image(path, "module")));
  std::vector<boot::BootModule> list;
  for (size_t n = 0; n < modules.size(); ++n) list.push_back({contents[n], modules[n].second});
  boot::BootImage boot;
  boot.file = file;
  boot.command_line = append;
  boot.modules = list;
  boot.kind = kind_from(kind);
  MachineConfig config;
  config.processors = processors;
  config.memory = memory;
  config.seed = seed;
  const auto capabilities = vtx::capabilities(profile);
  const auto cpuid = cpu::cpuid_profile(profile, MachineConfig::kTscHz);
  if (!capabilities || !cpuid)
    raise(Error{ErrorKind::bad_input, "there is no processor profile '" + profile + "'",
                "'cupel vmcs profiles' lists them"});
  config.capabilities = *capabilities;
  config.cpuid = *cpuid;
  return std::make_unique<MachineConsole>(unwrap(Machine::create(std::move(config), boot)));
}

}  // namespace

void bind_machine(py::module_& module) {
  py::class_<MachineConsole>(module, "Machine")
      .def("step", &MachineConsole::step, py::arg("nanoseconds"))
      .def("read", &MachineConsole::read)
      .def("write", &MachineConsole::write, py::arg("data"))
      .def_property_readonly("idle", &MachineConsole::idle)
      .def_property_readonly("exit_status", &MachineConsole::exit_status)
      .def_property_readonly("virtual_ns", &MachineConsole::virtual_ns)
      .def_property_readonly("stop_kind", &MachineConsole::stop_kind)
      .def_property_readonly("stop_text", &MachineConsole::stop_text)
      .def_property_readonly("processors", &MachineConsole::processors);
  module.def("make_machine", &make_machine, py::arg("image"), py::arg("append"), py::arg("modules"),
             py::arg("processors"), py::arg("memory"), py::arg("seed") = 0, py::arg("kind") = "", py::arg("profile") = "server");
}

}  // namespace cupel::python
