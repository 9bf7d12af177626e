"""What people and programs are shown of a result."""

import io
import json
from dataclasses import replace

from canned import CRASH, S
from rich.console import Console, RenderableType

from cupel import report, timeline
from cupel.lanes import MarkKind, State, build_lanes
from cupel.result import Event, replay_command


def drawn(renderable: RenderableType, width: int = 100) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, markup=False, highlight=False).print(renderable)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_replay_command_is_complete() -> None:
    assert CRASH.replay == "./cupel run scenarios/library/host-crash.yaml --seed 7 --backend model"
    assert replay_command("a b.yaml", 0, "kvm") == "./cupel run 'a b.yaml' --seed 0 --backend kvm"


def test_the_verdict_line_has_sixteen_digits() -> None:
    assert report.verdict_line(CRASH) == "verdict PASS  trace 00c0ffee12345678"


def test_json_has_every_field_and_survives_a_round_trip() -> None:
    document = json.loads(json.dumps(CRASH.to_json()))
    assert document["schema"] == "cupel.run/1"
    assert document["trace_hash"] == "00c0ffee12345678"
    assert document["verdict"] == document["expected"] == "pass"
    assert document["as_expected"] is True
    assert document["figures"]["writes_lost"] == 0
    assert document["events"][2] == {
        "at_ns": 12 * S,
        "source": "host-a",
        "what": "fault.host.power_loss",
        "detail": "",
    }
    assert set(document["oracles"][0]) == {
        "kind", "property_class", "verdict", "detail", "violations",
    }
    assert set(document) == {
        "schema", "replay", "scenario", "seed", "backend", "verdict", "expected", "as_expected",
        "planted", "trace_hash", "duration_ns", "hosts", "vms", "figures", "oracles", "events",
        "consoles",
    }


def test_lanes_follow_the_events() -> None:
    lanes = {lane.name: lane for lane in build_lanes(CRASH)}
    assert list(lanes) == ["host-a", "host-b", "host-c", "vm/web"]
    host = lanes["host-a"]
    assert [(s.start_ns, s.end_ns, s.state) for s in host.segments] == [
        (0, 12 * S, State.UP),
        (12 * S, 50 * S, State.DOWN),
    ]
    assert [mark.kind for mark in host.marks] == [MarkKind.FAULT, MarkKind.DETECTED]
    assert [(s.end_ns // S, s.state, s.label) for s in lanes["vm/web"].segments] == [
        (5, State.BOOTING, "host-a"),
        (12, State.ANSWERING, "host-a"),
        (22, State.DOWN, ""),
        (27, State.BOOTING, "host-b"),
        (50, State.ANSWERING, "host-b"),
    ]


def test_faults_of_disks_and_links_get_lanes_and_end() -> None:
    events = [
        Event(5 * S, "shared", "fault.disk.loss"),
        Event(13 * S, "shared", "fault.end", "disk.loss"),
        Event(20 * S, "host-a", "fault.host.hang"),
        Event(30 * S, "host-a", "fault.end", "host.hang"),
    ]
    lanes = {lane.name: lane for lane in build_lanes(replace(CRASH, events=events))}
    assert [(s.start_ns // S, s.end_ns // S) for s in lanes["shared"].segments] == [(5, 13)]
    assert [s.state for s in lanes["host-a"].segments] == [State.UP, State.HUNG, State.UP]


def test_the_timeline_shows_lanes_marks_and_axis() -> None:
    lines = drawn(timeline.render_lanes(CRASH, 100))
    assert lines[0].split() == ["0s", "10s", "20s", "30s", "40s"]
    host_a = next(line for line in lines if line.startswith("host-a"))
    assert host_a.index("▼") < host_a.index("◆")
    vm = next(line for line in lines if line.startswith("vm/web"))
    assert "█host-a█" in vm and "█host-b█" in vm and "▶" in vm and "···" in vm
    assert "▼ fault" in lines[-1] and "≈" not in lines[-1]
    assert max(len(line) for line in lines) <= 100


def test_the_timeline_fits_any_width_and_any_length() -> None:
    for width in (20, 40, 300):
        lines = drawn(timeline.render_lanes(CRASH, width), 400)
        assert max(len(line) for line in lines[:-2]) <= width
    for duration in (1, 1000, 86400 * S):
        drawn(timeline.render_lanes(replace(CRASH, duration_ns=duration), 80))
    drawn(timeline.render_lanes(replace(CRASH, events=[], hosts=[], vms=[]), 80))


def test_ascii_is_enough_where_unicode_is_not() -> None:
    lines = drawn(timeline.render_lanes(CRASH, 100, timeline.ASCII))
    assert all(line.isascii() for line in lines)
    assert any("#host-a#" in line for line in lines)


def test_the_event_table_has_what_matters() -> None:
    text = "\n".join(drawn(timeline.render_events(CRASH)))
    assert "12.000 s" in text and "fault.host.power_loss" in text
    assert "disk.flush" not in text
    many = replace(CRASH, events=[Event(n, "vm/web", "vm.started", "host-a") for n in range(500)])
    lines = drawn(timeline.render_events(many))
    assert any("... 460 more" in line for line in lines)
    assert len(lines) < 60


def test_hostile_details_are_not_taken_for_markup() -> None:
    event = Event(S, "vm/web", "vm.down", "[red]x[/bold] :smile:")
    assert "[red]x[/bold] :smile:" in "\n".join(
        drawn(timeline.render_events(replace(CRASH, events=[event])))
    )


def test_figures_have_names_units_and_an_order() -> None:
    lines = [" ".join(line.split()) for line in drawn(report.figures(CRASH))]
    assert lines == [
        "detection time 5.000 s",
        "outage 15.000 s",
        "writes acknowledged 5000",
        "writes lost 0",
        "exits 12345",
    ]


def test_a_failed_oracle_shows_its_violations() -> None:
    bad = replace(
        CRASH.oracles[0], verdict="fail", violations=["web sector 5: expected x, disk holds zeros"]
    )
    out = io.StringIO()
    console = Console(file=out, width=100, markup=False, highlight=False)
    report.print_report(replace(CRASH, verdict="fail", oracles=[bad]), console)
    assert "FAIL" in out.getvalue()
    assert "sector 5: expected x, disk holds zeros" in out.getvalue()
    assert "expected PASS" in out.getvalue()


def test_an_unexpected_verdict_shows_the_end_of_each_console() -> None:
    out = io.StringIO()
    console = Console(file=out, width=100, markup=False, highlight=False)
    tail = "\n".join(f"line {n}" for n in range(50)) + "\r\nlast \x1b[2J words\n"
    report.print_report(replace(CRASH, verdict="fail", consoles={"web": tail}), console)
    assert "console of web" in out.getvalue()
    assert "last ?[2J words" in out.getvalue()
    assert "line 2\n" not in out.getvalue()
