// The error that reaches a person: what happened, where, and what to do next.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace cupel {

// The process exit codes are derived from the kind; README documents them.
enum class ErrorKind {
  bad_input,    // exit 2: an image, a YAML file, an argument
  environment,  // exit 3: no /dev/kvm, a library that fails its self-check, out of memory
  guest,        // exit 4: the guest triple-faulted, hung, broke a protocol
  internal,     // exit 5: our own fault, reported instead of crashing
};

struct Error {
  ErrorKind kind = ErrorKind::internal;
  std::string message;  // one sentence: what, where
  std::string hint;     // what to do; may be empty
};

inline Failure<Error> fail(ErrorKind kind, std::string message, std::string hint = {}) {
  return Failure<Error>(Error{kind, std::move(message), std::move(hint)});
}

int exit_code(ErrorKind kind);
std::string_view to_string(ErrorKind kind);
// "bad input: <message>\n  -> <hint>"
std::string describe(const Error& error);

}  // namespace cupel
