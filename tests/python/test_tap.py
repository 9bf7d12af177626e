"""Reading and comparing TAP."""

from cupel import tap
from cupel.tap import Verdict

TEXT = """SeaBIOS says hello
TAP version 13
ok 1 - vmx.vmxon.success
not ok 2 - vmx.vmcall.in_root # with VMCS: expected VMfailValid(1) got VMsucceed
ok 3 - exit.encls # SKIP controls not offered
1..3
# passed 1 failed 1 skipped 1
# done
"""


def test_verdicts_and_plan() -> None:
    run = tap.parse(TEXT)
    assert run.complete
    assert run.named(Verdict.PASSED) == {"vmx.vmxon.success"}
    assert run.named(Verdict.FAILED) == {"vmx.vmcall.in_root"}
    assert run.results["exit.encls"].detail == "controls not offered"


def test_a_run_without_plan_is_not_complete() -> None:
    assert not tap.parse("ok 1 - a\n").complete


def test_bail_out_is_not_complete() -> None:
    run = tap.parse("ok 1 - a\nBail out! VMXON faults\n1..1\n")
    assert run.bail_out == "VMXON faults"
    assert not run.complete


def test_differences_name_what_is_not_the_same() -> None:
    left = tap.parse("ok 1 - a\nnot ok 2 - b # x: expected 1 got 2\nok 3 - c\n")
    right = tap.parse("ok 1 - a\nnot ok 2 - b # x: expected 1 got 3\nok 3 - d\n")
    assert [found.name for found in tap.differences(left, right)] == ["b", "c", "d"]
