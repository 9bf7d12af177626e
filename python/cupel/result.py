"""The result of a run, independent of the native module: for reports, JSON and tests."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cupel import _core

SCHEMA = "cupel.run/1"


@dataclass(frozen=True)
class Event:
    """One record of the trace."""

    at_ns: int
    source: str
    what: str
    detail: str = ""


@dataclass(frozen=True)
class OracleResult:
    """What one oracle says."""

    kind: str
    property_class: str  # safety, liveness
    verdict: str  # pass, fail, not judged
    detail: str = ""
    violations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RunResult:
    """Everything a report needs."""

    scenario: str
    file: str  # as it is typed in the replay command
    seed: int
    backend: str
    verdict: str  # pass, fail
    expected: str
    trace_hash: int
    duration_ns: int
    hosts: list[str]
    vms: list[str]
    events: list[Event]
    oracles: list[OracleResult]
    figures: dict[str, float]
    consoles: dict[str, str] = field(default_factory=dict)  # VM -> tail of its last console
    planted: str = "none"  # the bug that was planted in the hypervisor

    @property
    def as_expected(self) -> bool:
        return self.verdict == self.expected

    @property
    def guest_failed(self) -> bool:
        """Some guest crashed or ended with an error, with no fault to blame."""
        return any(o.kind == "no_guest_failure" and o.verdict == "fail" for o in self.oracles)

    @property
    def replay(self) -> str:
        return replay_command(self.file, self.seed, self.backend, self.planted)

    def to_json(self) -> dict[str, Any]:
        """The documented form of `run --json`; hashes are text, as JSON numbers lose digits."""
        return {
            "schema": SCHEMA,
            "replay": self.replay,
            "scenario": self.scenario,
            "seed": self.seed,
            "backend": self.backend,
            "verdict": self.verdict,
            "expected": self.expected,
            "planted": self.planted,
            "as_expected": self.as_expected,
            "trace_hash": f"{self.trace_hash:016x}",
            "duration_ns": self.duration_ns,
            "hosts": self.hosts,
            "vms": self.vms,
            "figures": self.figures,
            "oracles": [vars(oracle) for oracle in self.oracles],
            "events": [vars(event) for event in self.events],
            "consoles": self.consoles,
        }


def replay_command(file: str, seed: int, backend: str, planted: str = "none") -> str:
    """What to type to have the same run again."""
    command = f"./cupel run {shlex.quote(file)} --seed {seed} --backend {backend}"
    return command if planted == "none" else f"{command} --planted {shlex.quote(planted)}"


def from_native(
    native: _core.RunResult, file: str, expected: str, planted: str = "none"
) -> RunResult:
    """Copies what the native module returned."""
    return RunResult(
        scenario=native.scenario,
        file=file,
        seed=native.seed,
        backend=native.backend,
        verdict=native.verdict,
        expected=expected,
        trace_hash=native.trace_hash,
        duration_ns=native.duration_ns,
        hosts=list(native.hosts),
        vms=list(native.vms),
        events=[Event(e.at_ns, e.source, e.what, e.detail) for e in native.events],
        oracles=[
            OracleResult(o.kind, o.property_class, o.verdict, o.detail, list(o.violations))
            for o in native.oracles
        ],
        figures=dict(native.figures),
        consoles=dict(native.consoles),
        planted=planted,
    )
