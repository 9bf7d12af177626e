"""`cupel kvm`."""

from __future__ import annotations

import json

import click

from cupel import bochs, nested_kvm
from cupel.exit_codes import EXPLANATION, ExitCode
from cupel.nested_kvm import NestedRun, Place, Programs


@click.group(epilog=EXPLANATION)
def kvm() -> None:
    """Try the kvm backend where the VT-x is software but the KVM is real."""


@kvm.command(name="test-intel", epilog=EXPLANATION)
@click.option(
    "--on", "place", default="bochs", type=click.Choice([p.value for p in Place]),
    show_default=True, help="Whose VT-x: Bochs', or that of Cupel's machine.",
)  # fmt: skip
@click.option("--filter", "test_filter", default="", metavar="PATTERN", help="As --gtest_filter.")
@click.option(
    "--timeout", default=1800.0, type=click.FloatRange(min=1), show_default=True,
    help="Seconds of real time.",
)  # fmt: skip
@click.option("--linux", "with_linux", is_flag=True, help="With the test that boots a Linux guest.")
@click.option(
    "--module-options", default="", metavar="LIST", help="For kvm-intel, as ept=0,vpid=0."
)
@click.option("--model", default="corei7_skylake_x", type=click.Choice(bochs.MODELS),
              show_default=True, help="Bochs' processor.")  # fmt: skip
@click.option("--profile", default="skylake-sp", show_default=True, help="The machine's processor.")
@click.option("--cpus", default=1, type=click.IntRange(1, 8), show_default=True,
              help="Processors of the machine.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def test_intel(
    place: str, test_filter: str, timeout: float, with_linux: bool, module_options: str,
    model: str, profile: str, cpus: int, as_json: bool,
) -> None:  # fmt: skip
    """Run the kvm backend's tests on real kvm-intel.

    A Debian kernel with kvm-intel boots there and runs them; on Bochs that takes several minutes,
    and tests that it hangs at are left out.
    """
    run = nested_kvm.run(
        Place(place), test_filter, timeout, module_options, Programs(with_linux=with_linux),
        model, profile, cpus, None if as_json else click.echo,
    )  # fmt: skip
    code, verdict = judge(run, timeout)
    left_out = list(nested_kvm.NOT_SURVIVED) if run.place is Place.BOCHS else []
    results = run.results
    counts = {"passed": len(results.passed), "failed": len(results.failed),
              "skipped": len(results.skipped)}  # fmt: skip
    if as_json:
        click.echo(json.dumps({
            "on": place, "processor": model if run.place is Place.BOCHS else profile,
            **counts, "left_out": left_out, "failed_tests": results.failed, "skipped_tests": results.skipped,
            "unfinished": results.unfinished, "errors": run.errors, "verdict": verdict,
            "boot_seconds": run.boot_seconds, "seconds": run.seconds,
        }))  # fmt: skip
    else:
        for name, words in results.skipped.items():
            click.echo(f"skipped: {name}: {words.splitlines()[-1] if words else 'no reason given'}")
        for name in left_out:
            click.echo(f"left out, as Bochs hangs at it: {name}")
        for name in results.failed:
            click.echo(f"failed: {name}")
        click.echo(", ".join(f"{count} {word}" for word, count in counts.items())
                   + f" in {run.seconds:.0f} s: {verdict}")  # fmt: skip
    click.get_current_context().exit(code)


def judge(run: NestedRun, timeout: float) -> tuple[ExitCode, str]:
    """The exit code and what to say."""
    results = run.results
    if not run.finished:
        at = f" in {results.unfinished}" if results.unfinished else ""
        if run.seconds < timeout:
            return ExitCode.GUEST_FAILED, f"the machine ended early{at}"
        return ExitCode.GUEST_FAILED, f"time is up after {timeout:.0f} s{at}"
    if results.failed:
        return ExitCode.VERDICT_FAILED, "tests failed"
    if run.errors or not run.succeeded:
        return ExitCode.GUEST_FAILED, "; ".join(run.errors) or "a program failed"
    if results.total == 0:
        return ExitCode.BAD_INPUT, "the filter leaves no test"
    return ExitCode.OK, "all passed"
