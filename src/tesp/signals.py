"""Signals that end a program: held back while something is written that must be whole, and ending it cleanly."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: Signals that ask a program to end: Ctrl-C, a scheduler or `kill`, a terminal that is gone.
_ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Ended(KeyboardInterrupt):
    """A signal asked the program to end. Handled wherever Ctrl-C is.

    Attributes:
        number: The signal's.
    """

    def __init__(self, number: int):
        self.number = number
        super().__init__(signal.Signals(number).name)


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Turn signals that ask the program to end into `Ended`.

    A second one changes nothing, for the end is under way; a third ends the process at once. What is ignored stays
    ignored, as in the background or under ``nohup``. Only the main thread gets signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _ENDING}
    taken = [number for number, handler in before.items() if handler in (signal.SIG_DFL, signal.default_int_handler)]

    received = 0

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        if received == 1:
            raise Ended(number)
        if received > 2:
            os._exit(128 + number)

    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back signals that would end the program while something is written that must be whole."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = {number: handler for number in _ENDING if callable(handler := signal.getsignal(number))}
    pending: list[tuple[int, FrameType | None]] = []
    for number in held:
        signal.signal(number, lambda number, frame: pending.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    for number, frame in pending[:1]:
        held[number](number, frame)
