"""Sends the messages of `fuzz`, over many connections at once, from a process of its own."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from e2hil_rllib.external.protocol.secure import client_context
from tests.external.fuzz import Visit, visits

LOOPBACK = "127.0.0.1"
_PATIENCE = 3.0  # for a server that does not hang up [s]
_LINGER = 0.3  # of a connection that stays [s]


class Fuzzer:
    """So many connections at a time, until all messages are sent.

    Args:
        port: The server's.
        messages: How many to send in total.
        threads: Connections at a time.
        knowing: How many of these may know the token at a time; the rest are strangers.
        authority: With which to speak TLS in most connections; None for no TLS.
        seed: Of what is sent.
    """

    def __init__(
        self,
        port: int,
        messages: int,
        threads: int,
        knowing: int,
        authority: Path | None,
        seed: int,
    ) -> None:
        self._port, self._left = port, messages
        self._tls = client_context(authority) if authority else None
        self._knowing = threading.BoundedSemaphore(knowing)
        self._lock = threading.Lock()
        #: Messages that were sent, by their kind.
        self.sent: Counter[str] = Counter()
        #: Connections by how they came to their end.
        self.ends: Counter[str] = Counter()
        generators = np.random.default_rng(seed).spawn(threads)
        self._threads = [
            threading.Thread(target=self._run, args=(rng,), daemon=True) for rng in generators
        ]

    def run(self) -> None:
        """Sends all."""
        for thread in self._threads:
            thread.start()
        for thread in self._threads:
            thread.join()

    def _run(self, rng: np.random.Generator) -> None:
        for visit in visits(rng):
            with self._lock:
                if self._left <= 0:
                    return
                self._left -= len(visit.messages)
            with self._knowing if visit.knows_token else contextlib.nullcontext():
                end = self._make(visit, rng)
            with self._lock:
                self.ends[end] += 1

    def _make(self, visit: Visit, rng: np.random.Generator) -> str:
        """Makes a visit; returns how it came to its end."""
        try:
            connection = self._connected(visit.knows_token or rng.random() < 0.7)
        except OSError as error:
            self._return(visit, 0)
            return f"could not connect: {type(error).__name__}"
        sent = 0
        try:
            with connection:
                for message in visit.messages:
                    self._send(connection, message, rng)
                    sent += 1
                return self._end(connection, visit.ending)
        except OSError:
            return "cut off by the server"
        finally:
            self._return(visit, sent)

    def _return(self, visit: Visit, sent: int) -> None:
        """What could not be sent is still to be sent, in another visit."""
        with self._lock:
            self.sent[visit.kind] += sent
            self._left += len(visit.messages) - sent

    def _connected(self, with_tls: bool) -> socket.socket:
        # One address has too few ports for so many connections in so short a time.
        source = f"127.0.0.{2 + threading.get_ident() % 200}"
        connection = socket.create_connection((LOOPBACK, self._port), _PATIENCE, (source, 0))
        if self._tls is not None and with_tls:
            return self._tls.wrap_socket(connection, server_hostname=LOOPBACK)
        return connection

    def _send(self, connection: socket.socket, message: bytes, rng: np.random.Generator) -> None:
        cut = int(rng.integers(0, len(message) + 1)) if rng.random() < 0.3 else len(message)
        connection.sendall(message[:cut])
        if cut < len(message):
            time.sleep(0.001)
            connection.sendall(message[cut:])

    def _end(self, connection: socket.socket, ending: str) -> str:
        if ending == "reset":
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if ending in ("reset", "close"):
            return "hung up"
        connection.settimeout(_LINGER)
        end = time.monotonic() + (_PATIENCE if ending == "wait" else _LINGER)
        with contextlib.suppress(TimeoutError):
            while time.monotonic() < end:
                if not connection.recv(1 << 16):
                    return "cut off by the server"
        return "hung up after a while"


def fuzz(
    port: int,
    messages: int,
    threads: int,
    knowing: int,
    authority: Path | None,
    seed: int,
    report: Connection,
) -> None:
    """The process: reports that it begins; at the end, what was sent and how connections ended."""
    fuzzer = Fuzzer(port, messages, threads, knowing, authority, seed)
    report.send(None)
    fuzzer.run()
    report.send((fuzzer.sent, fuzzer.ends))
