"""Errors as people see them: what happened, and what to do next."""

import click

from cupel.exit_codes import ExitCode


class UserError(Exception):
    """Ends the command with a message, a next step and an exit code."""

    def __init__(self, message: str, hint: str, code: ExitCode = ExitCode.BAD_INPUT) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code


def say_error(message: str, hint: str = "") -> None:
    """Prints to standard error, in the form the entry script uses too."""
    click.echo(f"cupel: error: {message}", err=True)
    if hint:
        click.echo(f"       next: {hint}", err=True)


def missing_native(reason: str) -> UserError:
    """The package is used without its build."""
    return UserError(
        f"the native module cupel._core cannot be loaded: {reason}",
        "start with ./cupel, which builds it",
        ExitCode.ENVIRONMENT,
    )
