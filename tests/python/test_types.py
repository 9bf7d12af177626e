"""The package against its type checker, and the native module against its stub."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from cupel import paths

STUB = paths.root() / "python" / "cupel" / "_core.pyi"


def test_the_package_passes_the_strict_type_checker(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path, "cupel"],
        cwd=paths.root() / "python",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def described() -> dict[str, list[str]]:
    """Functions and classes of the stub, classes with their public members. Typed dictionaries
    exist only for the type checker."""
    names: dict[str, list[str]] = {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names[node.name] = []
        elif isinstance(node, ast.ClassDef):
            bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
            if "TypedDict" not in bases:
                names[node.name] = [n.name for n in node.body if isinstance(n, ast.FunctionDef)]
    return names


def test_the_native_module_has_what_its_stub_describes(native_run: object) -> None:
    for name, members in described().items():
        assert hasattr(native_run, name), name
        for member in members:
            assert hasattr(getattr(native_run, name), member), f"{name}.{member}"


def test_the_scenario_part_of_the_native_module_matches_its_stub(native: object) -> None:
    stub = described()
    for name in ("load_scenario", "fault_catalogue", "oracle_catalogue", "Scenario", "Problem"):
        for member in stub[name]:
            assert hasattr(getattr(native, name), member), f"{name}.{member}"
