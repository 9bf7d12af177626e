// The scenario language and the catalogues, for Python.
#pragma once

#include <pybind11/pybind11.h>

namespace cupel::python {

void bind_language(pybind11::module_& module);

}  // namespace cupel::python
