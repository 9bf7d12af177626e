"""Reads the self-test's results (Test Anything Protocol) and compares two runs."""

import re
from dataclasses import dataclass
from enum import Enum

_RESULT = re.compile(r"^(not )?ok (\d+) - (\S+)(?: # (.*))?$")


class Verdict(Enum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class TapResult:
    name: str
    verdict: Verdict
    detail: str = ""  # what was expected and what came, or why the test was skipped


@dataclass(frozen=True)
class TapRun:
    """`planned` is None when the plan is missing: the run ended early. `bail_out` says why."""

    results: dict[str, TapResult]
    planned: int | None
    bail_out: str = ""

    @property
    def complete(self) -> bool:
        return self.planned == len(self.results) and not self.bail_out

    def named(self, verdict: Verdict) -> set[str]:
        return {name for name, result in self.results.items() if result.verdict is verdict}


def parse(text: str) -> TapRun:
    """The results in `text`. Lines that are not TAP are ignored: firmware writes there, too."""
    results: dict[str, TapResult] = {}
    planned: int | None = None
    bail_out = ""
    for line in (raw.strip() for raw in text.splitlines()):
        if match := _RESULT.match(line):
            failed, _, name, detail = match.groups()
            detail = detail or ""
            verdict = Verdict.FAILED if failed else Verdict.PASSED
            if not failed and detail.startswith("SKIP"):
                verdict, detail = Verdict.SKIPPED, detail[4:].strip()
            results[name] = TapResult(name, verdict, detail)
        elif match := re.match(r"^1\.\.(\d+)", line):
            planned = int(match.group(1))
        elif line.startswith("Bail out!"):
            bail_out = line[len("Bail out!") :].strip() or "no reason"
    return TapRun(results, planned, bail_out)


@dataclass(frozen=True)
class Difference:
    name: str
    left: TapResult | None
    right: TapResult | None


def differences(left: TapRun, right: TapRun) -> list[Difference]:
    """Tests whose verdict or detail is not the same in both runs, in the order of the left one."""
    names = [*left.results, *(name for name in right.results if name not in left.results)]
    return [
        Difference(name, left.results.get(name), right.results.get(name))
        for name in names
        if left.results.get(name) != right.results.get(name)
    ]
