"""Boots a Multiboot image or a Linux kernel in Debian's Bochs, an independent implementation of
VT-x, and returns what it wrote on its serial port.

Bochs' clock is virtual and its display needs an X server, so Xvfb runs beside it. It is ended by
its own process ID when the serial text holds the end line ("# done") or when the time is up.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cupel.errors import UserError

MODELS = ("corei7_haswell_4770", "corei7_skylake_x", "corei7_icelake_u", "tigerlake")
END_LINE = "# done"
TOOLS = {
    "bochs": "bochs",
    "Xvfb": "xvfb",
    "grub-mkrescue": "grub-common",
    "xorriso": "xorriso",
    "mformat": "mtools",
}

BOCHSRC = """\
config_interface: textconfig
display_library: x
memory: guest={memory}, host={memory}
romimage: file={bios}
vgaromimage: file={vgabios}
cpu: model={model}, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=1
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path={iso}, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={serial}
clock: sync=none, time0=946684800
sound: waveoutdrv=dummy
speaker: enabled=0
log: {log}
panic: action=report
error: action=report
info: action=ignore
debug: action=ignore
"""

GRUB_CFG = """\
set timeout=0
set default=0
menuentry "image" {{
  {load} /boot/image {append}
  {module}
  boot
}}
"""


class Protocol(Enum):
    """How GRUB starts the image. The value is its command, and the module that has it."""

    MULTIBOOT = "multiboot"
    LINUX = "linux"

    @property
    def module_command(self) -> str:
        return "initrd" if self is Protocol.LINUX else "module"


@dataclass(frozen=True)
class BochsRun:
    """What a run left behind. `lines` pairs each serial line with the wall-clock second, counted
    from the start of Bochs, at which it was seen; the polling interval bounds its error."""

    serial: str
    finished: bool  # the end line was seen in time
    seconds: float
    lines: list[tuple[float, str]]
    log: str


def missing_tools() -> list[str]:
    """Debian packages to install before run_image() can work."""
    missing = {package for tool, package in TOOLS.items() if shutil.which(tool) is None}
    if not Path("/usr/lib/grub/i386-pc/moddep.lst").exists():
        missing.add("grub-pc-bin")
    if _bios() is None:
        missing.add("bochsbios")
    if _vgabios() is None:
        missing.add("vgabios")
    return sorted(missing)


def _first(*names: str) -> Path | None:
    return next((Path(name) for name in names if Path(name).exists()), None)


def _bios() -> Path | None:
    return _first("/usr/share/bochs/BIOS-bochs-latest", "/usr/share/bochs/BIOS-bochs-legacy")


def _vgabios() -> Path | None:
    return _first(
        "/usr/share/vgabios/vgabios.bin",
        "/usr/share/bochs/VGABIOS-lgpl-latest",
    )


@dataclass(frozen=True)
class Module:
    """A Multiboot module with its own command line; for Linux the initramfs, which has none."""

    path: Path
    append: str = ""


def make_iso(
    image: Path,
    append: str,
    target: Path,
    module: Module | None = None,
    protocol: Protocol = Protocol.MULTIBOOT,
) -> None:
    """A GRUB rescue image that boots `image` by `protocol` with `append` as its options."""
    with tempfile.TemporaryDirectory(prefix="cupel-iso-") as scratch:
        tree = Path(scratch)
        (tree / "boot" / "grub").mkdir(parents=True)
        shutil.copy(image, tree / "boot" / "image")
        line = ""
        if module is not None:
            shutil.copy(module.path, tree / "boot" / "module")
            line = f"{protocol.module_command} /boot/module {module.append}"
        (tree / "boot" / "grub" / "grub.cfg").write_text(
            GRUB_CFG.format(load=protocol.value, append=append, module=line))  # fmt: skip
        done = subprocess.run(
            ["grub-mkrescue", "-d", "/usr/lib/grub/i386-pc", "--compress=no",
             f"--install-modules={protocol.value} normal biosdisk iso9660",
             "--locales=", "--fonts=", "--themes=", "-o", str(target), str(tree)],
            capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode != 0 or not target.exists():
        raise UserError("grub-mkrescue failed", done.stderr.strip()[-400:])


class _Display:
    """An Xvfb of our own, on a number that nobody else has."""

    def __init__(self) -> None:
        read_end, write_end = os.pipe()
        self._process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write_end), "-screen", "0", "1024x768x16",
             "-nolisten", "tcp"],
            pass_fds=[write_end], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        os.close(write_end)
        with os.fdopen(read_end) as answer:
            number = answer.readline().strip()
        if not number:
            raise UserError("Xvfb did not start", "run it by hand to see why")
        self.name = f":{number}"

    def close(self) -> None:
        _end(self._process)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def run_image(
    image: Path,
    append: str = "",
    model: str = "corei7_skylake_x",
    timeout: float = 120.0,
    memory: int = 512,
    on_line: Callable[[str], None] | None = None,
    module: Module | None = None,
    protocol: Protocol = Protocol.MULTIBOOT,
    end_line: str = END_LINE,
) -> BochsRun:
    """Boots `image` and waits for its end line, a regular expression for the whole line. `memory`
    in MiB, at most 2048. Errors: UserError when a tool is missing."""
    if missing := missing_tools():
        raise UserError("Bochs or its helpers are missing", "install: " + " ".join(missing))
    with tempfile.TemporaryDirectory(prefix="cupel-bochs-") as scratch:
        place = Path(scratch)
        iso, serial, log = place / "boot.iso", place / "serial.txt", place / "bochs.log"
        make_iso(image, append, iso, module, protocol)
        serial.touch()
        config, commands = place / "bochsrc", place / "commands"
        config.write_text(
            BOCHSRC.format(memory=memory, bios=_bios(), vgabios=_vgabios(), model=model,
                           iso=iso, serial=serial, log=log))  # fmt: skip
        commands.write_text("c\n")  # Debian's Bochs is a debugger build and waits for "continue"
        display = _Display()
        start = time.monotonic()
        process = subprocess.Popen(
            ["nice", "-n", "5", "bochs", "-q", "-f", str(config), "-rc", str(commands)],
            cwd=place, env={**os.environ, "DISPLAY": display.name}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            lines, finished = _follow(
                process, serial, start, timeout, re.compile(end_line), on_line
            )
        finally:
            _end(process)
            display.close()
        return BochsRun(
            serial=serial.read_text(errors="replace"),
            finished=finished,
            seconds=time.monotonic() - start,
            lines=lines,
            log=log.read_text(errors="replace") if log.exists() else "",
        )


def _follow(
    process: subprocess.Popen[bytes],
    serial: Path,
    start: float,
    timeout: float,
    end_line: re.Pattern[str],
    on_line: Callable[[str], None] | None,
) -> tuple[list[tuple[float, str]], bool]:
    """Serial lines as they come, until the end line, the end of Bochs or of the time; whether the
    end line was seen."""
    lines: list[tuple[float, str]] = []
    rest = ""
    with serial.open(errors="replace", newline="") as text:
        while True:
            ended = process.poll() is not None
            rest += text.read()
            now = time.monotonic() - start
            *whole, rest = rest.split("\n")
            for line in (part.rstrip("\r") for part in whole):
                lines.append((now, line))
                if on_line is not None:
                    on_line(line)
                if end_line.fullmatch(line):
                    return lines, True
            if ended or now > timeout:
                return lines, False
            time.sleep(0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path)
    parser.add_argument("--append", default="", help="command line of the image")
    parser.add_argument("--module", type=Path, help="a Multiboot module")
    parser.add_argument("--module-append", default="", help="command line of the module")
    parser.add_argument("--model", default="corei7_skylake_x", help=" ".join(MODELS))
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds of wall time")
    parser.add_argument("--memory", type=int, default=512, help="MiB")
    parser.add_argument("--log", action="store_true", help="show Bochs' own log as well")
    options = parser.parse_args()
    try:
        run = run_image(
            options.image, options.append, options.model, options.timeout, options.memory,
            on_line=lambda line: print(line, flush=True),
            module=Module(options.module, options.module_append) if options.module else None,
        )  # fmt: skip
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if options.log or not run.finished:
        print(run.log[-4000:], file=sys.stderr)
    print(f"bochs: {'finished' if run.finished else 'no end line'} after {run.seconds:.1f} s",
          file=sys.stderr)  # fmt: skip
    return 0 if run.finished else 1


if __name__ == "__main__":
    sys.exit(main())
