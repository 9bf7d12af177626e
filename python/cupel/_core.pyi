"""The native half of the package. Times are nanoseconds of virtual time.

Every function that can fail raises CupelError; its `kind` decides the exit code.
"""

from typing import Any, Callable, Literal, TypedDict

ErrorKind = Literal["bad_input", "environment", "guest", "internal"]
Backend = Literal["model", "kvm"]

class CupelError(Exception):
    kind: ErrorKind
    message: str  # what happened and where
    hint: str  # what to do; may be empty

class ScenarioError(CupelError):
    filename: str
    problems: list[Problem]

class Problem:
    @property
    def line(self) -> int: ...  # from 1; 0: concerns the whole file
    @property
    def column(self) -> int: ...
    @property
    def severity(self) -> Literal["error", "warning"]: ...
    @property
    def message(self) -> str: ...
    @property
    def hint(self) -> str: ...

class FaultSpec(TypedDict):
    kind: str
    target: str
    earliest_ns: int
    latest_ns: int
    duration_ns: int | None
    parameters: dict[str, str]

class Scenario:
    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def duration_ns(self) -> int: ...
    @property
    def expected(self) -> Literal["pass", "fail"]: ...
    @property
    def hosts(self) -> list[str]: ...
    @property
    def vms(self) -> list[str]: ...
    @property
    def faults(self) -> list[FaultSpec]: ...
    @property
    def oracles(self) -> list[str]: ...
    @property
    def warnings(self) -> list[Problem]: ...

def load_scenario(text: str, filename: str) -> Scenario: ...

class ParameterRow(TypedDict):
    name: str
    type: Literal["duration", "probability", "count", "choice"]
    required: bool
    default: str | None
    least: str | None
    most: str | None
    choices: list[str]
    what: str

class FaultRow(TypedDict):
    name: str
    target: Literal["host", "nic", "disk"]
    parameters: list[ParameterRow]
    contract: str
    after_end: str
    source: str

class OracleRow(TypedDict):
    name: str
    property: Literal["safety", "liveness"]
    parameters: list[ParameterRow]
    claim: str
    watches: str

def fault_catalogue() -> list[FaultRow]: ...
def oracle_catalogue() -> list[OracleRow]: ...

class DumpProblem(TypedDict):
    line: int  # from 1
    message: str
    hint: str

class VmcsCheck(TypedDict):
    passes: bool
    text: str
    json: str  # outcome, failures, warnings, undecided, missing, assumptions
    problems: list[DumpProblem]
    given: int  # fields that the dump gives

class VmcsField(TypedDict):
    name: str
    encoding: int
    width: Literal["16", "32", "64", "natural"]
    type: Literal["control", "read-only", "guest state", "host state"]
    exists: bool  # on the profile asked for

class VmcsRow(TypedDict):
    id: str
    stage: Literal["controls", "host", "guest"]
    section: str
    allowed: str
    fields: list[str]
    result: str
    reads_memory: bool

class VmcsProfile(TypedDict):
    name: str
    title: str

class VmcsDifference(TypedDict):
    name: str
    encoding: int
    a: int | None  # None: not given
    b: int | None

class VmcsDiff(TypedDict):
    differences: list[VmcsDifference]
    problems_a: list[DumpProblem]
    problems_b: list[DumpProblem]

def vmcs_check(
    text: str,
    profile: str,
    implemented: bool,
    without: list[str],
    host_ia32e: bool,
    physical_bits: int | None,
) -> VmcsCheck: ...
def vmcs_fields(profile: str, implemented: bool) -> list[VmcsField]: ...
def vmcs_rows() -> list[VmcsRow]: ...
def vmcs_profiles() -> list[VmcsProfile]: ...
def vmcs_diff(a: str, b: str) -> VmcsDiff: ...

class Event:
    """One record of the trace; scenarios/language/event_names.h lists the kinds with a meaning."""

    @property
    def at_ns(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def detail(self) -> str: ...

class OracleResult:
    @property
    def kind(self) -> str: ...
    @property
    def property_class(self) -> Literal["safety", "liveness"]: ...
    @property
    def verdict(self) -> Literal["pass", "fail", "not judged"]: ...
    @property
    def detail(self) -> str: ...
    @property
    def violations(self) -> list[str]: ...

class RunResult:
    @property
    def scenario(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def backend(self) -> Backend: ...
    @property
    def verdict(self) -> Literal["pass", "fail"]: ...
    @property
    def trace_hash(self) -> int: ...
    @property
    def duration_ns(self) -> int: ...
    @property
    def hosts(self) -> list[str]: ...
    @property
    def vms(self) -> list[str]: ...
    @property
    def events(self) -> list[Event]: ...
    @property
    def oracles(self) -> list[OracleResult]: ...
    @property
    def figures(self) -> dict[str, float]: ...
    @property
    def consoles(self) -> dict[str, str]: ...  # VM -> tail of its last console

def run(
    scenario: Scenario,
    seed: int,
    backend: Backend,
    on_progress: Callable[[int], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
    planted: str = "none",
) -> RunResult:
    """Runs to the end, with the named bug planted in the hypervisor. `on_progress` gets the virtual time, at most some hundred times a run.

    An exception out of a callback (KeyboardInterrupt) ends the run and is raised here. Figures that
    reports know: detection_time_s, outage_s, writes_acknowledged, writes_lost; others are shown too.
    """

class Console:
    """A booted guest with its serial console."""

    def step(self, nanoseconds: int) -> bool:
        """Runs the guest that much virtual time; False when it has ended."""
    def read(self) -> bytes:
        """What the guest has written since the last read."""
    def write(self, data: bytes) -> int:
        """Types; returns how many bytes the guest's receiver took, the rest is to be offered again."""
    @property
    def idle(self) -> bool: ...  # the last step ended with the guest waiting for an interrupt
    @property
    def exit_status(self) -> int | None: ...  # of a guest that ended by itself; None while it runs
    @property
    def virtual_ns(self) -> int: ...

def boot(
    backend: Backend,
    guest: Literal["linux", "workload", "image"],
    memory: int,
    kernel: str | None = None,
    initrd: str | None = None,
    append: str | None = None,
) -> Console:
    """Guest "image" needs `kernel`; for "linux", the three replace the built-in ones one by one."""

def guest_assets() -> dict[str, str]:
    """Paths of the built-in guests: linux_kernel, linux_initrd, workload. "" when not built."""

class Machine:
    """A modelled machine that boots an image; its serial port."""

    def step(self, nanoseconds: int) -> bool:
        """Runs it that much virtual time; False when it has stopped."""
    def read(self) -> bytes: ...
    def write(self, data: bytes) -> int: ...
    @property
    def idle(self) -> bool: ...  # every processor waits
    @property
    def exit_status(self) -> int | None: ...  # 2 * value + 1 of the debug exit, once it was written
    @property
    def virtual_ns(self) -> int: ...
    @property
    def stop_kind(self) -> str: ...  # running, debug-exit, power-off, reset, triple-fault, ...
    @property
    def stop_text(self) -> str: ...  # what and where, one line
    @property
    def processors(self) -> list[dict[str, Any]]: ...

def make_machine(
    image: str,
    append: str,
    modules: list[tuple[str, str]],
    processors: int,
    memory: int,
    seed: int = 0,
    kind: str = "",
    profile: str = "server",
) -> Machine:
    """Modules: file and command line. Kind: multiboot, pvh, linux; empty: recognized."""
