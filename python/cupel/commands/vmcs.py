"""`cupel vmcs`: the doctor for VM entries that fail, and what the VT-x model knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from cupel import report
from cupel.commands.catalogues import json_option, say
from cupel.errors import UserError
from cupel.exit_codes import EXPLANATION, ExitCode

if TYPE_CHECKING:
    from cupel import _core

MOST = 1 << 20  # bytes of a dump

profile_option = click.option(
    "--profile",
    default="server",
    show_default=True,
    metavar="NAME",
    help="Processor that judges; `cupel vmcs profiles` lists them.",
)
implemented_option = click.option(
    "--implemented",
    is_flag=True,
    help="Only what Cupel's model executes of the processor, not all that the silicon has.",
)


@click.group(epilog=EXPLANATION)
def vmcs() -> None:
    """Say why a VM entry fails, from a dump of its VMCS; list fields, checks and profiles."""


@vmcs.command(epilog=EXPLANATION, short_help="Say which checks a dump fails.")
@click.argument("dump", metavar="DUMP|-")
@profile_option
@implemented_option
@click.option("--without", multiple=True, metavar="CONTROL",
              help="Take a control away from the processor, named as the SDM does. Repeatable.")
@click.option("--host-mode", type=click.Choice(["32", "64"]), default="64", show_default=True,
              help="Mode the processor is in at VM entry: 64 is IA-32e mode.")
@click.option("--physical-bits", type=click.IntRange(32, 52),
              help="Physical-address width; default: the profile's.")
@click.option("--lenient", is_flag=True, help="Do not fail on lines that are not understood.")
@json_option
def check(dump: str, profile: str, implemented: bool, without: tuple[str, ...], host_mode: str,
          physical_bits: int | None, lenient: bool, as_json: bool) -> None:
    """Say every check of VM entry that a VMCS fails: its ID, the fields with their values, what is
    allowed, the section of the SDM, and which check decides.

    DUMP holds lines `field = value` (names as in `cupel vmcs fields`, the SDM or Linux, or
    encodings), a JSON object, or what Linux' KVM writes to the kernel log after a failed entry.
    Fields that are not given count as 0. Exit code 1: the entry fails."""
    from cupel import _core

    found = _core.vmcs_check(read_dump(dump), profile, implemented, list(without),
                             host_mode == "64", physical_bits)
    say_problems(dump, found["problems"])
    if as_json:
        told = {**json.loads(found["json"]), "problems": found["problems"]}
        click.echo(json.dumps(told, indent=2))
    else:
        click.echo(found["text"], nl=False)
    leave(found["problems"], lenient, nothing_given=found["given"] == 0,
          differs=not found["passes"])


@vmcs.command(epilog=EXPLANATION, short_help="List the VMCS fields.")
@profile_option
@implemented_option
@json_option
def fields(profile: str, implemented: bool, as_json: bool) -> None:
    """List the VMCS fields that a processor has."""
    from cupel import _core

    rows = [row for row in _core.vmcs_fields(profile, implemented) if row["exists"]]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['encoding']:04X}H  {row['width']:>7}  {row['type']:<11}  {row['name']}")


@vmcs.command(epilog=EXPLANATION, short_help="List the checks of VM entry.")
@json_option
def rows(as_json: bool) -> None:
    """List the checks of VM entry in the architecture's order."""
    from cupel import _core

    all_rows = _core.vmcs_rows()
    if as_json:
        click.echo(json.dumps(all_rows, indent=2))
        return
    console = report.make_console()
    section = ""
    for row in all_rows:
        if row["section"] != section:
            section = row["section"]
            console.print(Text(f"{section}", "bold"))
        console.print(Text(f"  {row['id']}"))
        say(console, f"  {row['allowed']}")


@vmcs.command(epilog=EXPLANATION, short_help="List the processor profiles.")
@json_option
def profiles(as_json: bool) -> None:
    """List the processors whose VT-x capabilities are known."""
    from cupel import _core

    known = _core.vmcs_profiles()
    if as_json:
        click.echo(json.dumps(known, indent=2))
        return
    for row in known:
        click.echo(f"{row['name']:<16} {row['title']}")


@vmcs.command(epilog=EXPLANATION, short_help="Compare two dumps.")
@click.argument("a", metavar="A|-")
@click.argument("b", metavar="B|-")
@click.option("--lenient", is_flag=True, help="Do not fail on lines that are not understood.")
@json_option
def diff(a: str, b: str, lenient: bool, as_json: bool) -> None:
    """List the fields in which two dumps differ. Exit code 1: there are some."""
    from cupel import _core

    if a == b == "-":
        raise UserError("both dumps are standard input", "name a file for one of them")
    found = _core.vmcs_diff(read_dump(a), read_dump(b))
    say_problems(a, found["problems_a"])
    say_problems(b, found["problems_b"])
    if as_json:
        click.echo(json.dumps(found["differences"], indent=2))
    else:
        for row in found["differences"]:
            left, right = (shown(row["a"]), shown(row["b"]))
            click.echo(f"{row['encoding']:04X}H  {row['name']:<32} {left:>18}  {right:>18}")
    leave(found["problems_a"] + found["problems_b"], lenient, nothing_given=False,
          differs=bool(found["differences"]))


def shown(value: int | None) -> str:
    return "-" if value is None else f"{value:#x}"


def read_dump(name: str) -> str:
    """The text of a dump; whatever is no UTF-8 in it is left to the reader to complain about."""
    try:
        if name == "-":
            data = click.get_binary_stream("stdin").read(MOST + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(MOST + 1)
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}",
                        "check the name and its permissions") from error
    if len(data) > MOST:
        raise UserError(f"{name} is larger than {MOST >> 20} MiB", "cut the dump of one VMCS out")
    return data.decode("utf-8", errors="replace")


def say_problems(name: str, problems: list[_core.DumpProblem]) -> None:
    for problem in problems:
        click.echo(f"{name}:{problem['line']}: {problem['message']}", err=True)
        if problem["hint"]:
            click.echo(f"  -> {problem['hint']}", err=True)


def leave(problems: list[_core.DumpProblem], lenient: bool, *, nothing_given: bool,
          differs: bool) -> None:
    """Ends the command with its exit code. A dump half understood is bad input: its verdict may be
    wrong."""
    context = click.get_current_context()
    if nothing_given:
        raise UserError("the dump gives no field at all",
                        "`cupel vmcs check --help` says which forms are read")
    if problems and not lenient:
        context.exit(ExitCode.BAD_INPUT)
    if differs:
        context.exit(ExitCode.VERDICT_FAILED)
