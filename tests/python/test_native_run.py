"""Runs through the native module."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import BUILD

from cupel import paths
from cupel.cli import main

SCENARIO = "host-crash-workload"
PLANTED = [
    ("short-hang", "break_lease_early", "single_instance"),
    ("slow-path", "skip_fencing", "no_acknowledged_write_lost"),
    (SCENARIO, "ack_before_flush", "no_acknowledged_write_lost"),
    (SCENARIO, "no_restart", "recovery_within"),
]

pytestmark = pytest.mark.usefixtures("native_run")


def cupel(*arguments: str) -> Result:
    return CliRunner(mix_stderr=False).invoke(main, list(arguments))


def run_json(*arguments: str, code: int = 0) -> dict:
    result = cupel("run", *arguments, "--json")
    assert result.exit_code == code, result.stderr
    return dict(json.loads(result.stdout))


def test_a_run_begins_with_its_replay_command_and_ends_with_its_hash() -> None:
    result = cupel("run", SCENARIO, "--seed", "3")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.stderr
    assert lines[0] == (
        f"./cupel run scenarios/library/{SCENARIO}.yaml --seed 3 --backend model"
    )
    assert lines[-1].startswith("verdict PASS  trace ")
    assert len(lines[-1].split()[-1]) == 16


def test_the_same_seed_gives_the_same_hash_and_another_another() -> None:
    def trace_hash(seed: int) -> str:
        document = run_json(SCENARIO, "--seed", str(seed))
        assert document["seed"] == seed
        return str(document["trace_hash"])

    assert trace_hash(3) == trace_hash(3)
    assert trace_hash(3) != trace_hash(4)


def test_python_and_cpp_see_the_same_run() -> None:
    program = BUILD / "tests" / "scenarios" / "cupel_print_hash"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    for scenario in (SCENARIO, "disk-errors"):
        printed = subprocess.run([program, scenario, "5"], capture_output=True, text=True, check=True)
        assert printed.stdout.strip() == run_json(scenario, "--seed", "5")["trace_hash"]


def test_the_json_document_has_its_documented_form() -> None:
    document = run_json(SCENARIO)
    types = {
        "schema": str, "replay": str, "scenario": str, "seed": int, "backend": str, "verdict": str,
        "expected": str, "planted": str, "as_expected": bool, "trace_hash": str, "duration_ns": int,
        "hosts": list, "vms": list, "figures": dict, "oracles": list, "events": list,
        "consoles": dict,
    }  # fmt: skip
    assert {key: type(value) for key, value in document.items()} == types
    assert document["schema"] == "cupel.run/1"
    assert document["verdict"] == document["expected"] == "pass"
    assert len(document["trace_hash"]) == 16 and int(document["trace_hash"], 16) >= 0
    assert document["figures"]["writes_lost"] == 0
    assert {"detection_time_s", "outage_s", "writes_acknowledged"} <= set(document["figures"])
    kinds = [oracle["kind"] for oracle in document["oracles"]]
    assert kinds == ["no_acknowledged_write_lost", "single_instance", "recovery_within"]
    assert all(oracle["verdict"] == "pass" for oracle in document["oracles"])
    times = [event["at_ns"] for event in document["events"]]
    assert len(times) > 20 and max(times) <= document["duration_ns"]
    assert "WORKLOAD recovered=" in document["consoles"]["web"]


def test_the_timeline_shows_who_was_down_when() -> None:
    lines = cupel("run", "host-hang").stdout.splitlines()
    host = next(line for line in lines if line.startswith("host-a "))
    for symbol in "≈░─":  # hung, then booting after the reset, then up again
        assert symbol in host
    assert host.index("≈") < host.index("░")
    vm = next(line for line in lines if line.startswith("vm/web "))
    assert "█host-a█" in vm or "█host-b█" in vm


@pytest.mark.parametrize(("scenario", "bug", "oracle"), PLANTED)
def test_a_planted_bug_is_caught(scenario: str, bug: str, oracle: str) -> None:
    result = cupel("run", scenario, "--planted", bug)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].endswith(f" --planted {bug}")
    assert any(line.startswith(f"FAIL  {oracle}") for line in lines)
    assert "oracle.violation" in result.stdout
    assert lines[-1].startswith("verdict FAIL  trace ")
    assert cupel("run", scenario).exit_code == 0


def variant(tmp_path: Path, *changes: tuple[str, str]) -> str:
    text = (paths.root() / "scenarios" / "library" / f"{SCENARIO}.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "variant.yaml"
    path.write_text(text)
    return str(path)


def misbehaving(tmp_path: Path, command_line: str) -> str:
    kernel = BUILD / "scenarios" / "guests" / "workload" / "workload.elf"
    if not kernel.exists():
        pytest.skip(f"{kernel} is not built")
    image = f"{{kernel: {kernel}, cmdline: {command_line}}}"
    return variant(tmp_path, ("duration: 40s", "duration: 9s"), ("guest: workload", f"guest: {image}"))


def test_a_guest_that_crashes_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    result = cupel("run", misbehaving(tmp_path, "mode=triple"))
    assert result.exit_code == 4
    assert "VM web on host-a crashed: triple fault" in " ".join(result.stdout.split())
    assert "WORKLOAD up mode=triple" in result.stdout
    assert "Traceback" not in result.stderr


def test_expected_failures_pass(tmp_path: Path) -> None:
    scenario = Path(misbehaving(tmp_path, "mode=triple"))
    scenario.write_text(scenario.read_text() + "expect: {verdict: fail}\n")
    assert cupel("run", str(scenario)).exit_code == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("guest: workload", "guest: {kernel: /nonexistent}", "'/nonexistent'"),
        ("guest: workload", "guest: {kernel: /etc/passwd}", "kernel image"),
        ("guest: workload", "guest: {kernel: /dev}", "'/dev'"),
    ],
)
def test_images_that_cannot_boot_are_bad_input(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    result = cupel("run", variant(tmp_path, (old, new)))
    assert result.exit_code == 2
    assert message in result.stderr and "next: " in result.stderr
    assert result.stderr.count("error: ") == 1 and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("memory: 64MiB", "memory: 0MiB", ":31:13: error: vms[0].memory"),
        ("memory: 64MiB", "memory: 4KiB", "from 16MiB to 3584MiB"),
        ("memory: 64MiB", "memory: 4GiB", "from 16MiB to 3584MiB"),
        ("memory: 64MiB", "memory: 2GiB", "its host 'host-a' only 1GiB"),
        ("memory: 64MiB", "memroy: 64MiB", "unknown key 'memroy'"),
        ("host: host-a", "host: host-x", "names host 'host-x', which does not exist"),
        ("target: host-a", "target: host-x", "names host 'host-x', which does not exist"),
        ("network: lan, ip", "network: wan, ip", "names switch 'wan', which does not exist"),
        ("at: 3s..8s", "at: -1s", "a fault cannot be before the run begins"),
        ("at: 3s..8s", "at: 40s", "is not before the end of the run"),
        ("at: 3s..8s", "at: 8s..3s", "ends before it begins"),
        ("duration: 40s", "duration: forty", "duration"),
        ("ha: true", "ha: 3", "ha"),
        ("  disks:\n", "  disks:\n    - {name: other, size: 8MiB}\n", "a second shared disk"),
    ],
)
def test_scenarios_that_cannot_be_are_refused_with_their_place(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = variant(tmp_path, (old, new))
    result = cupel("run", path)
    assert result.exit_code == 2
    assert f"{path}:" in result.stderr and message in result.stderr, result.stderr
    assert result.stdout == "" and "Traceback" not in result.stderr


def test_ha_timings_that_cannot_be_safe_are_bad_input(tmp_path: Path) -> None:
    result = cupel("run", variant(tmp_path, ("watchdog: 8s", "watchdog: 12s")))
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr and "next: " in result.stderr


def test_an_unknown_planted_bug_is_bad_input() -> None:
    result = cupel("run", SCENARIO, "--planted", "dance")
    assert result.exit_code == 2
    assert "unknown planted bug 'dance'" in result.stderr and "skip_fencing" in result.stderr


def test_a_callback_that_raises_ends_the_run(native: object) -> None:
    scenario = native.load_scenario(  # type: ignore[attr-defined]
        (paths.root() / "scenarios" / "library" / f"{SCENARIO}.yaml").read_text(), "x.yaml"
    )

    def impatient(at_ns: int) -> None:
        if at_ns > 2_000_000_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        native.run(scenario, 1, "model", impatient)  # type: ignore[attr-defined]


@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="no usable /dev/kvm")
def test_a_host_crash_on_kvm(tmp_path: Path) -> None:
    # Time is real there, so everything is ten times as quick.
    quick = variant(
        tmp_path,
        ("duration: 40s", "duration: 6s"),
        ("heartbeat: 1s", "heartbeat: 100ms"),
        ("dead_after: 5s", "dead_after: 500ms"),
        ("lease: 10s", "lease: 1s"),
        ("renew: 2s", "renew: 200ms"),
        ("watchdog: 8s", "watchdog: 800ms"),
        ("at: 3s..8s", "at: 2s"),
        ("bound: 30s", "bound: 3s"),
    )
    document = run_json(quick, "--backend", "kvm")
    assert document["backend"] == "kvm" and document["figures"]["writes_lost"] == 0
