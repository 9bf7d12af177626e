#include "core/error.h"

namespace cupel {

int exit_code(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::bad_input:
      return 2;
    case ErrorKind::environment:
      return 3;
    case ErrorKind::guest:
      return 4;
    case ErrorKind::internal:
      return 5;
  }
  return 5;
}

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::bad_input:
      return "bad input";
    case ErrorKind::environment:
      return "environment";
    case ErrorKind::guest:
      return "guest";
    case ErrorKind::internal:
      return "internal error";
  }
  return "internal error";
}

std::string describe(const Error& error) {
  std::string text(to_string(error.kind));
  text += ": " + error.message;
  if (!error.hint.empty()) text += "\n  -> " + error.hint;
  return text;
}

}  // namespace cupel
