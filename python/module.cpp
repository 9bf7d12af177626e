// The native half of the Python package `cupel`; python/cupel/_core.pyi describes it.
#include <pybind11/pybind11.h>

#include "bind_language.h"
#include "bind_run.h"
#include "bind_vmcs.h"
#include "errors.h"

PYBIND11_MODULE(_core, module) {
  cupel::python::bind_errors(module);
  cupel::python::bind_language(module);
  cupel::python::bind_run(module);
  cupel::python::bind_vmcs(module);
  cupel::python::bind_console(module);
  cupel::python::bind_machine(module);
}
