"""`cupel metal`."""

from __future__ import annotations

import json
import re
from typing import Any, Callable, TypeVar

import click

from cupel import metal as runs
from cupel import metal_search as searching
from cupel import tap
from cupel.bochs import MODELS, missing_tools
from cupel.errors import UserError
from cupel.exit_codes import EXPLANATION, ExitCode
from cupel.tap import Verdict

F = TypeVar("F", bound=Callable[..., Any])

# What Bochs does not survive, left out of its run and of the comparison.
NOT_SURVIVED = ("apic.access.fetch",)
# At least these speeds over Bochs (or at most this time) are promised.
TRIP_NS, TRIP_RATIO, CODE_RATIO = 1000.0, 3.0, 5.0


@click.group(epilog=EXPLANATION)
def metal() -> None:
    """Run the hypervisor core as a bootable image: its self-test and benchmarks on Cupel's machine,
    and on Bochs as an independent referee."""


def json_flag(command: F) -> F:
    """--json"""
    return click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)


def known_deviations() -> dict[str, str]:
    """Tests in which Bochs leaves the SDM, with the words that say so."""
    from cupel import paths

    table = paths.root() / "tests" / "metal" / "bochs_deviations.md"
    if not table.is_file():
        return {}
    rows = re.findall(r"^\| (\S+) \| [\w ]+ \| (.*) \| (.*) \|$", table.read_text(), re.M)
    return {name: words for name, _, words in rows if "." in name}


def known_limits() -> dict[str, str]:
    """Tests in which Cupel's own processor leaves the SDM, with what it does."""
    from cupel import paths

    table = paths.root() / "tests" / "metal" / "bochs_deviations.md"
    if not table.is_file():
        return {}
    _, _, ours = table.read_text().partition("## Where Cupel's own processor")
    return {n: f"a known limit: {what}" for n, what in re.findall(r"^\| (\S+\.\S+) \| (.+) \|$", ours, re.M)}


@metal.command(epilog=EXPLANATION)
@click.option("--cpus", default=1, type=click.IntRange(1, 64), show_default=True)
@click.option("--profile", default="server", show_default=True, help="Processor model.")
@click.option("--append", default="", help="More options for the image.")
@click.option("--seed", default=0, show_default=True)
@json_flag
def test(cpus: int, profile: str, append: str, seed: int, as_json: bool) -> None:
    """Run the self-test on Cupel's machine."""
    run = runs.on_machine(append, cpus, profile, seed=seed, say=None if as_json else click.echo)
    found = runs.results(run)
    limits = known_limits()
    failed = sorted(found.named(Verdict.FAILED) - limits.keys())
    if as_json:
        click.echo(json.dumps({
            "profile": profile, "cpus": cpus, "planned": found.planned, "failed": failed,
            "known_limits": sorted(found.named(Verdict.FAILED) & limits.keys()),
            "skipped": sorted(found.named(Verdict.SKIPPED)),
            "passed": len(found.named(Verdict.PASSED)),
        }))  # fmt: skip
    click.get_current_context().exit(ExitCode.VERDICT_FAILED if failed else ExitCode.OK)


@metal.command(epilog=EXPLANATION)
@click.option("--model", default="corei7_skylake_x", type=click.Choice(MODELS), show_default=True)
@click.option("--profile", default="skylake-sp", show_default=True, help="Ours.")
@json_flag
def compare(model: str, profile: str, as_json: bool) -> None:
    """Run the self-test on Cupel's machine and on Bochs and compare them line by line.

    A difference is fine when the list of Bochs' deviations has it, or when one of the two
    processors does not offer what is tested."""
    need_bochs()
    skip = " ".join(f"skip={name}" for name in NOT_SURVIVED)
    ours = runs.results(runs.on_machine(skip, profile=profile))
    theirs = runs.results(runs.on_bochs(skip, model))
    deviations = known_deviations() | known_limits()
    rows = []
    for d in tap.differences(ours, theirs):
        either = [r for r in (d.left, d.right) if r is not None]
        not_offered = len(either) < 2 or any(r.verdict is Verdict.SKIPPED for r in either)
        explained = deviations.get(d.name) or ("offered by one only" if not_offered else "")
        rows.append({
            "test": d.name, "ours": words(d.left), "bochs": words(d.right), "why": explained,
        })  # fmt: skip
    unexplained = [row for row in rows if not row["why"]]
    failed = sorted(ours.named(Verdict.FAILED) - known_limits().keys())
    same = len(ours.results) - sum(1 for row in rows if row["test"] in ours.results)
    summary = {"ours": len(ours.results), "bochs": len(theirs.results), "same": same,
               "ours_failed": failed, "unexplained": unexplained, "differences": rows}  # fmt: skip
    if as_json:
        click.echo(json.dumps(summary))
    else:
        show_comparison(summary)
    bad = bool(unexplained or failed)
    click.get_current_context().exit(ExitCode.VERDICT_FAILED if bad else ExitCode.OK)


def words(result: tap.TapResult | None) -> str:
    if result is None:
        return "not there"
    return result.verdict.value + (f": {result.detail}" if result.detail else "")


def show_comparison(summary: dict) -> None:  # type: ignore[type-arg]
    for row in summary["differences"]:
        if row["why"] == "offered by one only":
            continue
        click.echo(f"{row['test']}\n  ours:  {row['ours']}\n  Bochs: {row['bochs']}")
        click.echo(f"  SDM:   {row['why'] or 'NOT EXPLAINED'}")
    one_only = sum(1 for row in summary["differences"] if row["why"] == "offered by one only")
    click.echo(
        f"{summary['ours']} tests on ours, {summary['bochs']} on Bochs; {summary['same']} the same, "
        f"{one_only} offered by one only, {len(summary['unexplained'])} not explained; "
        f"{len(summary['ours_failed'])} failed on ours"
    )


def need_bochs() -> None:
    if missing := missing_tools():
        raise UserError(
            "Bochs or its helpers are missing", "install: " + " ".join(missing),
            ExitCode.ENVIRONMENT,
        )


@metal.command(epilog=EXPLANATION)
@click.option("--model", default="corei7_skylake_x", type=click.Choice(MODELS), show_default=True)
@click.option("--strict", is_flag=True, help="Exit with 1 when a figure misses its bound.")
@json_flag
def bench(model: str, strict: bool, as_json: bool) -> None:
    """Time the image's benchmarks on Cupel's machine and on Bochs, in turns; medians of three."""
    need_bochs()
    trips, code = "bench=cpuid_trip iterations=200000", "bench=guest_* iterations=300"
    ours_of, theirs_of = [], []
    for _ in range(3):  # in turns, so that both meet the same machine
        theirs_of.append(
            runs.timings(runs.on_bochs(trips, model)) | runs.timings(runs.on_bochs(code, model))
        )
        ours_of.append(runs.timings(runs.on_machine("bench")))
    ours, theirs = runs.median_timings(ours_of), runs.median_timings(theirs_of)
    rows = []
    for name, mine in ours.items():
        other = theirs.get(name)
        ratio = other.nanoseconds / mine.nanoseconds if other else None
        least = TRIP_RATIO if name == "cpuid_trip" else CODE_RATIO
        good = ratio is not None and ratio >= least
        if name == "cpuid_trip":
            good = good and mine.nanoseconds < TRIP_NS
        rows.append({"name": name, "ours_ns": mine.nanoseconds,
                     "bochs_ns": other.nanoseconds if other else None,
                     "ratio": ratio, "least_ratio": least, "met": good})  # fmt: skip
    if as_json:
        click.echo(json.dumps({"model": model, "figures": rows}))
    else:
        click.echo(f"{'':16}{'ours, ns':>14}{'Bochs, ns':>14}{'times faster':>14}{'at least':>10}")
        for row in rows:
            theirs_shown = f"{row['bochs_ns']:14.1f}" if row["bochs_ns"] else f"{'-':>14}"
            times = f"{row['ratio']:14.1f}" if row["ratio"] else f"{'-':>14}"
            click.echo(
                f"{row['name']:16}{row['ours_ns']:14.1f}{theirs_shown}{times}"
                f"{row['least_ratio']:10.1f}"
                + ("" if row["met"] else "  MISSED")
            )
    missed = not all(row["met"] for row in rows)
    click.get_current_context().exit(ExitCode.VERDICT_FAILED if strict and missed else ExitCode.OK)


@metal.command(epilog=EXPLANATION)
@click.option("--profile", default="server", show_default=True, help="Processor model.")
@click.option("--append", default="", help="Options for the image.")
@json_flag
def coverage(profile: str, append: str, as_json: bool) -> None:
    """Say which exits, checks, fields and instruction errors the self-test reaches, out of those
    that the processor model has."""
    found = runs.on_machine(append, profile=profile).coverage
    if as_json:
        click.echo(json.dumps(found))
        return
    for part in ("exits", "errors", "rows", "fields"):
        reached, missing = len(found[part]["reached"]), found[part]["missing"]
        share = 100.0 * reached / max(1, reached + len(missing))
        click.echo(f"{part:8}{reached:5} of {reached + len(missing):4}{share:7.1f} %")
        for name in missing:
            click.echo(f"          not reached: {name}")


@metal.command(epilog=EXPLANATION)
@click.option("--states", default=50_000, type=click.IntRange(0), show_default=True,
              help="VMCS states near the border of validity.")  # fmt: skip
@click.option("--sequences", default=10_000, type=click.IntRange(0), show_default=True,
              help="Instruction sequences in a guest.")  # fmt: skip
@click.option("--epts", default=10_000, type=click.IntRange(0), show_default=True,
              help="EPT shapes and an access each.")  # fmt: skip
@click.option("--seed", default=1, type=click.IntRange(0), show_default=True)
@click.option("--model", default="corei7_skylake_x", type=click.Choice(MODELS), show_default=True)
@click.option("--profile", default="skylake-sp", show_default=True, help="Ours.")
@json_flag
def search(
    states: int, sequences: int, epts: int, seed: int, model: str, profile: str, as_json: bool
) -> None:
    """Run generated cases on Cupel's machine and on Bochs and look up every disagreement in the
    list tests/metal/search_deviations.md. A disagreement that is not listed ends with exit code 1."""
    need_bochs()
    known = searching.known_rows()
    found = []
    for kind, count in (("states", states), ("sequences", sequences), ("epts", epts)):
        if count == 0:
            continue
        work = searching.Search(kind, seed, *searching.runners(model, profile), say=progress(kind))
        found.append(work.run(count, known))
    if as_json:
        click.echo(json.dumps([search_as_json(f, seed) for f in found]))
    else:
        for f in found:
            show_search(f, seed, model, profile)
    bad = any(group.known is None for f in found for group in f.groups)
    click.get_current_context().exit(ExitCode.VERDICT_FAILED if bad else ExitCode.OK)


def progress(kind: str):  # type: ignore[no-untyped-def]
    def say(what: str, done: int, total: int) -> None:
        filled = 30 * done // max(total, 1)
        bar = "#" * filled + "." * (30 - filled)
        click.echo(f"\r{kind:10}[{bar}] {done} of {total} {what:12}", err=True, nl=done >= total)

    return say


def search_as_json(found: searching.Found, seed: int) -> dict:  # type: ignore[type-arg]
    return {
        "kind": found.kind, "seed": seed, "compared": found.compared,
        "differing": found.differing, "seconds": found.seconds,
        "groups": [
            {"case": g.case, "ours": g.ours, "bochs": g.bochs, "cases": len(g.examples),
             "right": g.known.right if g.known else None, "why": g.known.words if g.known else None,
             "replay": g.replay(seed)}
            for g in found.groups
        ],
    }  # fmt: skip


def show_search(found: searching.Found, seed: int, model: str, profile: str) -> None:
    for g in (g for g in found.groups if g.known is None):
        click.echo(f"NOT LISTED, {len(g.examples)} cases: {g.case}")
        click.echo(f"  ours:  {g.ours}\n  Bochs: {g.bochs}")
        click.echo(f'  cupel machine --profile {profile} $(cupel metal image) '
                   f'--append "{g.replay(seed)}"')  # fmt: skip
        click.echo(f'  python3 -m cupel.bochs --model {model} $(cupel metal image) '
                   f'--append "{g.replay(seed)}"')  # fmt: skip
    by: dict[str, int] = {}
    for g in found.groups:
        right = {"ours": "Bochs leaves the SDM", "bochs": "ours leaves the SDM",
                 "undefined": "left open by the SDM", "profile": "offered by one only",
                 "": "not listed"}[g.known.right if g.known else ""]  # fmt: skip
        by[right] = by.get(right, 0) + len(g.examples)
    parts = [f"{count} {words}" for words, count in sorted(by.items())]
    click.echo(
        f"{found.compared} {found.kind}, {found.differing} differ in {len(found.groups)} groups"
        + (": " + ", ".join(parts) if parts else "")
        + f"; ours {found.seconds['ours']:.0f} s, Bochs {found.seconds['bochs']:.0f} s"
    )


@metal.command(epilog=EXPLANATION, name="image")
def where() -> None:
    """Print the path of the image, for GRUB, PXE or another machine."""
    click.echo(str(runs.image()))
