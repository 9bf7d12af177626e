"""Exit codes of the command line, the same everywhere."""

from enum import IntEnum


class ExitCode(IntEnum):
    OK = 0
    VERDICT_FAILED = 1
    BAD_INPUT = 2
    ENVIRONMENT = 3
    GUEST_FAILED = 4
    INTERNAL = 5
    INTERRUPTED = 130


EXPLANATION = """\b
Exit codes:
  0  ok: the verdict is the expected one
  1  the verdict is not the expected one, or a figure missed its bound
  2  bad input: an argument, a scenario, a kernel image
  3  the environment lacks something: the build, /dev/kvm, a permission
  4  the guest failed: triple fault, hang, broken protocol
  5  internal error"""

_BY_KIND = {
    "bad_input": ExitCode.BAD_INPUT,
    "environment": ExitCode.ENVIRONMENT,
    "guest": ExitCode.GUEST_FAILED,
    "internal": ExitCode.INTERNAL,
}


def of_kind(kind: str) -> ExitCode:
    """The exit code of an error of the native module."""
    return _BY_KIND.get(kind, ExitCode.INTERNAL)
