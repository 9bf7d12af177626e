"""`cupel machine`."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cupel.commands.boot import UNITS
from cupel.console import run_console
from cupel.errors import UserError
from cupel.exit_codes import ExitCode

if TYPE_CHECKING:
    from cupel import _core

LEAST_MEMORY = 2 << 20
MOST_MEMORY = 3584 << 20
TIME_UNITS = {"ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}

EPILOG = """\b
Exit status:
  2 * value + 1 of the image's write to the debug exit, port 0xf4: value 0 gives 1
  0  power-off, a reset asked for, or input over and the image waiting
  2  bad input: an argument, an image
  3  the environment lacks something
  4  triple fault, VMX abort, nothing left that could happen, or a limit reached
  5  internal error
With --json the status is in the result, and the command ends with 0 unless it is 2, 3 or 5."""


def parse_memory(text: str) -> int:
    """Bytes of a text such as "512MiB"."""
    found = re.fullmatch(r"(\d{1,12})(KiB|MiB|GiB)", text)
    if found is None:
        raise UserError(f"--memory: '{text}' is not a size", "write for example 512MiB or 2GiB")
    size = int(found[1]) * UNITS[found[2]]
    if not LEAST_MEMORY <= size <= MOST_MEMORY or size % 4096 != 0:
        raise UserError(f"--memory is {text}", "it must be from 2MiB to 3584MiB, in units of 4KiB")
    return size


def parse_time(text: str | None) -> int | None:
    """Virtual nanoseconds of a text such as "500ms"."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,9})(ms|s|min|h)", text)
    if found is None or int(found[1]) == 0:
        raise UserError(f"--time: '{text}' is not a time", "write for example 500ms, 20s or 5min")
    return int(found[1]) * TIME_UNITS[found[2]]


def parse_module(text: str) -> tuple[str, str]:
    """File and command line of "PATH" or "PATH ARGUMENTS"."""
    path, _, arguments = text.partition(" ")
    if not Path(path).is_file():
        raise UserError(f"--module: there is no file {path}", "check the name")
    return path, f"{path} {arguments}".strip()


class Limited:
    """A machine that also ends at a limit."""

    def __init__(self, machine: _core.Machine, virtual_ns: int | None, wall_s: float | None):
        self.machine = machine
        self.virtual_limit = virtual_ns
        self.wall_end = None if wall_s is None else time.monotonic() + wall_s
        self.limit: str | None = None
        self.output = bytearray()

    def step(self, nanoseconds: int) -> bool:
        """Runs the machine; False when it has stopped or a limit is reached."""
        if self.virtual_limit is not None:
            nanoseconds = min(nanoseconds, self.virtual_limit - self.machine.virtual_ns)
        running = self.machine.step(nanoseconds)
        if not running:
            return False
        if self.virtual_limit is not None and self.machine.virtual_ns >= self.virtual_limit:
            self.limit = "the limit on virtual time (--time) is reached"
        elif self.wall_end is not None and time.monotonic() >= self.wall_end:
            self.limit = "the limit on real time (--wall) is reached"
        return self.limit is None

    def read(self) -> bytes:
        return self.machine.read()

    def write(self, data: bytes) -> int:
        return self.machine.write(data)

    @property
    def idle(self) -> bool:
        return self.machine.idle

    @property
    def exit_status(self) -> int | None:
        return self.machine.exit_status

    @property
    def virtual_ns(self) -> int:
        return self.machine.virtual_ns


def outcome(guest: Limited) -> tuple[int, str]:
    """Exit status, and what to say about it."""
    machine = guest.machine
    status = machine.exit_status
    if status is not None:
        return status & 0xFF, machine.stop_text
    if guest.limit is not None:
        place = ", ".join(
            f"processor {n} at RIP {p['rip']:#x}" for n, p in enumerate(machine.processors)
        )
        return ExitCode.GUEST_FAILED, f"{guest.limit}: {place}"
    if machine.stop_kind in ("power-off", "reset", "running"):
        return ExitCode.OK, machine.stop_text
    return ExitCode.GUEST_FAILED, machine.stop_text


def run_quietly(guest: Limited) -> bytes:
    """Runs to the end without a terminal; the console's text."""
    text = bytearray()
    while guest.step(10_000_000):
        text += guest.read()
    return bytes(text + guest.read())


@click.command(epilog=EPILOG, short_help="Boot an image, for example a hypervisor, on modelled VT-x.")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--append", default="", metavar="TEXT", help="Its command line.")
@click.option(
    "--module", "modules", multiple=True, metavar="PATH", help="A module (Linux: the initrd)."
)
@click.option("--cpus", default=1, type=click.IntRange(1, 64), show_default=True)
@click.option("--memory", default="512MiB", show_default=True, help="2MiB to 3584MiB.")
@click.option("--profile", default="server", show_default=True, help="Processor model.")
@click.option("--seed", default=0, show_default=True, help="Decides the order of processors.")
@click.option("--time", "virtual", metavar="T", help="Stop after this virtual time, e.g. 20s.")
@click.option("--wall", type=float, metavar="SECONDS", help="Stop after this real time.")
@click.option(
    "--kind",
    type=click.Choice(["multiboot", "pvh", "linux"]),
    help="Boot protocol; recognized when not given.",
)
@click.option("--json", "as_json", is_flag=True, help="No terminal; a result with the console.")
def machine(
    image: Path,
    append: str,
    modules: tuple[str, ...],
    cpus: int,
    memory: str,
    profile: str,
    seed: int,
    virtual: str | None,
    wall: float | None,
    kind: str | None,
    as_json: bool,
) -> None:
    """Boot IMAGE (Multiboot, PVH or Linux bzImage) on modelled processors with VT-x.

    Its serial port is this terminal; Ctrl-A x leaves.
    """
    size, limit = parse_memory(memory), parse_time(virtual)
    if not image.is_file():
        raise UserError(f"there is no file {image}", "check the name")
    files = [parse_module(text) for text in modules]
    from cupel import _core

    line = f"{image.name} {append}".strip() if kind != "linux" else append
    guest = Limited(
        _core.make_machine(str(image), line, files, cpus, size, seed, kind or "", profile), limit, wall
    )
    context = click.get_current_context()
    if not as_json:
        run_console(guest, ready=b"")
        status, text = outcome(guest)
        if text:
            click.echo(f"cupel: {text}", err=True)
        context.exit(status)
    console = run_quietly(guest)
    status, text = outcome(guest)
    click.echo(
        json.dumps(
            {
                "image": os.fspath(image),
                "profile": profile,
                "seed": seed,
                "status": int(status),
                "stop": "limit" if guest.limit else guest.machine.stop_kind,
                "text": text,
                "virtual_ns": guest.virtual_ns,
                "processors": guest.machine.processors,
                "console": console.decode("utf-8", "replace"),
            }
        )
    )
