"""`cupel boot` as people use it: through pipes and on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from conftest import BUILD, ROOT

COMMAND = [sys.executable, "-m", "cupel", "boot"]
ENVIRONMENT = dict(
    os.environ,
    CUPEL_BUILD=str(BUILD),
    PYTHONPATH=os.pathsep.join([str(ROOT / "python"), str(BUILD / "python")]),
)
# How long a boot may take on a slow machine, or with sanitizers.
PATIENCE_S = 240

pytestmark = pytest.mark.usefixtures("native_run")


def boot(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        input=typed,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.fixture
def linux(native: object) -> None:
    if not native.guest_assets()["linux_kernel"]:  # type: ignore[attr-defined]
        pytest.skip("the Linux guest is not in build/cache/linux")


@pytest.mark.usefixtures("linux")
def test_piped_input_is_typed_into_a_linux_shell() -> None:
    done = boot(typed="echo; uname -a; exit\n")
    assert done.returncode == 0, done.stderr
    assert "x86_64 GNU/Linux" in done.stdout
    assert done.stdout.index("CUPEL-LINUX up") < done.stdout.index("x86_64 GNU/Linux")


def test_the_workload_guest_says_hello() -> None:
    done = boot("--guest", "workload")
    assert (done.returncode, done.stderr) == (0, "")
    assert "WORKLOAD hello" in done.stdout


@pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK), reason="no usable /dev/kvm")
def test_the_workload_guest_says_hello_on_kvm() -> None:
    done = boot("--guest", "workload", "--backend", "kvm")
    assert (done.returncode, done.stderr) == (0, "")
    assert "WORKLOAD hello" in done.stdout


@pytest.mark.parametrize(
    ("append", "code", "message"),
    [
        ("mode=triple", 4, "triple fault at RIP"),
        ("mode=nonsense", 4, "the guest ended with status 1"),
    ],
)
def test_a_guest_that_fails_exits_with_4_and_shows_its_last_words(
    append: str, code: int, message: str
) -> None:
    done = boot("--guest", "workload", "--append", append)
    assert done.returncode == code
    assert message in done.stderr and "Traceback" not in done.stderr
    assert code != 4 or "next: " in done.stderr or "status" in done.stderr
    assert f"WORKLOAD up {append}" in done.stdout


def image(name: str, tmp_path: Path) -> Path:
    path = tmp_path / "kernel"
    if name == "empty":
        path.write_bytes(b"")
    elif name == "foreign":
        path.write_bytes(b"#!/bin/sh\n" * 1000)
    elif name == "zeros":
        path.write_bytes(bytes(1 << 20))
    else:
        workload = (BUILD / "scenarios" / "guests" / "workload" / "workload.elf").read_bytes()
        path.write_bytes(workload[: len(workload) // 3])
    return path


@pytest.mark.parametrize("name", ["empty", "foreign", "zeros", "truncated"])
def test_images_that_cannot_boot_are_bad_input(name: str, tmp_path: Path) -> None:
    done = boot("--kernel", str(image(name, tmp_path)))
    assert done.returncode == 2
    assert done.stderr.startswith("cupel: error: ") and "next: " in done.stderr
    assert done.stderr.count("error: ") == 1 and done.stdout == ""


@pytest.mark.parametrize("memory", ["0MiB", "1MiB", "3585MiB", "64GiB", "100GiB", "-1MiB", "x"])
def test_memory_that_no_guest_can_have_is_bad_input(memory: str) -> None:
    done = boot("--guest", "workload", "--memory", memory)
    assert done.returncode == 2
    assert "--memory" in done.stderr and done.stderr.count("error: ") == 1


@pytest.mark.usefixtures("linux")
def test_linux_in_too_little_memory_is_bad_input() -> None:
    done = boot("--memory", "16MiB")
    assert done.returncode == 2
    assert "MiB" in done.stderr and "next: " in done.stderr


class Terminal:
    """A program on a pseudo-terminal, and what it showed."""

    def __init__(self, command: list[str]) -> None:
        self.fd, child = pty.openpty()
        self.child = child  # kept open: its settings are looked at after the program has ended
        self.before = termios.tcgetattr(child)
        self.shown = b""
        self.process = subprocess.Popen(
            command, stdin=child, stdout=child, stderr=child, env=ENVIRONMENT, start_new_session=True
        )

    def wait_for(self, text: bytes) -> None:
        end = time.monotonic() + PATIENCE_S
        start = len(self.shown)
        while text not in self.shown[start:]:
            assert time.monotonic() < end, self.shown
            if select.select([self.fd], [], [], 0.2)[0]:
                self.shown += os.read(self.fd, 4096)
            else:
                assert self.process.poll() is None, self.shown

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.fd)
        os.close(self.child)


@pytest.mark.usefixtures("linux")
def test_a_shell_on_a_terminal_echoes_answers_and_is_left_with_ctrl_a_x() -> None:
    terminal = Terminal(COMMAND)
    try:
        terminal.wait_for(b"/ # ")
        assert termios.tcgetattr(terminal.child) != terminal.before  # raw while the guest runs
        terminal.type(b"echo $((6*7)) apples\r")
        terminal.wait_for(b"echo $((6*7)) apples")
        terminal.wait_for(b"42 apples")
        terminal.type(b"\x01x")
        assert terminal.process.wait(timeout=30) == 0
        assert termios.tcgetattr(terminal.child) == terminal.before
    finally:
        terminal.close()
