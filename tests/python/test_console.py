"""The interactive console, against a guest made of Python."""

import os
import pty
import threading
from typing import Callable

import pytest

from cupel.console import EscapeFilter, Session
from cupel.errors import UserError


class EchoGuest:
    """Boots for a while, says so, then answers each line; ends on "exit"."""

    def __init__(self, boot_steps: int = 5, fifo: int = 16, ready: bytes = b"READY\r\n") -> None:
        self.boot_steps = boot_steps
        self.fifo = fifo
        self.ready = ready
        self.out = b""
        self.line = b""
        self.virtual_ns = 0
        self.exit_status: int | None = None
        self.lost = b""
        self.steps = 0

    @property
    def idle(self) -> bool:
        return self.steps > self.boot_steps

    def step(self, nanoseconds: int) -> bool:
        self.virtual_ns += nanoseconds
        self.steps += 1
        if self.steps == self.boot_steps:
            self.out += self.ready
        return self.exit_status is None

    def read(self) -> bytes:
        data, self.out = self.out, b""
        return data

    def write(self, data: bytes) -> int:
        taken = data[: self.fifo]
        if self.steps < self.boot_steps:
            self.lost += taken
            return len(taken)
        for byte in taken:
            if self.exit_status is not None:
                break
            if byte == ord("\r"):
                self.out += b"got " + self.line + b"\r\n"
                if self.line == b"exit":
                    self.exit_status = 0
                self.line = b""
            else:
                self.line += bytes([byte])
        return len(taken)


def piped(guest: EchoGuest, typed: bytes, ready: bytes = b"READY") -> bytes:
    in_read, in_write = os.pipe()
    out_read, out_write = os.pipe()
    os.write(in_write, typed)
    os.close(in_write)
    try:
        Session(guest, in_read, out_write, ready).run()
    finally:
        os.close(in_read)
        os.close(out_write)
        with os.fdopen(out_read, "rb") as file:
            shown = file.read()
    return shown


def test_piped_input_is_typed_once_the_guest_listens_however_small_its_fifo() -> None:
    guest = EchoGuest()
    shown = piped(guest, b"echo a rather long line of text\nsecond\n")
    assert guest.lost == b""
    assert shown == b"READY\r\ngot echo a rather long line of text\r\ngot second\r\n"


def test_a_guest_that_ends_ends_the_session() -> None:
    guest = EchoGuest()
    assert piped(guest, b"exit\nnever\n").endswith(b"got exit\r\n")
    assert guest.exit_status == 0


def test_no_input_at_all_ends_when_the_guest_is_quiet() -> None:
    assert piped(EchoGuest(), b"") == b"READY\r\n"


def test_a_guest_that_never_becomes_ready_is_given_up() -> None:
    with pytest.raises(UserError, match="was not ready yet"):
        piped(EchoGuest(ready=b"panic"), b"x\n")


def test_the_escape_leaves_types_itself_or_helps() -> None:
    filter_ = EscapeFilter()
    assert filter_.feed(b"ab\x01") == b"ab"
    assert filter_.feed(b"\x01c") == b"\x01c"
    assert not filter_.leave
    assert filter_.feed(b"\x01?") == b"" and filter_.wants_help
    assert filter_.feed(b"d\x01xe") == b"d" and filter_.leave


def on_terminal(act: Callable[[int], None], guest: EchoGuest) -> None:
    main_fd, terminal_fd = pty.openpty()
    out_read, out_write = os.pipe()
    session = Session(guest, terminal_fd, out_write, b"READY")
    assert session.interactive
    worker = threading.Thread(target=session.run, daemon=True)
    worker.start()
    act(main_fd)
    worker.join(timeout=20)
    assert not worker.is_alive()
    for fd in (main_fd, terminal_fd, out_read, out_write):
        os.close(fd)


def test_a_terminal_is_left_by_its_escape() -> None:
    on_terminal(lambda fd: (os.write(fd, b"hello\n\x01x\n"), None)[1], EchoGuest(boot_steps=0))
