"""`cupel run` around a native run that is replaced by a canned result."""

import json
import os
import pty
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest
from canned import CRASH, S
from click.testing import CliRunner, Result

from cupel.cli import main
from cupel.commands.run import progress_bar
from cupel.result import Event, RunResult


@pytest.fixture
def returns(native: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Lets the native run return a result, or raise an exception."""

    def plan(outcome: RunResult | BaseException) -> None:
        def run(scenario: Any, seed: int, backend: str, *_: Any) -> RunResult:
            if isinstance(outcome, BaseException):
                raise outcome
            return replace(outcome, seed=seed, backend=backend)

        monkeypatch.setattr(native, "run", run, raising=False)

    return plan


def cupel(*arguments: str) -> Result:
    return CliRunner(mix_stderr=False).invoke(main, list(arguments))


def native_error(native: Any, kind: str) -> BaseException:
    error = native.CupelError("the guest triple-faulted at RIP 0x1000")
    error.kind, error.hint = kind, "look at its console"
    assert isinstance(error, BaseException)
    return error


def test_first_the_replay_command_last_the_verdict(returns: Callable[[Any], None]) -> None:
    returns(CRASH)
    result = cupel("run", "host-crash", "--seed", "9", "--backend", "kvm")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == "./cupel run scenarios/library/host-crash.yaml --seed 9 --backend kvm"
    assert lines[-1] == "verdict PASS  trace 00c0ffee12345678"
    assert "\x1b" not in result.stdout
    assert result.stderr == ""


def test_a_planted_bug_is_part_of_the_replay_command(returns: Callable[[Any], None]) -> None:
    returns(replace(CRASH, verdict="fail"))
    result = cupel("run", "host-crash", "--planted", "skip_fencing")
    assert result.stdout.splitlines()[0].endswith(" --backend model --planted skip_fencing")


def test_the_demo_is_host_crash_with_its_own_seed(returns: Callable[[Any], None]) -> None:
    returns(CRASH)
    first = cupel("demo").stdout.splitlines()[0]
    assert first == "./cupel run scenarios/library/host-crash.yaml --seed 7 --backend model"


def test_json_alone_is_on_standard_output(returns: Callable[[Any], None]) -> None:
    returns(CRASH)
    result = cupel("run", "host-crash", "--json")
    assert json.loads(result.stdout)["replay"] == result.stderr.strip()


def test_an_unexpected_verdict_exits_with_1(returns: Callable[[Any], None]) -> None:
    returns(replace(CRASH, verdict="fail"))
    result = cupel("run", "host-crash")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-1].startswith("verdict FAIL  trace ")


def test_an_expected_failure_exits_with_0(returns: Callable[[Any], None], tmp_path: Path) -> None:
    library = Path(__file__).parents[2] / "scenarios" / "library" / "host-crash.yaml"
    shows_failure = tmp_path / "planted.yaml"
    shows_failure.write_text(library.read_text() + "expect: {verdict: fail}\n")
    returns(replace(CRASH, verdict="fail"))
    assert cupel("run", str(shows_failure)).exit_code == 0
    returns(CRASH)
    assert cupel("run", str(shows_failure)).exit_code == 1


@pytest.mark.parametrize(
    ("kind", "code"), [("bad_input", 2), ("environment", 3), ("guest", 4), ("internal", 5)]
)
def test_errors_of_the_run_have_their_exit_codes(
    native: Any, returns: Callable[[Any], None], kind: str, code: int
) -> None:
    returns(native_error(native, kind))
    result = cupel("run", "host-crash")
    assert result.exit_code == code
    assert "error: the guest triple-faulted at RIP 0x1000" in result.stderr
    assert "next: look at its console" in result.stderr


def test_the_unforeseen_exits_with_5(returns: Callable[[Any], None]) -> None:
    returns(RuntimeError("surprise"))
    result = cupel("run", "host-crash")
    assert result.exit_code == 5
    assert "surprise" in result.stderr and "this is a bug of Cupel" in result.stderr


def test_an_interrupted_run_says_so(returns: Callable[[Any], None]) -> None:
    returns(KeyboardInterrupt())
    result = cupel("run", "host-crash")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr


def test_the_trace_has_one_object_a_line(returns: Callable[[Any], None], tmp_path: Path) -> None:
    returns(CRASH)
    trace = tmp_path / "trace.jsonl"
    assert cupel("run", "host-crash", "--trace", str(trace)).exit_code == 0
    events = [Event(**json.loads(line)) for line in trace.read_text().splitlines()]
    assert events == CRASH.events


def test_a_trace_that_cannot_be_written_costs_no_run(
    returns: Callable[[Any], None], tmp_path: Path
) -> None:
    returns(RuntimeError("must not run"))
    result = cupel("run", "host-crash", "--trace", str(tmp_path / "none" / "trace"))
    assert result.exit_code == 2
    assert "cannot write" in result.stderr


def read_or_nothing(fd: int) -> bytes:
    try:
        return os.read(fd, 4096)
    except BlockingIOError:
        return b""


def test_a_terminal_gets_a_progress_bar(native: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    main_fd, terminal_fd = pty.openpty()
    library = Path(__file__).parents[2] / "scenarios" / "library" / "host-crash.yaml"
    scenario = native.load_scenario(library.read_text(), str(library))
    with os.fdopen(terminal_fd, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        with progress_bar(scenario) as (on_progress, on_event):
            assert on_progress is not None and on_event is not None
            on_event(Event(12 * S, "host-a", "fault.host.power_loss", "[markup]"))
            on_progress(12 * S)
        terminal.flush()
        os.set_blocking(main_fd, False)
        shown = b"".join(iter(lambda: read_or_nothing(main_fd), b"")).decode()
    os.close(main_fd)
    assert "12.000 s" in shown
    assert "[markup]" in shown
