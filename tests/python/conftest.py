"""Finds the package when the tests are started without ./cupel, and says when its build is missing."""

import importlib
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CUPEL_BUILD") or ROOT / "build" / "release")

for directory in (ROOT / "python", BUILD / "python"):
    if str(directory) not in sys.path:
        sys.path.append(str(directory))


@pytest.fixture(scope="session")
def native() -> object:
    """The native module; tests that need it skip without it."""
    try:
        return importlib.import_module("cupel._core")
    except ImportError as error:
        pytest.skip(f"the native module is not built: {error}")


@pytest.fixture(scope="session")
def native_run(native: object) -> object:
    """The native module when it can run scenarios."""
    if not hasattr(native, "run"):
        pytest.skip("the native module cannot run scenarios yet")
    return native
