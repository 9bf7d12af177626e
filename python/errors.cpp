#include "errors.h"

#include <pybind11/stl.h>

namespace py = pybind11;

namespace cupel::python {
namespace {

// Never released: exceptions may be raised until the interpreter is gone.
PyObject* cupel_error = nullptr;
PyObject* scenario_error = nullptr;

const char* kind_name(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::bad_input:
      return "bad_input";
    case ErrorKind::environment:
      return "environment";
    case ErrorKind::guest:
      return "guest";
    case ErrorKind::internal:
      return "internal";
  }
  return "internal";
}

py::object make(PyObject* type, const std::string& message) {
  return py::reinterpret_borrow<py::object>(type)(message);
}

[[noreturn]] void throw_object(PyObject* type, const py::object& error) {
  PyErr_SetObject(type, error.ptr());
  throw py::error_already_set();
}

}  // namespace

void bind_errors(py::module_& module) {
  cupel_error = PyErr_NewException("cupel._core.CupelError", PyExc_Exception, nullptr);
  scenario_error = PyErr_NewException("cupel._core.ScenarioError", cupel_error, nullptr);
  if (cupel_error == nullptr || scenario_error == nullptr) throw py::error_already_set();
  module.attr("CupelError") = py::handle(cupel_error);
  module.attr("ScenarioError") = py::handle(scenario_error);
}

void raise(const Error& error) {
  auto object = make(cupel_error, error.message);
  object.attr("kind") = kind_name(error.kind);
  object.attr("message") = error.message;
  object.attr("hint") = error.hint;
  throw_object(cupel_error, object);
}

void raise(std::string_view filename, std::vector<scenarios::Problem> problems) {
  std::string text;
  for (const auto& problem : problems) {
    text += (text.empty() ? "" : "\n") + scenarios::describe(problem, filename);
  }
  auto object = make(scenario_error, text);
  object.attr("kind") = kind_name(ErrorKind::bad_input);
  object.attr("message") = text;
  object.attr("hint") = "";
  object.attr("filename") = std::string(filename);
  object.attr("problems") = std::move(problems);
  throw_object(scenario_error, object);
}

}  // namespace cupel::python
