"""Sums up JUnit files of several test runners, for `./cupel test`.

Arguments: NAME:EXIT_STATUS:FILE, one a runner; a missing file counts as no tests. Prints the skipped
tests with their reasons, the failed ones, and as last line "N passed, N failed, N skipped". Exits
with 1 if a test or a runner failed, or if nothing ran at all.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path

PYTEST_NOTHING_COLLECTED = 5


@dataclass
class Summary:
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def skip_reason(case: ElementTree.Element, message: str) -> str:
    """The reason the test gave: GoogleTest prints it after "Skipped", pytest has it as message."""
    output = case.findtext("system-out") or ""
    found = re.search(r": Skipped\n(.*)", output)
    if found and found[1].strip():
        return found[1].strip()
    return message or "no reason given"


def count_case(runner: str, case: ElementTree.Element, summary: Summary) -> None:
    parts = [part for part in (case.get("classname"), case.get("name")) if part]
    if len(parts) == 2 and parts[0] == parts[1]:
        parts.pop()
    name = f"{runner}: {'.'.join(parts)}"
    skipped = case.find("skipped")
    status = case.get("status", "run")
    message = (skipped.get("message") or "") if skipped is not None else ""
    if case.find("failure") is not None or case.find("error") is not None:
        summary.failed.append(name)
    elif status == "notrun" and not message.startswith("SKIP_"):
        # CTest's word for a test whose program or fixture is missing.
        summary.failed.append(f"{name} ({message or 'not run'})")
    elif status == "disabled":
        summary.skipped.append((name, "disabled"))
    elif skipped is not None:
        summary.skipped.append((name, skip_reason(case, message)))
    else:
        summary.passed += 1


def count_runner(argument: str, summary: Summary) -> None:
    runner, status, path = argument.split(":", 2)
    failed_before = len(summary.failed)
    nothing_there = runner == "pytest" and int(status) == PYTEST_NOTHING_COLLECTED
    if Path(path).exists():
        try:
            for case in ElementTree.parse(path).iter("testcase"):
                count_case(runner, case, summary)
        except ElementTree.ParseError as error:
            summary.failed.append(f"{runner}: unreadable results in {path}: {error}")
    if int(status) != 0 and not nothing_there and len(summary.failed) == failed_before:
        summary.failed.append(f"{runner} itself (exit status {status})")


def main(arguments: list[str]) -> int:
    summary = Summary()
    for argument in arguments:
        count_runner(argument, summary)
    print()
    for name, reason in summary.skipped:
        print(f"skipped  {name}: {reason}")
    for name in summary.failed:
        print(f"FAILED   {name}")
    ran = summary.passed + len(summary.failed)
    if ran == 0:
        print("no test ran")
    print(
        f"{summary.passed} passed, {len(summary.failed)} failed, {len(summary.skipped)} skipped",
        flush=True,
    )
    return 1 if summary.failed or ran == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
