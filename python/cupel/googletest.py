"""Reads what GoogleTest programs print, from a console on which others write, too."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_OUTCOME = re.compile(r"\[ +(OK|FAILED|SKIPPED) +\] ([\w/]+\.[\w/]+)(?:,.*)? \(\d+ ms\)$")
_START = re.compile(r"\[ RUN      \] ([\w/]+\.[\w/]+)$")
_SUMMARY = re.compile(r"\[==========\] \d+ tests? from \d+ test suites? ran\.")


@dataclass
class TestResults:
    """Names of tests, in the order in which they ended. `failed` and `skipped` come with what the
    test printed. A test in `unfinished` began and did not end."""

    passed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    unfinished: str | None = None
    programs: int = 0  # that came to their summary

    @property
    def total(self) -> int:
        return len(self.passed) + len(self.failed) + len(self.skipped)


def parse(text: str) -> TestResults:
    """The results in `text`, of one program or of several one after the other."""
    results = TestResults()
    said: list[str] = []
    for line in (raw.strip() for raw in text.splitlines()):
        if match := _START.search(line):
            results.unfinished = match[1]
            said = []
        elif match := _OUTCOME.search(line):
            name, words = match[2], "\n".join(said)
            if match[1] == "OK":
                results.passed.append(name)
            else:
                (results.failed if match[1] == "FAILED" else results.skipped)[name] = words
            results.unfinished = None
        elif _SUMMARY.search(line):
            results.programs += 1
        elif results.unfinished is not None:
            said.append(line)
    return results
