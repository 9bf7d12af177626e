"""From the benchmark program's output to figures."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from cupel.cli import main
from cupel.commands.bench import read_figures

DOCUMENT = {
    "context": {"num_cpus": 2},
    "benchmarks": [
        {
            "name": "exit/cpuid/model/iterations:1/manual_time",
            "run_type": "iteration",
            "real_time": 300.0,
            "time_unit": "ns",
            "label": "ns | raw engine trap",
            "value": 210.0,
            "denominator": 105.0,
            "bound": 2.5,
        },
        {"name": "snapshot", "real_time": 61.0, "time_unit": "ms", "label": "", "bound": 50.0},
        {"name": "guest_mips", "real_time": 1.0, "time_unit": "s", "label": "MIPS", "value": 900.0},
        {
            "name": "exit/cpuid/kvm/manual_time",
            "error_occurred": True,
            "error_message": "environment: no /dev/kvm",
        },
        {"name": "exit/cpuid/model_mean", "run_type": "aggregate", "real_time": 1.0},
    ],
}


def fake_program(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bench" / "cupel_bench"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(program, 0o755)
    monkeypatch.setenv("CUPEL_BUILD", str(tmp_path))


def test_figures_have_ratio_and_judgement() -> None:
    figures, failures = read_figures(DOCUMENT)
    assert [f.figure for f in figures] == ["exit/cpuid/model", "snapshot", "guest_mips"]
    cpuid, snapshot, mips = figures
    assert (cpuid.ratio, cpuid.within_bound, cpuid.denominator_name) == (2.0, True, "raw engine trap")
    assert (snapshot.value, snapshot.unit, snapshot.ratio) == (61.0, "ms", None)
    assert snapshot.within_bound is False
    assert (mips.unit, mips.within_bound) == ("MIPS", None)
    assert [str(f) for f in failures] == ["exit/cpuid/kvm: no /dev/kvm"]
    assert failures[0].environment


def test_the_command_prints_a_table_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program(tmp_path, f"cat <<'END'\n{json.dumps(DOCUMENT)}\nEND", monkeypatch)
    runner = CliRunner(mix_stderr=False)
    table = runner.invoke(main, ["bench"])
    assert table.exit_code == 0
    assert "raw engine trap" in table.stdout and "MISSED" in table.stdout
    assert "not measured  exit/cpuid/kvm: no /dev/kvm" in table.stdout
    document = json.loads(runner.invoke(main, ["bench", "--json"]).stdout)
    assert document["figures"][0]["ratio"] == 2.0
    assert document["not_measured"] == ["exit/cpuid/kvm: no /dev/kvm"]
    assert runner.invoke(main, ["bench", "--strict"]).exit_code == 1


@pytest.mark.parametrize(
    ("benchmark", "exit_code"),
    [
        ({"name": "a", "real_time": 1.0, "bound": 2.0}, 0),
        ({"name": "a", "real_time": 3.0, "bound": 2.0}, 1),
        ({"name": "a", "error_occurred": True, "error_message": "environment: no KVM"}, 0),
        ({"name": "a", "error_occurred": True, "error_message": "the guest ended"}, 1),
    ],
)
def test_strict_is_about_bounds_and_failures_not_about_the_machine(
    benchmark: dict[str, object], exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = json.dumps({"benchmarks": [benchmark]})
    fake_program(tmp_path, f"cat <<'END'\n{document}\nEND", monkeypatch)
    assert CliRunner().invoke(main, ["bench", "--strict"]).exit_code == exit_code


def test_a_missing_build_and_a_crash_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUPEL_BUILD", str(tmp_path / "none"))
    runner = CliRunner(mix_stderr=False)
    assert runner.invoke(main, ["bench"]).exit_code == 3
    fake_program(tmp_path, "exit 9", monkeypatch)
    assert runner.invoke(main, ["bench"]).exit_code == 5
