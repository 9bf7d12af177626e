"""An L1 Linux with kvm-intel on Cupel's own machine, which runs L2 guests on its VT-x."""

import json

import pytest
from cupel import nested_kvm
from cupel.cli import main
from cupel.exit_codes import ExitCode
from cupel.nested_kvm import NestedRun, Place, Programs

from click.testing import CliRunner

LIMIT = 300.0  # seconds; 10 to 20 are used on a free machine

pytestmark = pytest.mark.skipif(
    bool(nested_kvm.missing(Place.MACHINE)), reason=nested_kvm.missing(Place.MACHINE) or "-"
)


def good(run: NestedRun) -> NestedRun:
    assert run.finished, run.text[-2000:]
    assert run.results.failed == {}
    assert run.errors == []
    assert run.succeeded
    return run


def parameters(run: NestedRun) -> set[str]:
    line = next(text for _, text in run.lines if text.startswith("NESTED parameters "))
    return set(line.split()[2:])


def test_every_test_of_the_backend_passes(native: object) -> None:
    linux = (nested_kvm.kernel().parent / "initramfs.cpio.gz").is_file()
    run = good(nested_kvm.run(Place.MACHINE, timeout=LIMIT, programs=Programs(with_linux=linux)))
    assert parameters(run) >= {"ept=Y", "unrestricted_guest=Y", "vpid=Y", "eptad=Y", "vnmi=Y"}
    assert len(run.results.passed) >= (50 if linux else 49)
    assert "unchecked MSR access" not in run.text


# KVM's instruction emulator and virtual-8086 mode; shadow paging, with PAE paging and page faults
# that exit; entries that flush; accessed and dirty flags by exits; the timer by an hrtimer.
@pytest.mark.parametrize(
    "options",
    ["unrestricted_guest=0", "ept=0", "ept=0,vpid=0", "eptad=0", "preemption_timer=0"],
)
def test_kvm_does_without_a_feature(native: object, options: str) -> None:
    run = good(nested_kvm.run(Place.MACHINE, timeout=LIMIT, module_options=options))
    settled = {word.replace("=N", "=0") for word in parameters(run)}
    assert settled >= set(options.split(","))
    assert len(run.results.passed) >= 49


@pytest.mark.parametrize("profile", ["haswell", "ice-lake", "sapphire-rapids"])
def test_kvm_intel_accepts_the_profile(native: object, profile: str) -> None:
    tests = "Events.*:LongMode.*:Workload.SaysHello*"
    assert len(good(nested_kvm.run(Place.MACHINE, tests, LIMIT, profile=profile)).results.passed) == 15


def test_two_processors(native: object) -> None:
    run = good(nested_kvm.run(Place.MACHINE, "Events.*:Workload.Records*", LIMIT, cpus=2))
    assert len(run.results.passed) == 10


def test_the_command_prints_counts(native: object) -> None:
    done = CliRunner(mix_stderr=False).invoke(
        main, ["kvm", "test-intel", "--on", "machine", "--json", "--filter", "LongMode.*"]
    )
    assert done.exit_code == ExitCode.OK, done.stderr
    result = json.loads(done.stdout)
    assert (result["passed"], result["failed"], result["skipped"]) == (5, 0, 0)


def test_time_that_is_up_is_an_answer(native: object) -> None:
    done = CliRunner(mix_stderr=False).invoke(
        main, ["kvm", "test-intel", "--on", "machine", "--json", "--timeout", "1"]
    )
    assert done.exit_code == ExitCode.GUEST_FAILED
    assert json.loads(done.stdout)["verdict"].startswith("time is up")


@pytest.mark.parametrize("words", ["a b", "x'y", "$(reboot)", "A.*;B"])
def test_a_filter_is_one_word_of_the_kernels_line(words: str) -> None:
    done = CliRunner(mix_stderr=False).invoke(main, ["kvm", "test-intel", "--filter", words])
    assert done.exit_code == ExitCode.BAD_INPUT
