"""Reading GoogleTest's output from a console."""

from cupel import googletest, nested_kvm

TEXT = """\
NESTED begin a
[==========] Running 4 tests from 2 test suites.
[ RUN      ] Events.First\r
[       OK ] Events.First (59 ms)\r
[ RUN      ] Events.Second
[    4.98] clocksource: Switched to clocksource tsc
test.cpp:7: Failure
Expected equality
[  FAILED  ] Events.Second (1 ms)
[ RUN      ] All/Guest.Third/0
test.cpp:24: Skipped
no image
[  SKIPPED ] All/Guest.Third/0 (0 ms)
[==========] 3 tests from 2 test suites ran. (60 ms total)
[  FAILED  ] 1 test, listed below:
[  FAILED  ] Events.Second
[  SKIPPED ] 1 test, listed below:
[  SKIPPED ] All/Guest.Third/0
[ RUN      ] Events.Hangs
"""


def test_every_outcome_is_counted_once() -> None:
    found = googletest.parse(TEXT)
    assert found.passed == ["Events.First"]
    assert list(found.failed) == ["Events.Second"]
    assert list(found.skipped) == ["All/Guest.Third/0"]
    assert (found.total, found.programs) == (3, 1)


def test_what_a_test_said_stays_with_it() -> None:
    found = googletest.parse(TEXT)
    assert found.failed["Events.Second"].endswith("Expected equality")
    assert found.skipped["All/Guest.Third/0"].splitlines()[-1] == "no image"


def test_a_test_that_does_not_end_is_named() -> None:
    assert googletest.parse(TEXT).unfinished == "Events.Hangs"
    assert googletest.parse("").unfinished is None


def test_a_failed_test_with_parameters_is_known() -> None:
    text = "[ RUN      ] A.B/1\n[  FAILED  ] A.B/1, where GetParam() = 7 (3 ms)\n"
    assert list(googletest.parse(text).failed) == ["A.B/1"]


def test_a_filter_can_leave_out_more() -> None:
    assert nested_kvm.without("", ("C.d",)) == "*-C.d"
    assert nested_kvm.without("A.*:B.*", ("C.d", "E.f")) == "A.*:B.*-C.d:E.f"
    assert nested_kvm.without("A.*-A.b", ("C.d",)) == "A.*-A.b:C.d"
