// The doctor for VMCS dumps, and what the model knows of fields, checks and profiles, for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace cupel::python {

void bind_vmcs(pybind11::module_& module);

}  // namespace cupel::python
