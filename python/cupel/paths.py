"""Where the source tree, the build and the scenario library are."""

import difflib
import os
from pathlib import Path

from cupel.errors import UserError


def root() -> Path:
    """The source tree."""
    return Path(os.environ.get("CUPEL_ROOT") or Path(__file__).resolve().parents[2])


def build() -> Path:
    """The build directory."""
    return Path(os.environ.get("CUPEL_BUILD") or root() / "build" / "release")


def library() -> list[Path]:
    """The scenarios that come with the project, by name."""
    return sorted((root() / "scenarios" / "library").glob("*.yaml"))


def find_scenario(name: str) -> Path:
    """A file, or the scenario of that name in the library."""
    path = Path(name)
    if path.is_file():
        return path
    names = {scenario.stem: scenario for scenario in library()}
    if name in names:
        return short(names[name])
    if path.is_dir():
        raise UserError(f"{name} is a directory", "name a scenario file")
    near = difflib.get_close_matches(name, names, n=1)
    guess = f"did you mean '{near[0]}'? " if near else ""
    known = ", ".join(names) or "none"
    raise UserError(f"there is no scenario '{name}'", f"{guess}in the library: {known}")


def short(path: Path) -> Path:
    """Relative to the working directory, if it is inside."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def read_scenario(path: Path) -> str:
    """The text of a scenario file. Wrong UTF-8 is left to the YAML reader to complain about."""
    # One byte more than the reader takes, so that it says what is wrong with a huge file.
    most = (1 << 20) + 1
    try:
        with path.open("rb") as file:
            return file.read(most).decode("utf-8", errors="replace")
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}", "check the name and its permissions"
        ) from error


def shown(path: Path) -> str:
    """The path as it is typed next to ./cupel: relative to the source tree when inside it."""
    full = path.resolve()
    base = root().resolve()
    return str(full.relative_to(base)) if full.is_relative_to(base) else str(full)
