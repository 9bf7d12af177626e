"""The metal image on Debian's Bochs: exactly the listed deviations fail."""

import re
from pathlib import Path

import pytest
from cupel import bochs, paths, tap
from cupel.tap import Verdict

IMAGE = paths.build() / "hypervisor" / "metal" / "cupel-metal.elf"
WORKLOAD = paths.build() / "scenarios" / "guests" / "workload" / "workload.elf"
DEVIATIONS = Path(__file__).parents[1] / "metal" / "bochs_deviations.md"
NOT_SURVIVED = "apic.access.fetch"

pytestmark = pytest.mark.skipif(
    bool(bochs.missing_tools()) or not IMAGE.exists(),
    reason="Bochs, its helpers or the image are missing",
)


def listed(model: str) -> set[str]:
    rows = re.findall(r"^\| (\S+) \| ([\w ]+) \| .* \| .* \|$", DEVIATIONS.read_text(), re.M)
    return {name for name, models in rows if models == "all" or model in models.split()}


@pytest.mark.parametrize("model", bochs.MODELS)
def test_only_the_listed_deviations_fail(model: str) -> None:
    run = bochs.run_image(IMAGE, f"skip={NOT_SURVIVED}", model)
    assert run.finished, run.serial[-2000:]
    results = tap.parse(run.serial)
    assert results.complete, results.bail_out
    assert results.named(Verdict.FAILED) == listed(model)
    assert len(results.named(Verdict.PASSED)) > 900


def test_the_workload_guest_runs_under_the_core() -> None:
    run = bochs.run_image(
        IMAGE, "guest", module=bochs.Module(WORKLOAD, "mode=mips iters=100000")
    )
    assert "WORKLOAD mips iters=100000" in run.serial
    assert "# guest debug exit 0" in run.serial


def test_benchmarks_mark_begin_and_end() -> None:
    run = bochs.run_image(IMAGE, "bench iterations=1000")
    for name in ("cpuid_trip", "guest_integer", "guest_kernel"):
        assert f"# bench {name} iterations=1000 begin" in run.serial
        assert f"# bench {name} iterations=1000 end" in run.serial
    assert "failed" not in run.serial
