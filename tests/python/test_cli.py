"""The command line, as far as it needs no run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cupel import paths
from cupel.cli import main

COMMANDS = ["run", "demo", "boot", "machine", "metal", "kvm", "bench", "check", "vmcs", "scenarios", "faults", "oracles",
            "version"]


def cupel(*arguments: str) -> Result:
    return CliRunner(mix_stderr=False).invoke(main, list(arguments))


def test_help_lists_every_command_and_the_exit_codes() -> None:
    result = cupel("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert command in result.stdout
    assert "4  the guest failed" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    result = cupel(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {command}")
    assert len(result.stdout.splitlines()) > 4


def test_the_package_is_a_program() -> None:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    done = subprocess.run(
        [sys.executable, "-m", "cupel", "version"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    assert done.stdout == "cupel 0.1.0\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["dance"],
        ["run"],
        ["run", "host-crash", "--seed", "x"],
        ["run", "host-crash", "--seed", "-1"],
        ["run", "host-crash", "--seed", str(2**64)],
        ["run", "host-crash", "--backend", "qemu"],
        ["boot", "--memory", "256"],
        ["boot", "--memory", "1MiB"],
        ["boot", "--memory", "0MiB"],
        ["boot", "--memory", "999999GiB"],
        ["boot", "--kernel", "/nonexistent"],
    ],
)
def test_bad_arguments_exit_with_2_and_one_message(arguments: list[str]) -> None:
    result = cupel(*arguments)
    assert result.exit_code == 2
    assert "rror: " in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.usefixtures("native")
def test_an_unknown_scenario_is_answered_with_the_nearest() -> None:
    result = cupel("run", "host-crush")
    assert result.exit_code == 2
    assert "there is no scenario 'host-crush'" in result.stderr
    assert "did you mean 'host-crash'?" in result.stderr


def test_without_the_native_module_the_environment_is_at_fault(tmp_path: Path) -> None:
    environment = dict(os.environ, PYTHONPATH=str(paths.root() / "python"))
    done = subprocess.run(
        [sys.executable, "-m", "cupel", "faults"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 3
    assert "cupel._core cannot be loaded" in done.stderr
    assert "next: start with ./cupel" in done.stderr


@pytest.mark.usefixtures("native")
class TestCheck:
    def test_bad_yaml_gives_every_place_and_exit_2(self, tmp_path: Path) -> None:
        bad = tmp_path / "bad.yaml"
        bad.write_text("name: x\nduration: 5\nhosts:\n  - name: a\n    memroy: 1GiB\nvms: []\n")
        result = cupel("check", str(bad))
        assert result.exit_code == 2
        assert f"{bad}:2:11: error: duration: '5' has no unit" in result.stderr
        assert f"{bad}:5:5: error: unknown key 'memroy' in hosts[0]" in result.stderr
        assert "did you mean 'memory'?" in result.stderr

    def test_run_refuses_it_the_same_way(self, tmp_path: Path) -> None:
        bad = tmp_path / "bad.yaml"
        bad.write_text("name: [x\n")
        result = cupel("run", str(bad))
        assert result.exit_code == 2
        assert f"{bad}:" in result.stderr
        assert result.stdout == ""

    @pytest.mark.parametrize("content", [b"", b"\0\0", b"\xff\xfe\xfd", b"x" * (2 << 20)])
    def test_files_that_are_no_scenarios(self, tmp_path: Path, content: bytes) -> None:
        bad = tmp_path / "bad.yaml"
        bad.write_bytes(content)
        assert cupel("check", str(bad)).exit_code == 2

    def test_one_bad_file_does_not_hide_the_others(self, tmp_path: Path) -> None:
        result = cupel("check", str(tmp_path / "missing.yaml"), "host-crash")
        assert result.exit_code == 2
        assert "host-crash.yaml: ok: host-crash, 50 s, 3 hosts, 1 VM" in result.stdout

    def test_the_whole_library_is_good(self) -> None:
        result = cupel("check", *(path.stem for path in paths.library()))
        assert result.exit_code == 0
        assert result.stderr == ""


@pytest.mark.usefixtures("native")
class TestLists:
    def test_scenarios(self) -> None:
        names = [row["name"] for row in json.loads(cupel("scenarios", "--json").stdout)]
        assert "host-crash" in names
        assert "host-crash" in cupel("scenarios").stdout

    def test_faults(self) -> None:
        rows = {row["name"]: row for row in json.loads(cupel("faults", "--json").stdout)}
        assert rows["disk.io_errors"]["parameters"][0]["name"] == "probability"
        assert all(row["contract"] for row in rows.values())
        assert "host.power_loss  on a host" in cupel("faults").stdout

    def test_oracles(self) -> None:
        rows = {row["name"]: row for row in json.loads(cupel("oracles", "--json").stdout)}
        assert rows["recovery_within"]["parameters"][0]["required"] is True
        assert "single_instance  safety" in cupel("oracles").stdout
