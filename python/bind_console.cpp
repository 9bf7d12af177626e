// A booted guest with its serial console, for Python.
#include <pybind11/stl.h>

#include "bind_run.h"
#include "errors.h"
#include "scenarios/session/console_session.h"

namespace py = pybind11;

namespace cupel::python {
namespace {

using namespace cupel::scenarios;  // NOLINT: this file is about nothing else

class Console {
 public:
  explicit Console(std::unique_ptr<ConsoleSession> session) : session_(std::move(session)) {}

  bool step(int64_t nanoseconds) {
    status_ = session_->step(Nanoseconds(nanoseconds));
    const vm::Vm& vm = session_->vm();
    if (vm.state() == vm::VmState::crashed) {
      Error error = vm.crash();
      if (error.hint.empty()) error.hint = "see the guest's last words above";
      raise(error);
    }
    return !session_->ended();
  }
  py::bytes read() { return session_->take_output(); }
  size_t write(const std::string& data) {
    session_->input(data);
    return data.size();
  }
  bool idle() const { return status_.idle; }
  // isa-debug-exit turns the guest's value v into the status 2 v + 1.
  std::optional<uint32_t> exit_status() const {
    if (!session_->ended()) return std::nullopt;
    return session_->vm().exit_request().status >> 1;
  }
  int64_t virtual_ns() const { return session_->clock().now().count(); }

 private:
  std::unique_ptr<ConsoleSession> session_;
  vm::VmStatus status_;
};

Error not_built(const std::string& guest) {
  return {ErrorKind::environment, "the " + guest + " guest is not built", "run ./cupel setup"};
}

BootConfig built_in(const std::string& guest) {
  const GuestAssets assets = built_in_guests();
  BootConfig config;
  if (guest == "linux") {
    if (assets.linux_kernel.empty() || assets.linux_initrd.empty()) raise(not_built(guest));
    config.kernel = assets.linux_kernel;
    config.initrd = assets.linux_initrd;
    config.command_line = linux_command_line() + " quiet cupel.mode=shell";
  } else if (guest == "workload") {
    if (assets.workload.empty()) raise(not_built(guest));
    config.kernel = assets.workload;
    config.command_line = "mode=hello";
  }
  return config;
}

std::unique_ptr<Console> boot(const std::string& backend, const std::string& guest, uint64_t memory,
                              const std::optional<std::string>& kernel,
                              const std::optional<std::string>& initrd,
                              const std::optional<std::string>& append) {
  BootConfig config = built_in(guest);
  config.backend = unwrap(backend_from(backend));
  config.memory = memory;
  if (kernel) config.kernel = *kernel;
  if (initrd) config.initrd = *initrd;
  if (append) config.command_line = *append;
  if (config.kernel.empty())
    raise(Error{ErrorKind::bad_input, "no kernel was named", "give --kernel PATH"});
  return std::make_unique<Console>(unwrap(ConsoleSession::create(config)));
}

}  // namespace

void bind_console(py::module_& module) {
  py::class_<Console>(module, "Console")
      .def("step", &Console::step, py::arg("nanoseconds"))
      .def("read", &Console::read)
      .def("write", &Console::write, py::arg("data"))
      .def_property_readonly("idle", &Console::idle)
      .def_property_readonly("exit_status", &Console::exit_status)
      .def_property_readonly("virtual_ns", &Console::virtual_ns);
  module.def("boot", &boot, py::arg("backend"), py::arg("guest"), py::arg("memory"),
             py::arg("kernel") = py::none(), py::arg("initrd") = py::none(),
             py::arg("append") = py::none());
}

}  // namespace cupel::python
