"""A guest's serial console on this terminal, or on pipes."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from contextlib import contextmanager
from typing import Iterator, Protocol

from cupel.errors import UserError
from cupel.exit_codes import ExitCode

ESCAPE = 0x01  # Ctrl-A
LEAVE = b"xX"
HELP = b"\r\n[Ctrl-A x leaves, Ctrl-A Ctrl-A types a Ctrl-A]\r\n"

STEP_NS = 10_000_000
IDLE_WAIT_S = 0.01
# How long, in virtual time, a guest is given to say something more after its input has ended.
QUIET_NS = 2_000_000_000
# How long a guest must be silent after it said it is ready, before piped input is typed.
SETTLE_NS = 200_000_000
# How long a guest may be silent while it is expected to become ready.
GIVE_UP_NS = 60_000_000_000


class Guest(Protocol):
    """What the loop needs of `_core.Console`."""

    def step(self, nanoseconds: int) -> bool: ...
    def read(self) -> bytes: ...
    def write(self, data: bytes) -> int: ...
    @property
    def idle(self) -> bool: ...
    @property
    def exit_status(self) -> int | None: ...
    @property
    def virtual_ns(self) -> int: ...


class EscapeFilter:
    """Takes the escape sequences out of what is typed."""

    def __init__(self) -> None:
        self.escaped = False
        self.leave = False
        self.wants_help = False

    def feed(self, data: bytes) -> bytes:
        """What is meant for the guest; `leave` tells that the user wants to go."""
        typed = bytearray()
        for byte in data:
            if not self.escaped and byte == ESCAPE:
                self.escaped = True
            elif not self.escaped:
                typed.append(byte)
            else:
                self.escaped = False
                if byte in LEAVE:
                    self.leave = True
                    break
                if byte == ESCAPE:
                    typed.append(byte)
                else:
                    self.wants_help = True
        return bytes(typed)


@contextmanager
def raw_terminal(fd: int) -> Iterator[None]:
    """Every key goes to the guest; the terminal is restored whatever happens."""
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


class Session:
    """Moves bytes between a guest and two file descriptors until one of them ends."""

    def __init__(self, guest: Guest, input_fd: int, output_fd: int, ready: bytes) -> None:
        self.guest = guest
        self.input_fd = input_fd
        self.output_fd = output_fd
        self.interactive = os.isatty(input_fd)
        self.escapes = EscapeFilter()
        self.pending = b""  # read, but not yet taken by the guest
        self.input_open = True
        self.spoke_ns = 0  # virtual time of the guest's last output
        self.awaited = b"" if self.interactive else ready
        self.seen = b""

    def run(self) -> None:
        """Returns when the guest ended, the user left, or piped input is over and answered."""
        running = True
        while running and not self.escapes.leave:
            self.take_input()
            self.type_pending()
            try:
                running = self.guest.step(STEP_NS)
            finally:
                self.show_output()  # of a guest that crashes, its last words
            if self.is_over():
                break

    def take_input(self) -> None:
        if not self.input_open or self.pending:
            return
        # A waiting guest is no reason to spin: wait for a key with it.
        wait = IDLE_WAIT_S if self.interactive and self.guest.idle else 0.0
        if not select.select([self.input_fd], [], [], wait)[0]:
            return
        data = os.read(self.input_fd, 4096)
        if not data:
            self.input_open = False
            self.spoke_ns = self.guest.virtual_ns
        elif self.interactive:
            self.pending = self.escapes.feed(data)
            if self.escapes.wants_help:
                self.escapes.wants_help = False
                self.emit(HELP)
        else:
            self.pending = data.replace(b"\n", b"\r")

    def type_pending(self) -> None:
        if self.pending and self.listening():
            self.pending = self.pending[self.guest.write(self.pending) :]
            self.spoke_ns = self.guest.virtual_ns

    def listening(self) -> bool:
        """Whether piped input can be typed without being lost to a guest that still boots."""
        if not self.awaited:
            return True
        if self.awaited in self.seen and self.silent_for(SETTLE_NS):
            self.awaited = self.seen = b""
            return True
        if self.silent_for(GIVE_UP_NS):
            raise UserError(
                "the guest has said nothing for a minute of virtual time, and was not ready yet",
                "see its last lines above; boot it interactively to look further",
                ExitCode.GUEST_FAILED,
            )
        return False

    def silent_for(self, nanoseconds: int) -> bool:
        return self.guest.virtual_ns - self.spoke_ns >= nanoseconds

    def show_output(self) -> None:
        data = self.guest.read()
        if not data:
            return
        self.spoke_ns = self.guest.virtual_ns
        if self.awaited:
            self.seen = (self.seen + data)[-65536:]
        self.emit(data)

    def emit(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.output_fd, data) :]

    def is_over(self) -> bool:
        """Piped input has been typed to its end, and the guest waits in silence."""
        if self.input_open or self.pending or self.interactive or not self.listening():
            return False
        return self.guest.idle and self.silent_for(QUIET_NS)


def run_console(console: Guest, ready: bytes) -> int | None:
    """The guest's exit status; None when it was left running. `ready` is what it prints once it
    listens to piped input; empty: it always does."""
    sys.stdout.flush()
    session = Session(console, sys.stdin.fileno(), sys.stdout.fileno(), ready)
    if session.interactive:
        print("[Ctrl-A x leaves]", file=sys.stderr)
        with raw_terminal(sys.stdin.fileno()):
            session.run()
        print(file=sys.stderr)
    else:
        session.run()
    return console.exit_status
