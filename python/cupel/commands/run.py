"""`cupel run` and `cupel demo`."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Iterator, Literal, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cupel import paths, report, result
from cupel.commands.options import backend_option, seed_option
from cupel.errors import UserError
from cupel.exit_codes import EXPLANATION, ExitCode
from cupel.timeline import notable, seconds

if TYPE_CHECKING:
    from cupel import _core

BackendName = Literal["model", "kvm"]
DEMO = "host-crash"


@click.command(epilog=EXPLANATION, short_help="Run a scenario.")
@click.argument("scenario", metavar="FILE|NAME")
@seed_option
@backend_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option(
    "--trace",
    "trace_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every event of the run to this file, one JSON object a line.",
)
@click.option(
    "--planted",
    metavar="BUG",
    default="none",
    help="Plant a known bug in the hypervisor: an oracle must catch it.",
)
def run(
    scenario: str,
    seed: int | None,
    backend: BackendName,
    as_json: bool,
    trace_file: Path | None,
    planted: str,
) -> None:
    """Run a scenario: a file, or the name of one in the library ("cupel scenarios").

    The first line printed is the command that replays the run, the last one its verdict and the
    hash of its trace. The same seed gives the same hash.
    """
    execute(scenario, seed, backend, as_json, trace_file, planted)


@click.command(epilog=EXPLANATION, short_help="A Linux guest lives through the crash of its host.")
@seed_option
@backend_option
def demo(seed: int | None, backend: BackendName) -> None:
    """A Linux guest loses its host and comes back on another one, with every write it was told is
    safe."""
    execute(DEMO, seed, backend, as_json=False, trace_file=None)


def execute(
    name: str,
    seed: int | None,
    backend: BackendName,
    as_json: bool,
    trace_file: Path | None,
    planted: str = "none",
) -> None:
    """Runs, reports, and leaves with the exit code of the verdict."""
    from cupel import _core

    path = paths.find_scenario(name)
    scenario = _core.load_scenario(paths.read_scenario(path), str(path))
    for warning in scenario.warnings:
        click.echo(f"{path}:{warning.line}:{warning.column}: warning: {warning.message}", err=True)
    if seed is None:
        seed = scenario.seed
    file = paths.shown(path)
    click.echo(result.replay_command(file, seed, backend, planted), err=as_json)
    with open_trace(trace_file) as trace, progress_bar(scenario) as (on_progress, on_event):
        native = _core.run(scenario, seed, backend, on_progress, on_event, planted)
        done = result.from_native(native, file, scenario.expected, planted)
        write_trace(done, trace)
    if as_json:
        click.echo(json.dumps(done.to_json(), indent=2))
    else:
        report.print_report(done, report.make_console())
        click.echo(report.verdict_line(done))
    click.get_current_context().exit(exit_code(done))


def exit_code(done: result.RunResult) -> ExitCode:
    """A guest that failed by itself is told apart from a property that did not hold."""
    if done.as_expected:
        return ExitCode.OK
    return ExitCode.GUEST_FAILED if done.guest_failed else ExitCode.VERDICT_FAILED


@contextmanager
def open_trace(path: Path | None) -> Iterator[TextIO | None]:
    """Opened before the run, so that a wrong name costs no run."""
    if path is None:
        yield None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}", "give --trace another file"
        ) from error
    with file:
        yield file


def write_trace(done: result.RunResult, trace: TextIO | None) -> None:
    if trace is not None:
        for event in done.events:
            trace.write(json.dumps(vars(event)) + "\n")


OnProgress = Callable[[int], None]
OnEvent = Callable[["_core.Event"], None]


@contextmanager
def progress_bar(scenario: _core.Scenario) -> Iterator[tuple[OnProgress | None, OnEvent | None]]:
    """Callbacks that draw a bar over virtual time; none when nobody watches."""
    if not sys.stderr.isatty():
        yield None, None
        return
    bar = Progress(
        TextColumn("{task.fields[clock]}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(file=sys.stderr, markup=False, highlight=False),
        transient=True,
        # A thread of its own would wait for the interpreter lock, which the run may hold.
        auto_refresh=False,
    )
    with bar:
        task = bar.add_task("", total=scenario.duration_ns, clock=seconds(0))

        def on_progress(at_ns: int) -> None:
            bar.update(task, completed=at_ns, clock=seconds(at_ns), refresh=True)

        def on_event(event: _core.Event) -> None:
            seen = result.Event(event.at_ns, event.source, event.what, event.detail)
            if notable([seen]):
                bar.update(task, description=f"{seen.source} {seen.what} {seen.detail}")

        yield on_progress, on_event
