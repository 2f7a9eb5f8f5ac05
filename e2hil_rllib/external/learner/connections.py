"""Which connections a server has: clients that have said something valid, and strangers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass

from e2hil_rllib.external.learner.strangers import Strangers


@dataclass
class _Connection:
    socket: socket.socket
    began: float
    known: bool = False
    sent_away: str = ""


class Connections:
    """Keeps the connections by the thread that serves each; any thread may call any method.

    Strangers do not take the places of clients: they have places of their own, and if those are
    full, the oldest one loses its place to the next that comes.

    Args:
        most_clients: How many clients there may be at once.
        strangers: What the others may do.
    """

    def __init__(self, most_clients: int, strangers: Strangers) -> None:
        self._most_clients, self._strangers = most_clients, strangers
        self._changed = threading.Condition()
        self._all: dict[threading.Thread, _Connection] = {}

    def __len__(self) -> int:
        with self._changed:
            return len(self._all)

    @property
    def is_full(self) -> bool:
        """Whether there is no place for another client."""
        with self._changed:
            return self._clients() >= self._most_clients

    def make_room(self, seconds: float) -> bool:
        """Waits so long for a place for another stranger [s]; says whether there is one."""
        with self._changed:
            if not self._has_room():
                self._send_oldest_away()
                self._changed.wait(seconds)
            return self._has_room()

    def enter(self, thread: threading.Thread, connection: socket.socket) -> None:
        """A stranger comes, whom this thread is going to serve."""
        with self._changed:
            self._all[thread] = _Connection(connection, time.monotonic())

    def recognize(self, thread: threading.Thread) -> bool:
        """A stranger has said something valid; says whether there is a place for it as a client."""
        with self._changed:
            here = self._all[thread]
            if not here.known and self._clients() >= self._most_clients:
                return False
            here.known = True
            self._changed.notify_all()
            return True

    def leave(self, thread: threading.Thread) -> str:
        """A connection has ended; returns why if it was sent away, "" if not."""
        with self._changed:
            self._changed.notify_all()
            return self._all.pop(thread).sent_away

    def end(self, patience: float) -> None:
        """Ends all, and waits so long for each of their threads [s]."""
        with self._changed:
            everything = dict(self._all)
        for connection in everything.values():
            hang_up(connection.socket)
        for thread in everything:
            thread.join(patience)

    def _clients(self) -> int:
        return sum(it.known for it in self._all.values())

    def _has_room(self) -> bool:
        return len(self._all) - self._clients() < self._strangers.most

    def _send_oldest_away(self) -> None:
        strangers = [it for it in self._all.values() if not it.known]
        oldest = min(strangers, key=lambda it: it.began)
        age = time.monotonic() - oldest.began
        # One at a time: its place is free when its thread has ended.
        if age >= self._strangers.grace and not any(it.sent_away for it in strangers):
            oldest.sent_away = f"sent away for others: nothing valid in {age:.1f} s"
            hang_up(oldest.socket)


def hang_up(connection: socket.socket) -> None:
    """Ends a connection that another thread reads from or writes to."""
    with contextlib.suppress(OSError):
        # Not `SSLSocket.shutdown`: what the other thread writes after it goes out in clear text.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
