"""`cupel bench`: every figure with its denominator, measured in one process.

The benchmark program says what a benchmark means by its label and its counters:
  label        "UNIT | what the denominator is" (the part behind the bar may be missing)
  value        the figure in UNIT; without it, the benchmark's real time
  denominator  measured in the same run, same UNIT; optional
  bound        the most that value / denominator may be (value itself without a denominator);
               optional
A benchmark that could not run gives its reason; "environment: " before it says that the machine
lacks something, so that nothing is wrong.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from cupel import paths, report
from cupel.errors import UserError
from cupel.exit_codes import EXPLANATION, ExitCode

SCHEMA = "cupel.bench/1"

ENVIRONMENT = "environment: "

# How the benchmark took its time, which Google Benchmark appends to the name.
NAME_SUFFIX = re.compile(r"(/(iterations:\d+|repeats:\d+|manual_time|real_time|process_time))+$")


@dataclass(frozen=True)
class Figure:
    """One measured figure."""

    figure: str
    value: float
    unit: str
    denominator: float | None
    denominator_name: str
    bound: float | None

    @property
    def ratio(self) -> float | None:
        return self.value / self.denominator if self.denominator else None

    @property
    def within_bound(self) -> bool | None:
        """None when nothing bounds it."""
        if self.bound is None:
            return None
        return (self.value if self.ratio is None else self.ratio) <= self.bound

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "ratio": self.ratio, "within_bound": self.within_bound}


@dataclass(frozen=True)
class NotMeasured:
    """A benchmark that could not run."""

    figure: str
    reason: str
    environment: bool

    def __str__(self) -> str:
        return f"{self.figure}: {self.reason}"


def read_failure(entry: dict[str, Any]) -> NotMeasured:
    message = str(entry.get("error_message", "failed"))
    reason = message.removeprefix(ENVIRONMENT)
    return NotMeasured(figure_name(entry), reason, environment=reason != message)


def figure_name(entry: dict[str, Any]) -> str:
    """Without what says how it was measured."""
    return NAME_SUFFIX.sub("", str(entry.get("name")))


def read_figure(entry: dict[str, Any]) -> Figure:
    """One entry of Google Benchmark's JSON."""
    label = str(entry.get("label", ""))
    unit, _, denominator_name = (part.strip() for part in label.partition("|"))
    value = entry.get("value")
    if value is None:
        value, unit = entry["real_time"], str(entry.get("time_unit", "ns"))
    denominator, bound = entry.get("denominator"), entry.get("bound")
    return Figure(
        figure=figure_name(entry),
        value=float(value),
        unit=unit,
        denominator=None if denominator is None else float(denominator),
        denominator_name=denominator_name,
        bound=None if bound is None else float(bound),
    )


def read_figures(document: dict[str, Any]) -> tuple[list[Figure], list[NotMeasured]]:
    """The figures, and the benchmarks that could not run."""
    figures, failures = [], []
    for entry in document.get("benchmarks", []):
        if entry.get("error_occurred"):
            failures.append(read_failure(entry))
        elif entry.get("run_type", "iteration") == "iteration":
            figures.append(read_figure(entry))
    return figures, failures


def number(value: float | None) -> str:
    return "" if value is None else f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def render(figures: list[Figure]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("figure", "value", "denominator", "ratio", "bound"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    table.add_column("")
    for f in figures:
        style = {True: "green", False: "bold red", None: ""}[f.within_bound]
        judged = {True: "ok", False: "MISSED", None: ""}[f.within_bound]
        denominator = number(f.denominator)
        if f.denominator_name and denominator:
            denominator += f" {f.denominator_name}"
        cells = (f.figure, f"{number(f.value)} {f.unit}", denominator, number(f.ratio))
        bound = "" if f.bound is None else f"<= {number(f.bound)}"
        table.add_row(*(Text(cell) for cell in cells), Text(bound), Text(judged, style))
    return table


def measure(pattern: str | None) -> dict[str, Any]:
    """Runs the benchmark program; its JSON."""
    program = paths.build() / "bench" / "cupel_bench"
    if not program.is_file():
        raise UserError(
            f"{program} does not exist",
            "start with ./cupel, which builds it",
            ExitCode.ENVIRONMENT,
        )
    command = [str(program), "--benchmark_format=json"]
    if pattern:
        command.append(f"--benchmark_filter={pattern}")
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise UserError(
            f"{program.name} ended with exit status {done.returncode}",
            "see its message above",
            ExitCode.INTERNAL,
        )
    try:
        document = json.loads(done.stdout)
    except ValueError as error:
        raise UserError(
            f"no benchmark matches '{pattern}'" if pattern else f"{program.name} printed no JSON",
            f"'{program} --benchmark_list_tests' lists them",
        ) from error
    assert isinstance(document, dict)
    return document


@click.command(epilog=EXPLANATION, short_help="Measure.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
@click.option("--filter", "pattern", metavar="REGEX", help="Measure only what matches.")
@click.option(
    "--strict", is_flag=True, help="Exit with 1 when a figure misses its bound or its benchmark fails."
)
def bench(as_json: bool, pattern: str | None, strict: bool) -> None:
    """Measure; every figure next to its denominator of the same run, and its bound."""
    document = measure(pattern)
    figures, failures = read_figures(document)
    if as_json:
        listed = {
            "schema": SCHEMA,
            "context": document.get("context", {}),
            "figures": [figure.to_json() for figure in figures],
            "not_measured": [str(failure) for failure in failures],
        }
        click.echo(json.dumps(listed, indent=2))
    else:
        report.make_console().print(render(figures))
        for failure in failures:
            click.echo(f"not measured  {failure}")
    missed = any(figure.within_bound is False for figure in figures)
    failed = any(not failure.environment for failure in failures)
    if strict and (missed or failed):
        click.get_current_context().exit(ExitCode.VERDICT_FAILED)
