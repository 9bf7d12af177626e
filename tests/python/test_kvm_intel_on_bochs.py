"""The kvm backend on real kvm-intel inside Bochs: a slice of its tests, for time's sake."""

import pytest
from cupel import nested_kvm
from cupel.nested_kvm import Place, Programs

SLICE = Programs(tests=("cupel_kvm_static_tests",))
# Ports, MMIO, MSRs, an interrupt, 64-bit code, a triple fault.
FILTER = (
    "RealGuest.OutReaches*:RealGuest.AccessBeyond*:RealGuest.PlatformMsrs*:"
    "Events.TwoPending*:Events.TimerInterrupt*:LongMode.Executes*:LongMode.TripleFault*"
)
TESTS = 7
# Under a minute and a half on a free machine.
LIMIT = 600.0


@pytest.mark.skipif(
    bool(nested_kvm.missing(Place.BOCHS, SLICE)),
    reason=nested_kvm.missing(Place.BOCHS, SLICE) or "-",
)
def test_guests_of_the_kvm_backend_run_on_bochs() -> None:
    run = nested_kvm.run(Place.BOCHS, FILTER, LIMIT, programs=SLICE)
    assert run.finished, run.text[-2000:]
    assert run.errors == []
    assert run.results.failed == {}
    assert len(run.results.passed) == TESTS
    assert "unrestricted_guest=Y" in run.text
