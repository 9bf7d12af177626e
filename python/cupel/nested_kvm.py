"""The tests of the kvm backend on real kvm-intel: a Debian kernel with KVM's modules that executes
the VMX instructions of Bochs, or of Cupel's own machine."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cupel import bochs, googletest, paths
from cupel.errors import UserError
from cupel.exit_codes import ExitCode

END_LINE = "NESTED result=[01]"
MEMORY_MIB = 1024
# Mitigations only cost time here.
KERNEL_LINE = "console=ttyS0 quiet panic=-1 mitigations=off"
# Bochs' ACPI and I/O APIC do not go with this kernel, and waiting in a loop costs it less than HLT.
BOCHS_LINE = f"acpi=off noapic idle=poll {KERNEL_LINE}"
# What Bochs hangs at: see tests/kvm/intel_on_bochs.md.
NOT_SURVIVED = (
    "Events.DeadlineEndsAGuestThatSpinsWithInterruptsOff",
    "Workload.SpinWithInterruptsOffIsStillBounded",
)
_WORD = re.compile(r"[\w.*?:/=,-]*")
_STEP_NS = 10_000_000


class Place(Enum):
    BOCHS = "bochs"
    MACHINE = "machine"


@dataclass(frozen=True)
class Programs:
    """What goes into the initramfs."""

    tests: tuple[str, ...] = ("cupel_kvm_static_tests", "cupel_kvm_static_guest_tests")
    with_linux: bool = False  # a Linux guest for the tests; needs the Linux guest's initramfs


@dataclass(frozen=True)
class NestedRun:
    """`lines`: seconds of real time since power-on, and the line. `status` of each program."""

    place: Place
    lines: list[tuple[float, str]]
    finished: bool  # init came to its end
    seconds: float

    @property
    def text(self) -> str:
        return "\n".join(line for _, line in self.lines)

    @property
    def boot_seconds(self) -> float | None:
        """Real time until the first process ran."""
        return next((at for at, line in self.lines if line.startswith("NESTED up ")), None)

    @property
    def results(self) -> googletest.TestResults:
        return googletest.parse(self.text)

    @property
    def errors(self) -> list[str]:
        """What went wrong besides tests: a module that does not load, a program that was killed."""
        found = []
        for _, line in self.lines:
            if line.startswith("NESTED error: "):
                found.append(line.removeprefix("NESTED error: "))
            elif match := re.match(r"NESTED end (\S+) status=(\d+)", line):
                if int(match[2]) > 1:  # 1 is what GoogleTest ends with when a test failed
                    found.append(f"{match[1]} ended with status {match[2]}")
        return found

    @property
    def succeeded(self) -> bool:
        return any(line == "NESTED result=0" for _, line in self.lines)


def kernel() -> Path:
    return paths.root() / "build" / "cache" / "linux" / "vmlinuz"


def missing(place: Place, programs: Programs = Programs()) -> str:
    """Why the tests cannot run here, or an empty text."""
    if place is Place.BOCHS and (packages := bochs.missing_tools()):
        return "Bochs or its helpers are missing: " + " ".join(packages)
    if not kernel().is_file():
        return f"there is no kernel {paths.shown(kernel())}"
    for name in programs.tests:
        if not (_built() / name).is_file():
            return f"{name} is not built"
    return ""


def _built() -> Path:
    return paths.build() / "tests" / "kvm"


def make_initramfs(target: Path, programs: Programs) -> None:
    """Errors: UserError with what the script said."""
    script = paths.root() / "tests" / "kvm" / "nested" / "make_initramfs.sh"
    workload = paths.build() / "scenarios" / "guests" / "workload" / "workload.elf"
    done = subprocess.run(
        [str(script), "--guest", str(workload), *(["--linux"] if programs.with_linux else []),
         "kvm-intel", str(kernel().parent), str(target),
         *(str(_built() / name) for name in programs.tests)],
        capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode != 0:
        raise UserError(
            f"the initramfs cannot be made: {done.stderr.strip()[-400:]}",
            "run ./cupel build",
            ExitCode.ENVIRONMENT,
        )


def environment(test_filter: str, module_options: str) -> str:
    """Words for the kernel line, which hands what it does not know to the first process."""
    words = []
    for name, value in (("GTEST_FILTER", test_filter), ("KVM_OPTIONS", module_options)):
        if _WORD.fullmatch(value) is None:
            raise UserError(
                f"'{value}' has characters that do not go on a kernel's command line",
                "write for example 'Events.*-*Deadline*' or ept=0,vpid=0",
            )
        if value:
            words.append(f"{name}={value}")
    return " ".join(words)


def without(test_filter: str, names: tuple[str, ...]) -> str:
    """A GoogleTest filter that leaves out `names` as well."""
    chosen, dash, left_out = test_filter.partition("-")
    return f"{chosen or '*'}-" + ":".join(([left_out] if dash and left_out else []) + [*names])


def run(
    place: Place,
    test_filter: str = "",
    timeout: float = 300.0,
    module_options: str = "",
    programs: Programs = Programs(),
    model: str = "corei7_skylake_x",
    profile: str = "skylake-sp",
    cpus: int = 1,
    say: Callable[[str], None] | None = None,
) -> NestedRun:
    """Boots the kernel at `place` and runs the programs. `timeout` in seconds of real time; `model`
    is Bochs' and `profile`, `cpus` are the machine's. On Bochs NOT_SURVIVED is left out. Errors:
    UserError when something is missing."""
    if place is Place.BOCHS:
        test_filter = without(test_filter, NOT_SURVIVED)
    words = environment(test_filter, module_options)
    if reason := missing(place, programs):
        raise UserError(reason, "run ./cupel build", ExitCode.ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="cupel-kvm-") as scratch:
        initramfs = Path(scratch) / "initramfs"
        make_initramfs(initramfs, programs)
        if place is Place.MACHINE:
            return _on_machine(initramfs, f"{KERNEL_LINE} {words}", timeout, profile, cpus, say)
        ran = bochs.run_image(
            kernel(), f"{BOCHS_LINE} '{words}'" if words else BOCHS_LINE, model, timeout,
            MEMORY_MIB, say, bochs.Module(initramfs), bochs.Protocol.LINUX, END_LINE,
        )  # fmt: skip
        return NestedRun(place, ran.lines, ran.finished, ran.seconds)


def _on_machine(
    initramfs: Path, line: str, timeout: float, profile: str, cpus: int,
    say: Callable[[str], None] | None,
) -> NestedRun:  # fmt: skip
    from cupel import _core

    start = time.monotonic()
    machine = _core.make_machine(
        str(kernel()), line, [(str(initramfs), "")], cpus, MEMORY_MIB << 20, 0, "linux", profile
    )
    lines: list[tuple[float, str]] = []
    rest, running, finished = "", True, False
    end = re.compile(END_LINE)
    while running and not finished and time.monotonic() - start < timeout:
        running = machine.step(_STEP_NS)
        rest += machine.read().decode("utf-8", "replace")
        *whole, rest = rest.split("\n")
        for text in (part.rstrip("\r") for part in whole):
            lines.append((time.monotonic() - start, text))
            if say is not None:
                say(text)
            finished = finished or end.fullmatch(text) is not None
    return NestedRun(Place.MACHINE, lines, finished, time.monotonic() - start)
