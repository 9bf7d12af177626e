"""Options that several commands share."""

from typing import Any, Callable, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def backend_option(command: F) -> F:
    """--backend model|kvm"""
    return click.option(
        "--backend",
        type=click.Choice(["model", "kvm"]),
        default="model",
        show_default=True,
        help="Who executes the guest: the software model of VT-x, or /dev/kvm.",
    )(command)


def seed_option(command: F) -> F:
    """--seed N, None when not given."""
    return click.option(
        "--seed",
        type=click.IntRange(0, 2**64 - 1),
        help="Seed of everything random in the run; default: the scenario's own.",
    )(command)
