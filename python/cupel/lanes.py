"""From the events of a run to lanes over virtual time: who was in which state when."""

from dataclasses import dataclass, field
from enum import Enum

from cupel.result import Event, RunResult


class State(Enum):
    UP = "up"  # host: running
    HUNG = "hung"
    DOWN = "down"
    BOOTING = "booting"  # host: firmware and hypervisor; VM: executing, not yet answering
    ANSWERING = "answering"
    FAULTY = "faulty"  # disk, NIC: a fault is in force


class MarkKind(Enum):
    FAULT = "fault"
    FAULT_END = "fault ends"
    DETECTED = "detected"
    RESTART = "restart"
    VIOLATION = "violation"


@dataclass(frozen=True)
class Segment:
    start_ns: int
    end_ns: int
    state: State
    label: str = ""


@dataclass(frozen=True)
class Mark:
    at_ns: int
    kind: MarkKind


@dataclass
class Lane:
    """A row of the timeline; segments are in order and do not overlap."""

    name: str
    segments: list[Segment] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    _since_ns: int = 0
    _state: State | None = None
    _label: str = ""

    @property
    def state(self) -> State | None:
        """The state at the end of what was followed so far."""
        return self._state

    def change(self, at_ns: int, state: State | None, label: str | None = None) -> None:
        """The state from `at_ns` on; None is "not there". The label stays unless given."""
        if self._state is not None and at_ns > self._since_ns:
            self.segments.append(Segment(self._since_ns, at_ns, self._state, self._label))
        self._since_ns, self._state = at_ns, state
        if label is not None:
            self._label = label


_FAULT_STATES = {
    "host.power_loss": State.DOWN,
    "host.hang": State.HUNG,
    "host.path_delay": State.UP,
}
_HOST_STATES = {
    "host.booting": State.BOOTING,
    "host.booted": State.UP,
    "host.resumed": State.UP,
    "host.reset": State.DOWN,
}


class LaneBuilder:
    """Follows the events in order. Unknown events change nothing."""

    def __init__(self, result: RunResult) -> None:
        self.lanes: dict[str, Lane] = {}
        for host in result.hosts:
            self.lane(host).change(0, State.UP)
        for vm in result.vms:
            self.lane(f"vm/{vm}")
        for event in sorted(result.events, key=lambda e: e.at_ns):
            self.follow(event)
        for lane in self.lanes.values():
            lane.change(result.duration_ns, None)

    def lane(self, name: str) -> Lane:
        return self.lanes.setdefault(name, Lane(name))

    def mark(self, name: str, event: Event, kind: MarkKind) -> None:
        self.lane(name).marks.append(Mark(event.at_ns, kind))

    def follow(self, event: Event) -> None:
        if event.what == "fault.end":
            self.fault_ends(event)
        elif event.what.startswith("fault."):
            self.fault_begins(event)
        elif event.what.startswith("vm."):
            self.vm_changes(event)
        elif event.what in _HOST_STATES:
            self.lane(event.source).change(event.at_ns, _HOST_STATES[event.what])
        elif event.what == "ha.host_dead" and event.detail:
            self.mark(event.detail.split()[0], event, MarkKind.DETECTED)
        elif event.what == "ha.restart":
            self.mark(event.source, event, MarkKind.RESTART)
        elif event.what == "oracle.violation":
            self.mark("oracles", event, MarkKind.VIOLATION)

    def fault_begins(self, event: Event) -> None:
        kind = event.what.removeprefix("fault.")
        self.lane(event.source).change(event.at_ns, _FAULT_STATES.get(kind, State.FAULTY))
        self.mark(event.source, event, MarkKind.FAULT)

    def fault_ends(self, event: Event) -> None:
        lane = self.lane(event.source)
        if not event.detail.startswith("host."):
            lane.change(event.at_ns, None)
        elif lane.state is State.HUNG:  # not reset by its watchdog meanwhile
            lane.change(event.at_ns, State.UP)
        self.mark(event.source, event, MarkKind.FAULT_END)

    def vm_changes(self, event: Event) -> None:
        lane = self.lane(event.source)
        host = event.detail.split()[0] if event.detail else ""
        if event.what == "vm.started":
            lane.change(event.at_ns, State.BOOTING, host)
        elif event.what == "vm.answering":
            lane.change(event.at_ns, State.ANSWERING)
        elif event.what == "vm.down":
            lane.change(event.at_ns, State.DOWN, "")
        elif event.what == "vm.stopped":
            lane.change(event.at_ns, State.DOWN, "")


def build_lanes(result: RunResult) -> list[Lane]:
    """Hosts first, then VMs, then what faults or oracles brought in."""
    return list(LaneBuilder(result).lanes.values())
