"""`cupel scenarios`, `cupel faults`, `cupel oracles`: what there is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from cupel import paths, report

if TYPE_CHECKING:
    from cupel import _core

json_option = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.command(short_help="List the scenarios of the library.")
@json_option
def scenarios(as_json: bool) -> None:
    """List the scenarios of the library."""
    from cupel import _core

    rows = []
    for path in paths.library():
        scenario = _core.load_scenario(paths.read_scenario(path), str(path))
        rows.append((path, scenario))
    if as_json:
        listed = [
            {"name": s.name, "file": paths.shown(path), "description": s.description,
             "duration_ns": s.duration_ns}
            for path, s in rows
        ]
        click.echo(json.dumps(listed, indent=2))
        return
    console = report.make_console()
    for path, s in rows:
        console.print(Text.assemble((s.name, "bold"), f"  {s.duration_ns / 1e9:g} s"))
        say(console, s.description)
        say(console, paths.shown(path))


@click.command(short_help="List the kinds of faults.")
@json_option
def faults(as_json: bool) -> None:
    """List the kinds of faults a scenario can inject, and their parameters."""
    from cupel import _core

    rows = _core.fault_catalogue()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    console = report.make_console()
    for row in rows:
        console.print(Text.assemble((row["name"], "bold"), f"  on a {row['target']}"))
        say(console, row["contract"])
        say(console, f"At its end: {row['after_end']}")
        show_parameters(console, row["parameters"])
        say(console, f"Source: {row['source']}")


@click.command(short_help="List the properties that can be judged.")
@json_option
def oracles(as_json: bool) -> None:
    """List the properties a scenario can have judged, and their parameters."""
    from cupel import _core

    rows = _core.oracle_catalogue()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    console = report.make_console()
    for row in rows:
        console.print(Text.assemble((row["name"], "bold"), f"  {row['property']}"))
        say(console, row["claim"])
        say(console, f"Watches: {row['watches']}")
        show_parameters(console, row["parameters"])


def say(console: Console, text: str) -> None:
    """One indented paragraph."""
    console.print(Padding(Text(text), (0, 0, 0, 2), expand=False))


def show_parameters(console: Console, parameters: list[_core.ParameterRow]) -> None:
    for p in parameters:
        allowed = ", ".join(p["choices"]) if p["choices"] else f"{p['least']} to {p['most']}"
        default = "required" if p["required"] else f"default {p['default']}"
        say(console, f"parameter {p['name']} ({p['type']}, {allowed}; {default}): {p['what']}")
