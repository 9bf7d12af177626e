"""`cupel machine` and `cupel metal` as people use them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BUILD, ROOT

IMAGE = BUILD / "hypervisor" / "metal" / "cupel-metal.elf"
ENVIRONMENT = dict(
    os.environ,
    CUPEL_ROOT=str(ROOT),
    CUPEL_BUILD=str(BUILD),
    PYTHONPATH=os.pathsep.join([str(ROOT / "python"), str(BUILD / "python")]),
)
PATIENCE_S = 240

pytestmark = [
    pytest.mark.usefixtures("native"),
    pytest.mark.skipif(not IMAGE.exists(), reason="the image is not built"),
]


def cupel(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cupel", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["/nonexistent"], "there is no file"),
        ([str(ROOT / "README.md")], "not an image that can be booted"),
        ([str(IMAGE), "--memory", "1MiB"], "--memory is 1MiB"),
        ([str(IMAGE), "--memory", "much"], "is not a size"),
        ([str(IMAGE), "--profile", "pentium"], "no processor profile 'pentium'"),
        ([str(IMAGE), "--time", "soon"], "is not a time"),
        ([str(IMAGE), "--module", "/nonexistent"], "--module: there is no file"),
    ],
)
def test_bad_input_is_refused_with_what_to_do(arguments: list[str], said: str) -> None:
    done = cupel("machine", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "next:" in done.stderr


def test_the_exit_status_is_that_of_the_debug_exit() -> None:
    done = cupel("machine", str(IMAGE), "--append", "test=exit.cpuid")
    assert "ok 1 - exit.cpuid" in done.stdout
    assert done.returncode == 1  # value 0


def test_a_limit_says_where_the_processor_was() -> None:
    done = cupel("machine", str(IMAGE), "--append", "bench", "--time", "1ms")
    assert done.returncode == 4
    assert "limit on virtual time" in done.stderr
    assert "processor 0 at RIP 0x" in done.stderr


def test_the_report_tells_what_the_processors_did(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    done = cupel(
        "machine", str(IMAGE), "--append", "test=check.*", "--json", "--report", str(path)
    )
    assert done.returncode == 0
    result = json.loads(done.stdout)
    assert result["stop"] == "debug-exit"
    assert "# done" in result["console"]
    report = json.loads(path.read_text())
    (processor,) = report["processors"]
    assert 0 < len(processor["last_exits"]) <= 64
    assert "entry_failure_guest_state" in report["coverage"]["exits"]["reached"]
    assert "guest.rflags.reserved" in report["coverage"]["rows"]["reached"]


def test_coverage_names_what_is_not_reached() -> None:
    done = cupel("metal", "coverage", "--append", "test=exit.cpuid")
    assert done.returncode == 0
    assert "not reached: hlt" in done.stdout


def test_the_path_of_the_image_is_printed() -> None:
    done = cupel("metal", "image")
    assert done.stdout.strip() == str(IMAGE)
