"""The bootable image of the hypervisor core on Cupel's own machine and on Bochs, side by side."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cupel import bochs, paths, tap
from cupel.errors import UserError
from cupel.exit_codes import ExitCode

STEP_NS = 1_000_000
BENCH_LINE = re.compile(r"^# bench (\w+) iterations=(\d+) (begin|end)$")


def image() -> Path:
    """The image as it was built."""
    path = paths.build() / "hypervisor" / "metal" / "cupel-metal.elf"
    if not path.is_file():
        raise UserError(f"there is no image {path}", "run ./cupel build", ExitCode.ENVIRONMENT)
    return path


@dataclass(frozen=True)
class Run:
    """What a machine said. `lines`: seconds of real time since power-on, and the line."""

    where: str
    lines: list[tuple[float, str]]
    finished: bool
    coverage: dict[str, Any] = field(default_factory=dict)  # of the model; empty elsewhere

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)


Say = Callable[[str], None]


def on_machine(
    append: str, cpus: int = 1, profile: str = "server", timeout: float = 120.0, seed: int = 0,
    say: Say | None = None, modules: list[tuple[str, str]] | None = None,
) -> Run:
    """Boots the image on the modelled machine. `modules`: path and command line each."""
    from cupel import _core

    start = time.monotonic()
    machine = _core.make_machine(
        str(image()), f"metal {append}", modules or [], cpus, 512 << 20, seed, "", profile
    )
    lines: list[tuple[float, str]] = []
    rest = ""
    running = True
    while running and time.monotonic() - start < timeout:
        running = machine.step(STEP_NS)
        now = time.monotonic() - start
        rest += machine.read().decode("ascii", "replace")
        *whole, rest = rest.split("\n")
        for line in whole:
            lines.append((now, line.rstrip("\r")))
            if say is not None:
                say(line)
    if rest:
        lines.append((time.monotonic() - start, rest))
    finished = any(line == bochs.END_LINE for _, line in lines)
    return Run(f"machine, {profile}", lines, finished, json.loads(machine.coverage()))


def on_bochs(
    append: str, model: str, timeout: float = 300.0, say: Say | None = None
) -> Run:
    """Boots the image in Debian's Bochs."""
    run = bochs.run_image(image(), append, model, timeout, on_line=say)
    return Run(f"Bochs, {model}", run.lines, run.finished)


def results(run: Run) -> tap.TapRun:
    """The self-test's results; an early end is an error."""
    found = tap.parse(run.text)
    if not found.complete:
        reason = found.bail_out or "its plan is missing"
        last = run.lines[-1][1] if run.lines else "nothing"
        raise UserError(
            f"the self-test did not finish on {run.where}: {reason}",
            f"the last line was: {last}",
            ExitCode.GUEST_FAILED,
        )
    return found


@dataclass(frozen=True)
class Timing:
    """A benchmark inside of the image, timed from outside."""

    name: str
    iterations: int
    nanoseconds: float  # of one iteration


def median_timings(runs: list[dict[str, Timing]]) -> dict[str, Timing]:
    """Of several runs of the same benchmarks; a machine's mood changes from second to second."""
    names = runs[0].keys()
    return {
        name: sorted((run[name] for run in runs if name in run), key=lambda t: t.nanoseconds)[
            len(runs) // 2
        ]
        for name in names
    }


def timings(run: Run) -> dict[str, Timing]:
    """What the marker lines say, by the real time at which they were seen."""
    begun: dict[str, float] = {}
    found: dict[str, Timing] = {}
    for at, line in run.lines:
        match = BENCH_LINE.match(line)
        if match is None:
            continue
        name, iterations = match[1], int(match[2])
        if match[3] == "begin":
            begun[name] = at
        elif name in begun:
            found[name] = Timing(name, iterations, (at - begun[name]) * 1e9 / iterations)
    return found
