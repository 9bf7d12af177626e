"""What a person sees of a run."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cupel import timeline
from cupel.result import RunResult

# Figures by name: how they are called, and how they are printed.
FIGURES = {
    "detection_time_s": ("detection time", "{:.3f} s"),
    "outage_s": ("outage", "{:.3f} s"),
    "writes_acknowledged": ("writes acknowledged", "{:.0f}"),
    "writes_lost": ("writes lost", "{:.0f}"),
}
VERDICT_STYLES = {"pass": "bold green", "fail": "bold red"}


def figure_line(name: str, value: float) -> tuple[str, str]:
    """("detection time", "5.103 s"); an unknown figure keeps its name."""
    title, form = FIGURES.get(name, (name.replace("_", " "), "{:g}"))
    return title, form.format(value)


def figures(result: RunResult) -> Table:
    """Known figures first, in their order."""
    order = {name: index for index, name in enumerate(FIGURES)}
    names = sorted(result.figures, key=lambda name: (order.get(name, len(order)), name))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    for name in names:
        table.add_row(*(Text(cell) for cell in figure_line(name, result.figures[name])))
    return table


def oracles(result: RunResult) -> Table:
    """Verdict, name and detail of each; violations below."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for oracle in result.oracles:
        verdict = Text(oracle.verdict.upper(), VERDICT_STYLES.get(oracle.verdict, "yellow"))
        table.add_row(verdict, Text(oracle.kind), Text(oracle.detail))
        for violation in oracle.violations:
            table.add_row(Text(), Text(), Text(violation, "red"))
    return table


def symbols_for(console: Console) -> timeline.Symbols:
    return timeline.UNICODE if console.encoding.startswith("utf") else timeline.ASCII


def print_report(result: RunResult, console: Console) -> None:
    """Everything between the replay command and the verdict."""
    console.print()
    console.print(timeline.render_lanes(result, console.width, symbols_for(console)))
    console.print()
    console.print(timeline.render_events(result))
    console.print()
    console.print(figures(result))
    console.print()
    console.print(oracles(result))
    console.print()
    if not result.as_expected:
        print_consoles(result, console)
        console.print(Text(f"expected {result.expected.upper()}", "bold"))
    elif result.verdict == "fail":
        console.print(Text("FAIL is what this scenario is there to show"))


def print_consoles(result: RunResult, console: Console) -> None:
    """The last lines each VM wrote: where one looks first when a run went wrong."""
    for vm, tail in result.consoles.items():
        lines = [line for line in tail.replace("\r", "").split("\n") if line.strip()][-8:]
        if lines:
            console.print(Text(f"console of {vm}", "bold"))
        for line in lines:
            printable = "".join(c if c.isprintable() else "?" for c in line)
            console.print(Text(f"  {printable}", "dim"))


def verdict_line(result: RunResult) -> str:
    """The last line of a run."""
    return f"verdict {result.verdict.upper()}  trace {result.trace_hash:016x}"


def make_console() -> Console:
    """Standard output; 100 columns when it is no terminal. Nothing is taken for markup."""
    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(
        highlight=False, markup=False, emoji=False, width=100
    )
