"""Differential search: generated cases on Cupel's machine and on Bochs, disagreements made small,
grouped, and looked up in the list that says who is right.

A case has parts that can be left out (bit n of its mask: part n takes place). The image prints two
characters a case, so that Bochs' slow serial port is no bound; every step of the search is one run
of each machine over a list of (case, mask) pairs.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cupel import bochs, metal, paths
from cupel.errors import UserError
from cupel.exit_codes import ExitCode

# Parts of a case by kind (hypervisor/metal/selftest/random_*.cpp), and the largest subset tried.
PARTS = {"states": (0, 1, 2), "sequences": tuple(range(10)), "epts": (0, 1, 2, 8)}
LARGEST = {"states": 3, "sequences": 2, "epts": 4}
ALL = (1 << 10) - 1
PACKED = re.compile(r"^= (\d+) (\S+)$")
CHANGE = re.compile(r"^(\w+)=0x([0-9a-f]+)>0x([0-9a-f]+)$")
ROW = re.compile(r"^\| (states|sequences|epts) \| (.+?) \| (.+?) \| (.+?) \| (\w+) \| (.+) \|$")

Pair = tuple[int, int]  # case and mask
Runner = Callable[[str, Path | None], metal.Run]


@dataclass(frozen=True)
class Known:
    """A row of tests/metal/search_deviations.md. `right`: ours, bochs, or profile where the two
    processors offer different things."""

    kind: str
    case: str
    ours: str
    bochs: str
    right: str
    words: str

    def covers(self, kind: str, case: str, ours: str, theirs: str) -> bool:
        return (
            kind == self.kind
            and same_case(self.case, case)
            and fnmatch.fnmatchcase(ours, self.ours)
            and fnmatch.fnmatchcase(theirs, self.bochs)
        )


@dataclass
class Group:
    """Disagreements with the same small form."""

    kind: str
    case: str
    ours: str
    bochs: str
    known: Known | None
    examples: list[Pair] = field(default_factory=list)

    def replay(self, seed: int) -> str:
        number, mask = self.examples[0]
        return f"{self.kind}=1 seed={seed} from={number} keep={mask}"


@dataclass
class Found:
    kind: str
    compared: int
    differing: int
    seconds: dict[str, float]
    groups: list[Group]


def known_rows(table: Path | None = None) -> list[Known]:
    table = table or paths.root() / "tests" / "metal" / "search_deviations.md"
    if not table.is_file():
        raise UserError(f"the list {table} is missing", "it comes with the sources")
    return [Known(*m.groups()) for line in table.read_text().splitlines() if (m := ROW.match(line))]


def bits_of(text: str) -> set[int]:
    """Bit numbers of "3" or "0-3,7"."""
    found: set[int] = set()
    for part in text.split(","):
        low, _, high = part.partition("-")
        found |= set(range(int(low), int(high or low) + 1))
    return found


def text_of(bits: Iterable[int]) -> str:
    """The other way round."""
    ranges: list[list[int]] = []
    for bit in sorted(bits):
        if ranges and ranges[-1][1] == bit - 1:
            ranges[-1][1] = bit
        else:
            ranges.append([bit, bit])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def same_term(pattern: str, term: str) -> bool:
    """"field[32-63]" has every change of the field that touches one of these bits; without
    brackets, or for a term without them, the pattern's '*' match any text."""
    name, _, wanted = pattern.rstrip("]").partition("[")
    own, _, changed = term.rstrip("]").partition("[")
    if not fnmatch.fnmatchcase(own, name):
        return False
    return not wanted or (bool(changed) and bool(bits_of(wanted) & bits_of(changed)))


def same_case(pattern: str, case: str) -> bool:
    wanted, terms = pattern.split(" + "), case.split(" + ")
    return len(wanted) == len(terms) and any(
        all(same_term(p, t) for p, t in zip(order, terms, strict=True))
        for order in itertools.permutations(wanted)
    )


def subsets(kind: str) -> list[int]:
    """Masks to try, the smallest first; the whole case last."""
    masks = [
        sum(1 << part for part in chosen)
        for size in range(LARGEST[kind] + 1)
        for chosen in itertools.combinations(PARTS[kind], size)
    ]
    return [*masks, ALL]


def codes(run: metal.Run) -> dict[int, str]:
    found: dict[int, str] = {}
    for _, line in run.lines:
        if match := PACKED.match(line):
            text = match[2]
            for n in range(0, len(text), 2):
                found[int(match[1]) + n // 2] = text[n : n + 2]
    if not run.finished:
        last = run.lines[-1][1] if run.lines else "nothing"
        raise UserError(
            f"the search did not finish on {run.where}", f"the last line was: {last}",
            ExitCode.GUEST_FAILED,
        )
    return found


def describe(kind: str, line: str) -> tuple[str, str]:
    """Case and outcome of a line in words."""
    _, _, rest = line.partition(": ")
    case, _, outcome = rest.partition("-> ")
    if kind == "sequences" and not outcome:  # "not offered" stands before the elements
        case, _, outcome = case.partition("not offered")
        outcome = "not offered"
    terms = []
    for word in case.split():
        if change := CHANGE.match(word):
            old, new = int(change[2], 16), int(change[3], 16)
            bits = text_of(n for n in range(64) if (old ^ new) >> n & 1)
            terms.append(f"{change[1]}[{bits}]" if bits else change[1])
        elif word != ":":
            terms.append(word)
    if kind == "states":
        terms = terms[1:]  # the mode is not part of the signature
    return " + ".join(terms) or "nothing", outcome.strip()


def first_difference(ours: str, theirs: str) -> tuple[str, str]:
    """Of two lists of exits, the first that differs; places in the code left out."""
    a, b = (text.split(" | ") for text in (ours.lstrip("| "), theirs.lstrip("| ")))
    for left, right in itertools.zip_longest(a, b, fillvalue="no more exits"):
        if left != right:
            return tuple(re.sub(r" at=0x[0-9a-f]+", "", t).strip() for t in (left, right))  # type: ignore[return-value]
    return ours, theirs


class Search:
    """One kind of cases. `say`: progress, done and in all."""

    def __init__(
        self, kind: str, seed: int, ours: Runner, theirs: Runner,
        say: Callable[[str, int, int], None] = lambda *_: None,
    ):  # fmt: skip
        self.kind, self.seed, self.say = kind, seed, say
        self.runners = {"ours": ours, "bochs": theirs}
        self.seconds = {"ours": 0.0, "bochs": 0.0}

    def both(self, append: str, batch: list[Pair] | None = None) -> tuple[metal.Run, metal.Run]:
        with tempfile.TemporaryDirectory(prefix="cupel-search-") as scratch:
            module = None
            if batch is not None:
                module = Path(scratch) / "batch"
                module.write_text("".join(f"{number} {mask}\n" for number, mask in batch))
                append = f"{self.kind}=1 batch {append}"
            runs = []
            for name, runner in self.runners.items():
                start = time.monotonic()
                runs.append(runner(f"{append} seed={self.seed}", module))
                self.seconds[name] += time.monotonic() - start
        return runs[0], runs[1]

    def differing(self, count: int, first: int, chunk: int) -> list[int]:
        found: list[int] = []
        for at in range(first, first + count, chunk):
            size = min(chunk, first + count - at)
            ours, theirs = self.both(f"{self.kind}={size} from={at} packed")
            a, b = codes(ours), codes(theirs)
            found += [n for n in range(at, at + size) if a.get(n) != b.get(n)]
            self.say("compared", at + size - first, count)
        return found

    def shrunk(self, numbers: list[int]) -> list[Pair]:
        """The smallest part of each case that still disagrees."""
        masks = subsets(self.kind)
        batch = [(number, mask) for number in numbers for mask in masks]
        ours, theirs = (codes(run) for run in self.both("packed", batch))
        small: list[Pair] = []
        for index, number in enumerate(numbers):
            places = range(index * len(masks), (index + 1) * len(masks))
            kept = [m for m, p in zip(masks, places, strict=True) if ours.get(p) != theirs.get(p)]
            small.append((number, kept[0] if kept else ALL))
        return small

    def in_words(self, small: list[Pair], known: list[Known]) -> list[Group]:
        word = self.kind.removesuffix("s") + " "
        lines = [
            [line for _, line in run.lines if line.startswith(word)]
            for run in self.both("", small)
        ]
        groups: dict[tuple[str, ...], Group] = {}
        for pair, left, right in zip(small, *lines, strict=True):
            case, mine = describe(self.kind, left)
            case_there, other = describe(self.kind, right)
            case = max(case, case_there, key=len)
            if self.kind == "sequences":
                mine, other = first_difference(mine, other)
            row = next((k for k in known if k.covers(self.kind, case, mine, other)), None)
            key = (row.case, row.ours, row.bochs) if row else (re.sub(r"\[.*?\]", "", case), mine, other)
            group = groups.setdefault(key, Group(self.kind, case, mine, other, row))
            group.examples.append(pair)
        return sorted(groups.values(), key=lambda g: -len(g.examples))

    def run(self, count: int, known: list[Known], first: int = 0, chunk: int = 25_000) -> Found:
        numbers = self.differing(count, first, chunk)
        groups: list[Group] = []
        # As many cases as keep the list of one run short; Bochs starts twice for each.
        step = max(1, 20_000 // len(subsets(self.kind)))
        small: list[Pair] = []
        for at in range(0, len(numbers), step):
            small += self.shrunk(numbers[at : at + step])
            self.say("made small", min(at + step, len(numbers)), len(numbers))
        if small:
            groups = self.in_words(small, known)
        return Found(self.kind, count, len(numbers), self.seconds, groups)


def runners(model: str, profile: str, timeout: float = 600.0) -> tuple[Runner, Runner]:
    """The two machines."""

    def ours(append: str, module: Path | None) -> metal.Run:
        modules = [(str(module), "")] if module else []
        return metal.on_machine(append, profile=profile, timeout=timeout, modules=modules)

    def theirs(append: str, module: Path | None) -> metal.Run:
        extra = bochs.Module(module) if module else None
        run = bochs.run_image(metal.image(), append, model, timeout, module=extra)
        return metal.Run(f"Bochs, {model}", run.lines, run.finished)

    return ours, theirs
