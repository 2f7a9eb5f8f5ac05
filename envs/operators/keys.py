"""Keys that the person at the arm presses in a terminal, also over SSH and without X."""

import atexit
import logging
import os
import re
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Mapping
from enum import StrEnum
from types import FrameType
from typing import TextIO

logger = logging.getLogger(__name__)


class KeyEvent(StrEnum):
    """Event that a person reports with a key."""

    TAKE_OVER = "take over"
    GIVE_BACK = "give back"
    SUCCESS = "success"
    FAILURE = "failure"
    RERECORD = "re-record"
    PAUSE = "pause"
    STOP = "stop"


KEYS: Mapping[str, KeyEvent] = {
    " ": KeyEvent.TAKE_OVER,
    "b": KeyEvent.GIVE_BACK,
    "s": KeyEvent.SUCCESS,
    "f": KeyEvent.FAILURE,
    "r": KeyEvent.RERECORD,
    "p": KeyEvent.PAUSE,
    "q": KeyEvent.STOP,
}
"""Event of each key, in either case. Taking over has the largest key, since it is urgent."""

# Arrow and function keys send several characters, the last of which may be one of ours.
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[ -~])")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?$")
_LONGEST_REST = 256  # characters
_FATAL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def help_line() -> str:
    """Return one line with the keys and their events."""
    return "  ".join(f"[{'space' if key == ' ' else key}] {event}" for key, event in KEYS.items())


class Keys:
    """Reader of keys that does not wait for them, and needs no Enter key in a terminal.

    The terminal gets its settings back however reading ends: by ``close``, the end of a ``with``
    block, an exception, the end of the program, or a signal. Where the standard input is no
    terminal, lines are read from it: a key or the name of an event in each.

    While the program runs in the background of its shell, no keys are read.

    Args:
        stream: Stream to read from; None for the standard input.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._input = _descriptor(sys.stdin if stream is None else stream)
        self._settings: list | None = None
        self._handlers: list[signal.Signals] = []
        self._rest = ""
        if self._input is None:
            logger.warning("there is no standard input: no keys can be read")
        elif os.isatty(self._input):
            self._settings = termios.tcgetattr(self._input)
            self._catch_signals()
            atexit.register(self.close)
            self._prepare(self._input)
        else:
            names = ", ".join(KeyEvent)
            logger.warning("the standard input is no terminal: reading lines of %s", names)

    def __enter__(self) -> "Keys":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def source(self) -> str:
        """Source of keys: "terminal", "lines", or "none" where there is no input (any more)."""
        if self._input is None:
            return "none"
        return "lines" if self._settings is None else "terminal"

    def poll(self) -> list[KeyEvent]:
        """Return the events since the last call, oldest first, without waiting."""
        if self._input is None:
            return []
        try:
            if self._settings is not None:
                if not _in_foreground(self._input):
                    return []  # reading would stop the program
                self._prepare(self._input)
            if not select.select([self._input], [], [], 0.0)[0]:
                return []
            data = os.read(self._input, 4096)
        except (OSError, termios.error):  # the terminal is gone, as with a broken SSH connection
            data = b""
        if not data:
            logger.warning("the %s that keys were read from ended: no more keys", self.source)
            self.close()
            return []
        text = self._rest + data.decode(errors="ignore")
        return self._of_lines(text) if self._settings is None else self._of_keys(text)

    def close(self) -> None:
        """Restore the terminal's settings; no keys are read from then on."""
        self._restore()
        for number in self._handlers:
            signal.signal(number, signal.SIG_DFL)
        self._handlers = []
        atexit.unregister(self.close)
        self._input = None

    def _of_keys(self, text: str) -> list[KeyEvent]:
        text = _SEQUENCE.sub("", text)
        unfinished = _UNFINISHED.search(text)
        self._rest = "" if unfinished is None else unfinished.group()[-_LONGEST_REST:]
        return [KEYS[key] for key in text.lower() if key in KEYS]

    def _of_lines(self, text: str) -> list[KeyEvent]:
        *lines, rest = text.lower().split("\n")
        self._rest = rest[-_LONGEST_REST:]
        events = []
        for line in lines:
            name = line if line in KEYS else line.strip()
            if name in KEYS:
                events.append(KEYS[name])
            elif name in list(KeyEvent):
                events.append(KeyEvent(name))
            elif name:
                logger.warning("%r is neither a key nor an event: %s", name, help_line())
        return events

    def _prepare(self, terminal: int) -> None:
        """Switch the terminal to single keys without echo, again after the shell reset it."""
        if _in_foreground(terminal) and termios.tcgetattr(terminal)[3] & termios.ICANON:
            tty.setcbreak(terminal, termios.TCSANOW)

    def _restore(self) -> None:
        if self._input is None or self._settings is None or not _in_foreground(self._input):
            return  # in the background the terminal has the shell's settings
        try:
            termios.tcsetattr(self._input, termios.TCSADRAIN, self._settings)
        except termios.error as error:
            logger.debug("the terminal is gone, its settings stay: %s", error)

    def _catch_signals(self) -> None:
        """Catch the signals that would end the program without running any of its code.

        Signals with a handler end it by an exception, after which ``close`` is called.
        """
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may set handlers
        for number in _FATAL:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._end)
                self._handlers.append(number)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.close()
        os.kill(os.getpid(), number)


def _descriptor(stream: TextIO | None) -> int | None:
    """Return the file descriptor of a stream, None if it has none or is closed."""
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None


def _in_foreground(terminal: int) -> bool:
    """Return whether this program is in the foreground of the terminal."""
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return True  # not the controlling terminal: there is no shell to share it with
