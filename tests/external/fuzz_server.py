"""The server that is fuzzed, in a process of its own, and what is to be known of it."""

from __future__ import annotations

import gc
import logging
import os
import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from e2hil_rllib.external.learner.bulletin import Bulletin
from e2hil_rllib.external.learner.inbox import Inbox
from e2hil_rllib.external.learner.listener import Listener
from e2hil_rllib.external.learner.robot_session import RobotSession
from e2hil_rllib.external.learner.roster import Roster
from e2hil_rllib.external.protocol.secure import server_context
from tests.external.certificates import Pair

#: What differs from one connection to the next in the reason for its end.
_PARTICULARS = re.compile(r"""b?'[^']*'?|b?"[^"]*"?|-?\d+(\.\d+)?|\{.*|\[(?!Errno).*""")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Figures:
    """How the server is doing.

    Attributes:
        resident: Its memory [MiB].
        clients: How many are connected.
        opened: Connections that began.
        reasons: Why connections ended, without particulars.
        turned_away: Connections that did not begin.
        defects: What was logged as a defect of the server, or by a thread that died.
    """

    resident: float = 0.0
    clients: int = 0
    opened: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    turned_away: int = 0
    defects: list[str] = field(default_factory=list)


class _Counting(logging.Handler):
    """Counts what the listener logs."""

    def __init__(self, figures: Figures) -> None:
        super().__init__()
        self._figures = figures

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.levelno >= logging.ERROR:
            fault = "" if record.exc_info is None else f": {record.exc_info[1]!r}"
            self._figures.defects.append(text + fault)
        elif text.endswith("has connected"):
            self._figures.opened += 1
        elif " is gone: " in text:
            reason = text.split(" is gone: ", 1)[1]
            self._figures.reasons[_PARTICULARS.sub("…", reason)[:70]] += 1
        elif record.levelno == logging.WARNING:
            self._figures.turned_away += 1


def serve(folder: Path, token: str, pair: Pair | None, pipe: Connection) -> None:
    """The process: tells its port, then figures whenever it is asked, until the pipe is closed."""
    figures = Figures()
    logging.getLogger().addHandler(_Counting(figures))
    logging.getLogger().setLevel(logging.INFO)
    threading.excepthook = lambda died: figures.defects.append(repr(died.exc_value))
    bulletin, roster = Bulletin({"spaces": {}, "trunk": ""}), Roster()
    bulletin.publish({"actor": np.zeros((100, 250), np.float32)})
    tls = None if pair is None else server_context(pair.certificate, pair.key)
    with Inbox(folder) as inbox:
        session = partial(RobotSession, inbox, bulletin, roster, token)
        listener = Listener("127.0.0.1", 0, session, tls=tls)
        pipe.send(listener.port)
        try:
            while pipe.recv():
                gc.collect()
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                figures.resident = pages * _PAGE / 2**20
                figures.clients = listener.clients
                listener.check()
                pipe.send(figures)
        finally:
            listener.close()
