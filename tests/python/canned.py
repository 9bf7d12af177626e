"""A result as a run of host-crash gives it, for tests of what is made of results."""

from cupel.result import Event, OracleResult, RunResult

S = 1_000_000_000

CRASH = RunResult(
    scenario="host-crash",
    file="scenarios/library/host-crash.yaml",
    seed=7,
    backend="model",
    verdict="pass",
    expected="pass",
    trace_hash=0x00C0FFEE12345678,
    duration_ns=50 * S,
    hosts=["host-a", "host-b", "host-c"],
    vms=["web"],
    events=[
        Event(0, "vm/web", "vm.started", "host-a"),
        Event(5 * S, "vm/web", "vm.answering"),
        Event(12 * S, "host-a", "fault.host.power_loss"),
        Event(12 * S, "vm/web", "vm.down", "host-a lost power"),
        Event(17 * S, "host-b", "ha.host_dead", "host-a"),
        Event(22 * S, "vm/web", "ha.restart", "host-b"),
        Event(22 * S, "vm/web", "vm.started", "host-b"),
        Event(23 * S, "disk/shared", "disk.flush", "1"),
        Event(27 * S, "vm/web", "vm.answering"),
    ],
    oracles=[
        OracleResult("no_acknowledged_write_lost", "safety", "pass", "web: 9 acknowledged, 0 lost"),
        OracleResult("single_instance", "safety", "pass", "1 VMs, 2 instances"),
        OracleResult("recovery_within", "liveness", "pass", "1 outages, longest 15.000 s"),
    ],
    figures={
        "outage_s": 15.0,
        "detection_time_s": 5.0,
        "writes_acknowledged": 5000,
        "writes_lost": 0,
        "exits": 12345,
    },
)
