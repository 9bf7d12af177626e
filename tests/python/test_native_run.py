"""Runs through the native module."""

import json

import pytest
from click.testing import CliRunner, Result

from cupel.cli import main

SCENARIO = "host-crash-workload"


def cupel(*arguments: str) -> Result:
    return CliRunner(mix_stderr=False).invoke(main, list(arguments))


@pytest.mark.usefixtures("native_run")
def test_a_run_begins_with_its_replay_command_and_ends_with_its_hash() -> None:
    result = cupel("run", SCENARIO, "--seed", "3")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.stderr
    assert lines[0] == (
        f"./cupel run scenarios/library/{SCENARIO}.yaml --seed 3 --backend model"
    )
    assert lines[-1].startswith("verdict PASS  trace ")
    assert len(lines[-1].split()[-1]) == 16


@pytest.mark.usefixtures("native_run")
def test_the_same_seed_gives_the_same_hash_and_another_another() -> None:
    def trace_hash(seed: int) -> str:
        result = cupel("run", SCENARIO, "--seed", str(seed), "--json")
        assert result.exit_code == 0, result.stderr
        document = json.loads(result.stdout)
        assert document["seed"] == seed
        return str(document["trace_hash"])

    assert trace_hash(3) == trace_hash(3)
    assert trace_hash(3) != trace_hash(4)
