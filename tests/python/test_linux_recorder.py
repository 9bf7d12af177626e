"""Recovery of the Linux guest's recorder (scenarios/guests/linux/recorder.c), on plain files."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "scenarios" / "guests" / "linux" / "recorder.c"
SECTOR = 512


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("recorder") / "recorder"
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    subprocess.run(["gcc", *flags, "-o", program, SOURCE], check=True)
    return program


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return make_disk(tmp_path / "disk.img", sectors=65536)


def make_disk(path: Path, sectors: int) -> Path:
    path.touch()
    os.truncate(path, sectors * SECTOR)
    return path


def record(recorder: Path, disk: Path, count: int) -> list[str]:
    """Appends `count` records; the lines it printed."""
    command = [str(recorder), "run", str(disk), "--rate-us", "0", "--port", "0"]
    done = subprocess.run(
        [*command, "--count", str(count)], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def record_until_killed(recorder: Path, disk: Path, acked: int) -> int:
    """Kills it once `acked` records are acknowledged; the last number it acknowledged."""
    command = [str(recorder), "run", str(disk), "--rate-us", "0", "--port", "0"]
    last = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            found = re.fullmatch(r"RECORDER acked=(\d+)\n", line)
            last = int(found[1]) if found else last
            if last >= acked:
                process.kill()
    return last


def verify(recorder: Path, disk: Path) -> tuple[int, list[str]]:
    done = subprocess.run([recorder, "verify", disk], capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout.splitlines()


def overwrite(disk: Path, sector: int, data: bytes) -> None:
    with disk.open("r+b") as file:
        file.seek(sector * SECTOR)
        file.write(data)


def recovered(line: str) -> int:
    found = re.fullmatch(r"RECORDER recovered=(\d+) torn=\d+", line)
    assert found, line
    return int(found[1])


def test_an_empty_disk_has_no_records(recorder: Path, disk: Path) -> None:
    assert verify(recorder, disk) == (0, ["RECORDER recovered=0 torn=0"])


def test_what_was_acknowledged_is_recovered_after_a_kill(recorder: Path, disk: Path) -> None:
    acked = record_until_killed(recorder, disk, acked=100)
    again = record(recorder, disk, count=1)
    assert recovered(again[0]) >= acked
    assert again[1].startswith("RECORDER start generation=2 ")


def test_every_fiftieth_record_is_reported(recorder: Path, disk: Path) -> None:
    lines = record(recorder, disk, count=120)
    assert lines[2:] == ["RECORDER acked=50", "RECORDER acked=100"]


@pytest.mark.parametrize("count", [1, 32, 33, 34, 65, 66, 67, 150])
def test_the_ring_wraps(recorder: Path, tmp_path: Path, count: int) -> None:
    disk = make_disk(tmp_path / "small.img", sectors=34)
    record(recorder, disk, count)
    assert verify(recorder, disk) == (0, [f"RECORDER recovered={count} torn=0"])


def test_a_lost_record_is_named(recorder: Path, disk: Path) -> None:
    record(recorder, disk, count=100)
    overwrite(disk, 1 + 40, bytes(2 * SECTOR))
    assert verify(recorder, disk) == (
        1,
        ["RECORDER recovered=39 torn=0", "RECORDER lost first=40 count=2"],
    )


def test_a_record_that_went_back_in_time_is_lost(recorder: Path, tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "small.img", sectors=34)
    record(recorder, disk, count=50)
    slot = 1 + 45 % 33
    before = disk.read_bytes()[slot * SECTOR : (slot + 1) * SECTOR]
    record(recorder, disk, count=40)
    # The slot of record 78 holds record 45 again, as after a write that was dropped.
    overwrite(disk, slot, before)
    assert verify(recorder, disk) == (
        1,
        ["RECORDER recovered=77 torn=0", "RECORDER lost first=78 count=1"],
    )


def test_a_lost_record_of_the_lap_before_is_named(recorder: Path, tmp_path: Path) -> None:
    disk = make_disk(tmp_path / "small.img", sectors=34)
    record(recorder, disk, count=50)
    overwrite(disk, 1 + 20, bytes(SECTOR))
    assert verify(recorder, disk) == (
        1,
        ["RECORDER recovered=50 torn=0", "RECORDER lost first=20 count=1"],
    )


def test_a_torn_record_at_the_end_is_counted_and_not_lost(recorder: Path, disk: Path) -> None:
    record(recorder, disk, count=100)
    overwrite(disk, 1 + 101, disk.read_bytes()[(1 + 100) * SECTOR :][:256])
    assert verify(recorder, disk) == (0, ["RECORDER recovered=100 torn=1"])


def test_a_lost_header_loses_no_record(recorder: Path, disk: Path) -> None:
    record(recorder, disk, count=100)
    overwrite(disk, 0, b"\xaa" * SECTOR)
    lines = record(recorder, disk, count=1)
    assert lines == [
        "RECORDER recovered=100 torn=0",
        "RECORDER start generation=2 next=101 slots=65535",
    ]


def test_garbage_is_no_record(recorder: Path, disk: Path) -> None:
    disk.write_bytes(bytes(range(256)) * 2 * 512)
    code, lines = verify(recorder, disk)
    assert (code, recovered(lines[0])) == (0, 0)


def test_a_missing_disk_is_retried(recorder: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.img"
    command = [str(recorder), "run", str(late), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "RECORDER error seq=0 errno=2\n"
        make_disk(late, sectors=64)
        deadline = time.monotonic() + 10
        while (line := process.stdout.readline()).startswith("RECORDER error"):
            assert time.monotonic() < deadline
        process.kill()
        assert line == "RECORDER recovered=0 torn=0\n"


@pytest.mark.parametrize("arguments", [[], ["run"], ["run", "d", "--rate-us"], ["exit", "256"],
                                       ["run", "d", "--rate-us", "-1"], ["verify"]])
def test_bad_arguments_are_refused(recorder: Path, arguments: list[str]) -> None:
    done = subprocess.run([recorder, *arguments], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert done.stderr.startswith("usage:")
