"""`cupel boot`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import click

from cupel.commands.options import backend_option
from cupel.errors import UserError
from cupel.exit_codes import EXPLANATION, ExitCode

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
LEAST_MEMORY = 16 << 20
MOST_MEMORY = 3584 << 20


def parse_memory(text: str) -> int:
    """Bytes of a text such as "256MiB"."""
    found = re.fullmatch(r"(\d{1,12})(KiB|MiB|GiB)", text)
    if found is None:
        raise UserError(f"--memory: '{text}' is not a size", "write for example 256MiB or 1GiB")
    size = int(found[1]) * UNITS[found[2]]
    if not LEAST_MEMORY <= size <= MOST_MEMORY or size % 4096 != 0:
        raise UserError(f"--memory is {text}", "it must be from 16MiB to 3584MiB, in units of 4KiB")
    return size


def existing(option: str, path: Path | None) -> str | None:
    """The path as text, if it is there."""
    if path is not None and not path.is_file():
        raise UserError(f"{option}: there is no file {path}", "check the name")
    return None if path is None else str(path)


@click.command(epilog=EXPLANATION, short_help="Boot a guest with its console here.")
@backend_option
@click.option(
    "--guest",
    type=click.Choice(["linux", "workload"]),
    default="linux",
    show_default=True,
    help="Which of the built-in guests.",
)
@click.option("--memory", default="256MiB", show_default=True, help="Memory of the guest.")
@click.option("--kernel", type=click.Path(path_type=Path), help="Boot this bzImage instead.")
@click.option("--initrd", type=click.Path(path_type=Path), help="With this initial RAM disk.")
@click.option("--append", metavar="TEXT", help="With this kernel command line.")
def boot(
    backend: Literal["model", "kvm"],
    guest: Literal["linux", "workload"],
    memory: str,
    kernel: Path | None,
    initrd: Path | None,
    append: str | None,
) -> None:
    """Boot a guest with its console on this terminal. Ctrl-A x leaves.

    Standard input that is no terminal is typed once the guest listens; when it has ended and the
    guest has nothing more to say, the command ends.
    """
    size = parse_memory(memory)
    kernel_path, initrd_path = existing("--kernel", kernel), existing("--initrd", initrd)
    from cupel import _core
    from cupel.console import run_console

    console = _core.boot(
        backend,
        "image" if kernel_path else guest,
        size,
        kernel_path,
        initrd_path,
        append,
    )
    builtin_linux = kernel_path is None and guest == "linux"
    status = run_console(console, ready=b"CUPEL-LINUX up" if builtin_linux else b"")
    if status is not None and status != 0:
        click.echo(f"cupel: the guest ended with status {status}", err=True)
        click.get_current_context().exit(ExitCode.GUEST_FAILED)
