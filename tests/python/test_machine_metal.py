"""The metal image on the modelled machine, with one, two and four processors."""

import pytest
from cupel import metal, paths
from cupel.tap import Verdict

IMAGE = paths.build() / "hypervisor" / "metal" / "cupel-metal.elf"

pytestmark = pytest.mark.skipif(not IMAGE.exists(), reason="the image is not built")

# The engine executes TPAUSE as MFENCE, which has the same opcode without the 66H prefix.
KNOWN_FAILURES = {"exit.undefined.tpause"}
OF_SEVERAL = ("smp.shared_counter", "smp.nmi_ipi_exits", "smp.init_in_root_is_blocked")


@pytest.mark.parametrize("seed", [1, 7])
@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_the_self_test_passes_and_repeats(native: object, cpus: int, seed: int) -> None:
    run = metal.on_machine("", cpus, seed=seed)
    found = metal.results(run)
    assert found.named(Verdict.FAILED) <= KNOWN_FAILURES
    for name in OF_SEVERAL:
        assert (name in found.named(Verdict.PASSED)) == (cpus > 1)
    assert [f"smp.start.{n}" in found.results for n in range(1, 5)] == [n < cpus for n in range(1, 5)]
    assert metal.on_machine("", cpus, seed=seed).text == run.text


def test_generated_cases_repeat(native: object) -> None:
    for kind in ("states", "sequences", "epts"):
        first = metal.on_machine(f"{kind}=200 seed=3", profile="skylake-sp")
        assert first.finished
        assert metal.on_machine(f"{kind}=200 seed=3", profile="skylake-sp").text == first.text
