// How C++ errors become Python exceptions.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "scenarios/language/problem.h"

namespace cupel::python {

// Defines CupelError(kind, message, hint) and ScenarioError(filename, problems) in the module.
void bind_errors(pybind11::module_& module);

// Throws CupelError; its kind is the ErrorKind's name: bad_input, environment, guest, internal.
[[noreturn]] void raise(const Error& error);
[[noreturn]] void raise(std::string_view filename, std::vector<scenarios::Problem> problems);

// The value, or the exception.
template <class T>
T unwrap(Result<T> result) {
  if (!result) raise(result.error());
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

}  // namespace cupel::python
