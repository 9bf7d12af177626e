"""`cupel check`."""

import click

from cupel import paths
from cupel.errors import UserError
from cupel.exit_codes import EXPLANATION, ExitCode


@click.command(epilog=EXPLANATION, short_help="Read scenarios without running them.")
@click.argument("files", metavar="FILE|NAME...", nargs=-1, required=True)
def check(files: tuple[str, ...]) -> None:
    """Read scenarios without running them; say everything that is wrong, with line and column."""
    failed = False
    for name in files:
        failed |= not check_one(name)
    if failed:
        click.get_current_context().exit(ExitCode.BAD_INPUT)


def check_one(name: str) -> bool:
    """False when the scenario cannot be run."""
    from cupel import _core

    try:
        path = paths.find_scenario(name)
        scenario = _core.load_scenario(paths.read_scenario(path), str(path))
    except UserError as error:
        click.echo(f"{name}: error: {error.message}\n  -> {error.hint}", err=True)
        return False
    except _core.ScenarioError as error:
        click.echo(str(error), err=True)
        return False
    for warning in scenario.warnings:
        place = f":{warning.line}:{warning.column}" if warning.line else ""
        click.echo(f"{path}{place}: warning: {warning.message}\n  -> {warning.hint}", err=True)
    counts = ((len(scenario.hosts), "host"), (len(scenario.vms), "VM"),
              (len(scenario.faults), "fault"), (len(scenario.oracles), "oracle"))
    listed = ", ".join(f"{n} {noun}{'' if n == 1 else 's'}" for n, noun in counts)
    click.echo(f"{path}: ok: {scenario.name}, {scenario.duration_ns / 1e9:g} s, {listed}")
    return True
