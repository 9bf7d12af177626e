"""The workload guest on qemu-system TCG: another implementation of every device it drives.

CUPEL_WORKLOAD_GUEST names the image; by default the release build's is taken.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECTOR = 512


def guest_image() -> Path:
    named = os.environ.get("CUPEL_WORKLOAD_GUEST")
    if named:
        return Path(named)
    found = sorted(ROOT.glob("build/*/scenarios/guests/workload/workload.elf"))
    release = [path for path in found if "release" in path.parts]
    images = release or found
    if not images:
        pytest.skip("workload.elf is not built")
    return images[0]


pytestmark = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None, reason="qemu-system-x86_64 is missing"
)


def command(options: str, *devices: str) -> list[str]:
    # fmt: off
    return [
        "qemu-system-x86_64", "-accel", "tcg", "-m", "64", "-display", "none", "-no-reboot",
        "-monitor", "none", "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=1",
        "-kernel", str(guest_image()), "-append", options, *devices,
    ]
    # fmt: on


def run(options: str, *devices: str, timeout: float = 30) -> tuple[int, str]:
    """Exit value that the guest wrote to port 0xf4 (-1: none), and its console."""
    done = subprocess.run(
        command(options, *devices), capture_output=True, text=True, timeout=timeout, check=False
    )
    value = done.returncode >> 1 if done.returncode & 1 else -1
    return value, done.stdout


def disk(path: Path, extra: str = "", flags: str = "disable-legacy=on") -> list[str]:
    drive = f"if=none,id=d,format=raw,file={path}{extra}"
    return ["-drive", drive, "-device", f"virtio-blk-pci,drive=d,{flags}"]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(256 * SECTOR))
    return path


def test_hello() -> None:
    value, text = run("mode=hello")
    assert (value, "WORKLOAD hello\n" in text) == (0, True), text


@pytest.mark.parametrize("mode", ["cpuid", "pio", "msr", "hlt", "spin", "mips"])
def test_benchmark_modes(mode: str) -> None:
    value, text = run(f"mode={mode} iters=100")
    assert value == 0 and f"WORKLOAD {mode} iters=100\n" in text, text


def test_mmio_mode(image: Path) -> None:
    value, text = run("mode=mmio iters=100", *disk(image))
    assert value == 0 and "WORKLOAD mmio iters=100\n" in text, text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("mode=nonsense", "unknown mode=nonsense"),
        ("mode=hello iters=many", "bad value for iters="),
        ("mode=hello ip=1.2.3", "bad value for ip="),
        ("mode=hello ip=1.2.3.256", "bad value for ip="),
    ],
)
def test_bad_options_are_named(options: str, message: str) -> None:
    value, text = run(options)
    assert value == 1 and message in text, text


def test_missing_disk_is_named() -> None:
    value, text = run("mode=record")
    assert value == 2 and "needs a virtio block device" in text, text


@pytest.mark.parametrize("flags", ["disable-legacy=on", "disable-legacy=off"])
def test_records_survive(image: Path, flags: str) -> None:
    value, text = run("count=60 rate_us=100", *disk(image, flags=flags))
    assert value == 0 and "WORKLOAD acked=50\n" in text, text
    value, text = run("count=1", *disk(image, flags=flags))
    assert value == 0 and "WORKLOAD recovered=60 torn=0\n" in text, text
    assert "WORKLOAD start generation=2 next=61 slots=255\n" in text


def test_records_wrap_around(image: Path) -> None:
    value, text = run("count=600 rate_us=0 report=0", *disk(image))
    assert value == 0, text
    value, text = run("count=1", *disk(image))
    assert "WORKLOAD recovered=600 torn=0\n" in text and "lost" not in text, text


def test_torn_and_lost_records_are_told_apart(image: Path) -> None:
    run("count=20 rate_us=0", *disk(image))
    data = bytearray(image.read_bytes())
    data[(1 + 21) * SECTOR + 9] = 7  # the write after the last one was torn
    image.write_bytes(data)
    _, text = run("count=1", *disk(image, ",readonly=off,snapshot=on"))
    assert "WORKLOAD recovered=20 torn=1\n" in text and "lost" not in text, text
    data[(1 + 10) * SECTOR + 100] ^= 1
    image.write_bytes(data)
    _, text = run("count=1", *disk(image))
    assert "WORKLOAD recovered=9 torn=2\n" in text, text
    assert "WORKLOAD lost first=10 count=1\n" in text


def test_triple_fault_resets_the_machine() -> None:
    value, text = run("mode=triple")
    assert value == -1 and "mode=triple" in text, text


def test_cli_spin_never_ends() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run("mode=cli-spin", timeout=2)


def test_garbage_rings_end(image: Path) -> None:
    value, text = run("mode=garbage-rings iters=50", *disk(image))
    assert value == 0 and "WORKLOAD garbage-rings iters=50\n" in text, text


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def ask(port: int, question: bytes, deadline: float = 15) -> bytes:
    end = time.monotonic() + deadline
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        while time.monotonic() < end:
            s.sendto(question, ("127.0.0.1", port))
            try:
                return s.recv(100)
            except TimeoutError:
                continue
    raise AssertionError("the guest does not answer")


def test_progress_is_told_over_udp(image: Path) -> None:
    port = free_udp_port()
    net = f"user,id=n,hostfwd=udp:127.0.0.1:{port}-10.0.2.15:7777"
    options = command(
        "ip=10.0.2.15/24 rate_us=2000",
        *disk(image),
        *("-netdev", net, "-device", "virtio-net-pci,netdev=n,disable-legacy=on"),
    )
    with subprocess.Popen(options, stdout=subprocess.DEVNULL) as machine:
        try:
            first = struct.unpack("<Q", ask(port, b"x"))[0]
            text = ask(port, b"count?").decode()
            second = struct.unpack("<Q", ask(port, b""))[0]
        finally:
            machine.terminate()
    assert second >= first
    assert text.startswith("count=") and text.endswith(" generation=1\n")
