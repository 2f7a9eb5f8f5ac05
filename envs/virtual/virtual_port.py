"""Virtual servos behind a pseudo-terminal, a serial port for any program."""

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

# Period at which the servos advance while the line is idle.
_IDLE_SECONDS = 0.01
_PATIENCE = 5.0
_BITS_PER_BYTE = 10


class VirtualPort(Closing):
    """Serial port of a chain of virtual servos, served until it is closed.

    The servos run in a thread of their own, also while the port is unplugged: like real ones they
    keep their last goals. All other access to them goes through ``call``.

    Attributes:
        path: Serial port to open; it stays the same when the cable is plugged in again.
        chain: Chain of the servos.
    """

    def __init__(self, chain: VirtualChain, baudrate: int | None = None):
        """Open the port and start to serve.

        Args:
            chain: Chain of the servos.
            baudrate: Rate that determines the duration of answers [bit/s]; None sends them at once.
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
        """Run a function in the servos' thread, between two packets, and return its result.

        Raises:
            RuntimeError: If the port is closed, or the servos' thread has failed.
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
        """Give the cable faults; ``FaultRates()`` ends them."""

        def replace() -> None:
            self._line = FaultyLine(rates, seed)

        self.call(replace)

    def faults(self) -> dict[str, int]:
        """Return the number of answers since ``disturb`` ("all"), and of each fault."""
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
        """Make a pseudo-terminal and point the path to it."""
        if self._host is not None:
            return
        self._host, self._device = os.openpty()
        tty.setraw(self._device)
        os.set_blocking(self._host, False)
        Path(self.path).symlink_to(os.ttyname(self._device))

    def _disconnect(self) -> None:
        """Hang up and drop what is on its way."""
        Path(self.path).unlink(missing_ok=True)
        for end in (self._host, self._device):
            if end is not None:
                os.close(end)
        self._host = self._device = None
        self._outbox.clear()
        self._parser = PacketParser(highest_id=BROADCAST_ID)

    def _run(self) -> None:
        """Serve until the end; failing servos close their port, so that a host notices."""
        try:
            self._serve()
        except Exception as error:
            logger.exception("the virtual servos behind %s failed", self.path)
            self._failure = error
        self._disconnect()

    def _serve(self) -> None:
        """Advance time, carry out instructions and send answers when they are due."""
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
        """Return the time until there is something to do [s]."""
        if not self._outbox:
            return _IDLE_SECONDS
        return max(0.0, min(_IDLE_SECONDS, self._outbox[0][0] - time.monotonic()))

    def _run_jobs(self) -> None:
        """Run the functions of pending ``call``s."""
        os.read(self._wake_reader, 4096)
        while not self._jobs.empty():
            action, done = self._jobs.get()
            try:
                done.set_result(action())
            except Exception as error:  # raised in the caller's thread
                done.set_exception(error)

    def _listen(self, host: int | None) -> None:
        """Read instructions and put the answers into the outbox."""
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
        """Send the answers that are due, in order."""
        due = []
        while self._outbox and self._outbox[0][0] <= time.monotonic():
            due.append(heapq.heappop(self._outbox)[2])
        if due and self._host is not None:
            # A host that does not read loses bytes, as at any serial port.
            with contextlib.suppress(BlockingIOError):
                os.write(self._host, b"".join(due))
