// Running scenarios, for Python.
#pragma once

#include <pybind11/pybind11.h>

#include "scenarios/runner/guest_assets.h"

namespace cupel::python {

void bind_run(pybind11::module_& module);
void bind_console(pybind11::module_& module);
void bind_machine(pybind11::module_& module);
// Where the guests that come with the project lie: CUPEL_BUILD's own, when they exist.
scenarios::GuestAssets built_in_guests();

}  // namespace cupel::python
