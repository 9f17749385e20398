"""Output that shows what files say as plain text, and that never stops what it reports on."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text


def open_console(stderr: bool = False) -> Console:
    """Return a console on one of the standard streams that shows text from anywhere and survives the stream's end."""
    stream = sys.stderr if stderr else sys.stdout
    # A program without a window of its own may have no streams at all.
    return _PlainConsole(file=_Enduring(stream or io.StringIO()), stderr=stderr, highlight=False, soft_wrap=True)


class _PlainConsole(Console):
    """Shows strings as they are: no markup, no emoji codes, and control characters by their numbers.

    Names of runs, methods and families are read from files, which anybody may have written.
    """

    def __init__(self, **options: Any):
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a string as text to be shown."""
        return super().render_str(printable(text), **{**options, "markup": False, "emoji": False})


def printable(text: str) -> str:
    r"""Return text with every control character but line breaks replaced by its number, like ``\x1b``.

    Also those that turn the direction of what follows, with which one name can look like another.
    """
    return "".join(x if x in "\n\t" or not _controls(x) else ascii(x)[1:-1] for x in text)


def _controls(character: str) -> bool:
    code = ord(character)
    return code < 32 or 127 <= code < 160 or code in _DIRECTIONS


_DIRECTIONS = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}


class _Enduring:
    """A stream that takes what it cannot write: characters outside its encoding, and anything once it is closed.

    A run that is watched through ``| head`` or a connection that breaks goes on without its watcher.
    """

    def __init__(self, stream: TextIO):
        self._stream, self._gone = stream, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, as well as it can be done."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        shown = text.encode(encoding, "replace").decode(encoding)
        self._attempt(lambda: self._stream.write(shown))
        return len(text)

    def flush(self) -> None:
        """Write out what is held back."""
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[[], object]) -> None:
        if self._gone:
            return
        try:
            action()
        except (OSError, ValueError):
            # Closed, or what it was connected to is gone. What is still held back would fail again when Python ends.
            self._gone = True
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


@contextlib.contextmanager
def shown_on(console: Console):
    """Show what the library logs, each message as a line."""
    handler, logger = _ToConsole(console), logging.getLogger("tesp")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _ToConsole(logging.Handler):
    def __init__(self, console: Console):
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Show one message."""
        self._console.print(record.getMessage())
