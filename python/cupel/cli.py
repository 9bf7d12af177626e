"""The command line: `./cupel COMMAND`, `python3 -m cupel COMMAND`."""

import traceback
from typing import Any

import click

from cupel import __version__
from cupel.commands.bench import bench
from cupel.commands.boot import boot
from cupel.commands.catalogues import faults, oracles, scenarios
from cupel.commands.check import check
from cupel.commands.kvm import kvm
from cupel.commands.machine import machine
from cupel.commands.metal import metal
from cupel.commands.run import demo, run
from cupel.commands.vmcs import vmcs
from cupel.errors import UserError, missing_native, say_error
from cupel.exit_codes import EXPLANATION, ExitCode, of_kind


def report_error(error: Exception) -> ExitCode:
    """Prints one clear message, and a traceback only for what nobody has foreseen."""
    if isinstance(error, UserError):
        say_error(error.message, error.hint)
        return error.code
    if isinstance(error, ImportError) and "_core" in f"{error} {error.name} {error.path}":
        return report_error(missing_native(str(error)))
    # The native module may be what is missing, so its errors are known by what they carry.
    problems = getattr(error, "problems", None)
    if problems is not None:
        click.echo(str(error), err=True)
        return ExitCode.BAD_INPUT
    kind = getattr(error, "kind", None)
    if isinstance(kind, str):
        say_error(str(error), str(getattr(error, "hint", "")))
        return of_kind(kind)
    traceback.print_exception(error)
    say_error("this is a bug of Cupel", "report the lines above and the command")
    return ExitCode.INTERNAL


class Guarded(click.Group):
    """Turns errors into messages and exit codes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("cupel: interrupted", err=True)
            ctx.exit(ExitCode.INTERRUPTED)
        except Exception as error:
            ctx.exit(report_error(error))


@click.group(
    cls=Guarded,
    epilog=EXPLANATION,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """Cupel tries hypervisors: it breaks disks, links and hosts under them, and judges what
    survives."""


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(f"cupel {__version__}")


for command in (run, demo, boot, machine, metal, kvm, bench, check, vmcs, scenarios, faults, oracles):
    main.add_command(command)
