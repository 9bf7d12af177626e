"""Differential search: how disagreements are named and looked up, and a bounded slice of it."""

import pytest
from cupel import bochs, metal_search, paths

IMAGE = paths.build() / "hypervisor" / "metal" / "cupel-metal.elf"
MISSING = bochs.missing_tools()


def test_bits_as_text() -> None:
    assert metal_search.text_of({0, 1, 2, 7, 31}) == "0-2,7,31"
    assert metal_search.bits_of("0-2,7,31") == {0, 1, 2, 7, 31}


def test_a_state_is_named_by_the_bits_that_changed() -> None:
    case, outcome = metal_search.describe(
        "states", "state 7: pae guest_rip=0x1000>0x800000001000 vpid=0x0>0x1 -> exit cpuid"
    )
    assert case == "guest_rip[47] + vpid[0]"
    assert outcome == "exit cpuid"


def test_a_sequence_is_named_by_controls_and_instructions() -> None:
    case, outcome = metal_search.describe(
        "sequences", "sequence 7: hlt_exiting : cpuid hlt -> | cpuid at=0x0 q=0x0"
    )
    assert case == "hlt_exiting + cpuid + hlt"
    assert outcome == "| cpuid at=0x0 q=0x0"


@pytest.mark.parametrize(
    ("pattern", "case", "same"),
    [
        ("guest_rip[47-63]", "guest_rip[47]", True),
        ("guest_rip[47-63]", "guest_rip[46]", False),
        ("guest_rip", "guest_rip[46]", True),
        ("vpid + guest_rip[47-63]", "guest_rip[50] + vpid[1]", True),
        ("guest_rip[47-63]", "guest_rip[50] + vpid[1]", False),
        ("*rdrand*", "rdrand_exiting", True),
    ],
)
def test_rows_cover_cases(pattern: str, case: str, same: bool) -> None:
    assert metal_search.same_case(pattern, case) is same


def test_the_first_exit_that_differs_is_shown() -> None:
    assert metal_search.first_difference(
        "| cpuid at=0x0 q=0x0 | vmcall at=0x2 q=0x0", "| cpuid at=0x0 q=0x0 | hlt at=0x2 q=0x0"
    ) == ("vmcall q=0x0", "hlt q=0x0")


def test_every_row_of_the_list_is_read() -> None:
    table = paths.root() / "tests" / "metal" / "search_deviations.md"
    lines = [x for x in table.read_text().splitlines() if x.startswith(("| states", "| seq", "| epts"))]
    rows = metal_search.known_rows()
    assert len(rows) == len(lines)
    assert {row.right for row in rows} <= {"ours", "bochs", "undefined", "profile"}


@pytest.mark.skipif(bool(MISSING), reason="Bochs is missing: " + " ".join(MISSING))
@pytest.mark.skipif(not IMAGE.exists(), reason="the image is not built")
@pytest.mark.parametrize(("kind", "count"), [("states", 2000), ("sequences", 200), ("epts", 300)])
def test_disagreements_with_bochs_are_listed(native: object, kind: str, count: int) -> None:
    ours, theirs = metal_search.runners("corei7_skylake_x", "skylake-sp", timeout=120)
    found = metal_search.Search(kind, 20, ours, theirs).run(count, metal_search.known_rows())
    assert found.compared == count
    unlisted = [(g.case, g.ours, g.bochs, g.replay(20)) for g in found.groups if g.known is None]
    assert not unlisted
