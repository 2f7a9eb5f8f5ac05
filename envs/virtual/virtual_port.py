"""Virtual servos behind a pseudo-terminal, so that any program finds them at a serial port."""

import contextlib
import heapq
import logging
import os
import queue
import select
import threading
import time
import tty
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from envs.closing import Closing
from envs.hardware.bus.packets import BROADCAST_ID, OVERHEAD, PacketParser
from envs.virtual.line_faults import FaultRates, FaultyLine
from envs.virtual.virtual_chain import VirtualChain
from envs.virtual.virtual_folder import PortFolder

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

# The servos move on that often while nobody speaks to them.
_IDLE_SECONDS = 0.01
_PATIENCE = 5.0
_BITS_PER_BYTE = 10


class VirtualPort(Closing):
    """Serves a chain of virtual servos at a path, until it is closed.

    The servos live in a thread of their own, and time passes for them also while the port is
    unplugged: as real ones they hold on to their last goals. Everything that touches them from
    outside goes through ``call``.

    Attributes:
        path: The serial port to open; it stays the same when the cable is plugged in again.
        chain: The servos.
    """

    def __init__(self, chain: VirtualChain, baudrate: int | None = None):
        """Open the port and start to serve.

        Args:
            chain: The servos.
            baudrate: Answers take as long as they would at this rate; None sends them at once.
        """
        self.chain = chain
        self._byte_time = _BITS_PER_BYTE / baudrate if baudrate else 0.0
        self._line = FaultyLine(FaultRates())
        self._folder = PortFolder()
        self.path = str(self._folder.path / "port")
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._wake_reader, self._wake_writer = os.pipe()
        self._host: int | None = None  # our end of the pseudo-terminal
        self._device: int | None = None  # the other end, held open so that hosts may come and go
        self._parser = PacketParser(highest_id=BROADCAST_ID)
        self._outbox: list[tuple[float, int, bytes]] = []
        self._sent = 0
        self._closing = False
        self._failure: Exception | None = None
        self._connect()
        self._thread = threading.Thread(target=self._run, name="virtual servos", daemon=True)
        self._thread.start()

    def call(self, action: Callable[[], Result]) -> Result:
        """Run a function between two packets, in the servos' thread, and return its result.

        Raises:
            RuntimeError: If the port is closed, or the servos' thread has failed in their plant.
        """
        if self._failure is not None:
            raise RuntimeError(f"the servos behind {self.path} failed") from self._failure
        if self._closing:
            raise RuntimeError(f"the virtual port {self.path} is closed")
        done: Future[Result] = Future()
        self._jobs.put((action, done))
        os.write(self._wake_writer, b"!")
        return done.result(timeout=_PATIENCE)

    def disturb(self, rates: FaultRates, seed: int = 0) -> None:
        """Make the cable bad, or good again with ``FaultRates()``."""

        def replace() -> None:
            self._line = FaultyLine(rates, seed)

        self.call(replace)

    def faults(self) -> dict[str, int]:
        """Return how many answers there were since ``disturb`` ("all"), and with which faults."""
        return self.call(lambda: dict(self._line.counts))

    def unplug(self) -> None:
        """Pull the cable: the port is gone."""
        self.call(self._disconnect)

    def plug(self) -> None:
        """Plug the cable in again, at the same path."""
        self.call(self._connect)

    def close(self) -> None:
        """Switch everything off and remove the port; harmless the second time."""
        if self._closing:
            return
        self._closing = True
        os.write(self._wake_writer, b"!")
        self._thread.join(timeout=_PATIENCE)
        os.close(self._wake_writer)
        os.close(self._wake_reader)
        self._folder.remove()

    def _connect(self) -> None:
        """Make a pseudo-terminal and points the path to it."""
        if self._host is not None:
            return
        self._host, self._device = os.openpty()
        tty.setraw(self._device)
        os.set_blocking(self._host, False)
        Path(self.path).symlink_to(os.ttyname(self._device))

    def _disconnect(self) -> None:
        """Hang up and forget what is on its way."""
        Path(self.path).unlink(missing_ok=True)
        for end in (self._host, self._device):
            if end is not None:
                os.close(end)
        self._host = self._device = None
        self._outbox.clear()
        self._parser = PacketParser(highest_id=BROADCAST_ID)

    def _run(self) -> None:
        """Serve to the end; servos that fail take their port with them, so that a host notices."""
        try:
            self._serve()
        except Exception as error:
            logger.exception("the virtual servos behind %s failed", self.path)
            self._failure = error
        self._disconnect()

    def _serve(self) -> None:
        """Let time pass, carry instructions out and send answers when they are due."""
        while not self._closing:
            ends = [self._wake_reader] + ([] if self._host is None else [self._host])
            readable, _, _ = select.select(ends, [], [], self._pause())
            self.chain.advance(time.monotonic())
            if self._host in readable:
                self._listen(self._host)
            self._send_due()
            if self._wake_reader in readable:
                self._run_jobs()

    def _pause(self) -> float:
        """How long there is nothing to do [s]."""
        if not self._outbox:
            return _IDLE_SECONDS
        return max(0.0, min(_IDLE_SECONDS, self._outbox[0][0] - time.monotonic()))

    def _run_jobs(self) -> None:
        """Run what ``call`` asks for."""
        os.read(self._wake_reader, 4096)
        while not self._jobs.empty():
            action, done = self._jobs.get()
            try:
                done.set_result(action())
            except Exception as error:  # whatever it is belongs to the caller
                done.set_exception(error)

    def _listen(self, host: int | None) -> None:
        """Read instructions and put the answers in the outbox."""
        if host is None:
            return
        try:
            received = os.read(host, 4096)
        except OSError:
            return  # the other side has just hung up
        for instruction in self._parser.feed(received):
            if not self._line.gets_through():
                continue
            size = len(instruction.payload) + OVERHEAD
            due = time.monotonic() + size * self._byte_time
            for answer in self.chain.handle(instruction):
                due += answer.delay + len(answer.data) * self._byte_time
                late, data = self._line.pass_on(answer.data)
                self._sent += 1
                heapq.heappush(self._outbox, (due + late, self._sent, data))

    def _send_due(self) -> None:
        """Send what is due, in its order."""
        due = []
        while self._outbox and self._outbox[0][0] <= time.monotonic():
            due.append(heapq.heappop(self._outbox)[2])
        if due and self._host is not None:
            # A host that does not read loses bytes, as at any serial port.
            with contextlib.suppress(BlockingIOError):
                os.write(self._host, b"".join(due))
