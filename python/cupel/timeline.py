"""The timeline of a run as text: one lane a host and VM over virtual time, and its events."""

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cupel.lanes import Lane, MarkKind, State, build_lanes
from cupel.result import Event, RunResult

NANOSECONDS = 1_000_000_000
MOST_EVENTS = 40


@dataclass(frozen=True)
class Symbols:
    """Characters for one encoding. Each differs, so that colour only repeats what they say."""

    states: dict[State, str]
    marks: dict[MarkKind, str]
    tick: str
    rule: str


UNICODE = Symbols(
    {
        State.UP: "─",
        State.HUNG: "≈",
        State.DOWN: "·",
        State.BOOTING: "░",
        State.ANSWERING: "█",
        State.FAULTY: "╳",
    },
    {
        MarkKind.FAULT: "▼",
        MarkKind.FAULT_END: "△",
        MarkKind.DETECTED: "◆",
        MarkKind.RESTART: "▶",
        MarkKind.VIOLATION: "✗",
    },
    "┬",
    "─",
)
ASCII = Symbols(
    {
        State.UP: "-",
        State.HUNG: "~",
        State.DOWN: ".",
        State.BOOTING: ":",
        State.ANSWERING: "#",
        State.FAULTY: "%",
    },
    {
        MarkKind.FAULT: "V",
        MarkKind.FAULT_END: "^",
        MarkKind.DETECTED: "D",
        MarkKind.RESTART: ">",
        MarkKind.VIOLATION: "X",
    },
    "+",
    "-",
)
STATE_STYLES = {
    State.UP: "dim",
    State.HUNG: "yellow",
    State.DOWN: "red",
    State.BOOTING: "cyan",
    State.ANSWERING: "green",
    State.FAULTY: "yellow",
}
MARK_STYLES = {
    MarkKind.FAULT: "bold red",
    MarkKind.FAULT_END: "bold",
    MarkKind.DETECTED: "bold yellow",
    MarkKind.RESTART: "bold cyan",
    MarkKind.VIOLATION: "bold white on red",
}


def seconds(ns: int) -> str:
    return f"{ns / NANOSECONDS:.3f} s"


class Scale:
    """Virtual time to columns."""

    def __init__(self, duration_ns: int, width: int) -> None:
        self.duration_ns = max(duration_ns, 1)
        self.width = max(width, 10)

    def column(self, at_ns: int) -> int:
        return min(max(at_ns, 0) * self.width // self.duration_ns, self.width - 1)

    def step_ns(self) -> int:
        """A round distance between ticks, so that labels have some twelve columns each."""
        wanted = self.duration_ns * 12 // self.width
        step = 1_000_000
        while True:
            for factor in (1, 2, 5):
                if step * factor >= wanted:
                    return step * factor
            step *= 10


def axis(scale: Scale, symbols: Symbols) -> tuple[Text, Text]:
    """Tick labels, and the line with the ticks."""
    labels = [" "] * scale.width
    line = [symbols.rule] * scale.width
    step = scale.step_ns()
    for at_ns in range(0, scale.duration_ns, step):
        column = scale.column(at_ns)
        label = f"{at_ns / NANOSECONDS:g}s"
        line[column] = symbols.tick
        if column + len(label) <= scale.width:
            labels[column : column + len(label)] = label
    return Text("".join(labels), "dim"), Text("".join(line), "dim")


def draw_lane(lane: Lane, scale: Scale, symbols: Symbols) -> Text:
    """One row of cells. A segment shows at least one cell; marks stand over segments."""
    cells = [(" ", "")] * scale.width
    for segment in lane.segments:
        start = scale.column(segment.start_ns)
        end = max(scale.column(segment.end_ns), start + 1)
        if segment.end_ns >= scale.duration_ns:
            end = scale.width
        style = STATE_STYLES[segment.state]
        cells[start:end] = [(symbols.states[segment.state], style)] * (end - start)
        if segment.label and segment.state is State.ANSWERING and end - start > len(segment.label) + 3:
            for offset, letter in enumerate(segment.label, start + 2):
                cells[offset] = (letter, f"{style} reverse")
    for mark in lane.marks:
        cells[scale.column(mark.at_ns)] = (symbols.marks[mark.kind], MARK_STYLES[mark.kind])
    return Text.assemble(*cells)


def legend(lanes: list[Lane], symbols: Symbols) -> Text:
    """Only what the timeline shows."""
    states = {segment.state for lane in lanes for segment in lane.segments}
    marks = {mark.kind for lane in lanes for mark in lane.marks}
    text = Text()
    for state in State:
        if state in states:
            text.append(symbols.states[state], STATE_STYLES[state]).append(f" {state.value}   ")
    for kind in MarkKind:
        if kind in marks:
            text.append(symbols.marks[kind], MARK_STYLES[kind]).append(f" {kind.value}   ")
    text.rstrip()
    return text


def render_lanes(result: RunResult, width: int, symbols: Symbols = UNICODE) -> RenderableType:
    """The lanes under an axis of virtual time, `width` columns wide in all."""
    lanes = build_lanes(result)
    longest = max((len(lane.name) for lane in lanes), default=0)
    names = min(longest, max(width // 3, 8))
    scale = Scale(result.duration_ns, width - names - 2)
    rows = [(Text(), row) for row in axis(scale, symbols)]
    rows += [(Text(lane.name, "bold"), draw_lane(lane, scale, symbols)) for lane in lanes]
    drawn = Text(no_wrap=True, overflow="crop")
    for name, row in rows:
        name.truncate(names, pad=True)
        drawn.append_text(name).append("  ").append_text(row).append("\n")
    return Group(drawn, legend(lanes, symbols))


_NOTABLE = ("fault.", "vm.", "ha.", "host.", "oracle.")


def notable(events: list[Event]) -> list[Event]:
    """Events with a meaning outside of the run."""
    return [event for event in events if event.what.startswith(_NOTABLE)]


def render_events(result: RunResult) -> RenderableType:
    """A table of the notable events; of very many, the first and the last."""
    events = notable(result.events)
    left_out = len(events) - MOST_EVENTS
    if left_out > 0:
        half = MOST_EVENTS // 2
        gap = Event(events[half].at_ns, "", f"... {left_out} more, see --json", "")
        events = [*events[:half], gap, *events[-half:]]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("virtual time", justify="right")
    table.add_column("who")
    table.add_column("what")
    table.add_column("detail", overflow="fold")
    for event in events:
        style = "red" if event.what.startswith(("fault.", "oracle.")) else ""
        cells = (seconds(event.at_ns), event.source, event.what, event.detail)
        table.add_row(*(Text(cell, style) for cell in cells))
    return table
