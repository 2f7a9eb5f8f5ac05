"""A network between a robot and its learner that can be made bad, and remembers what passed."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import defaultdict

from e2hil_rllib.external.protocol.chunk import Chunk
from e2hil_rllib.external.protocol.codec import decode
from e2hil_rllib.external.protocol.framing import FrameReader

LOOPBACK = "127.0.0.1"
_PIECE = 1 << 16

StepId = tuple[str, int, int]
"""Stream, the episode's number in it, and the step's number in the episode."""


class Relay:
    """Passes bytes on between a robot and a learner, both on loopback.

    Args:
        learner_port: Where the learner listens.
    """

    def __init__(self, learner_port: int) -> None:
        self._learner_port = learner_port
        self._server = socket.create_server((LOOPBACK, 0))
        self.port: int = self._server.getsockname()[1]
        #: Pass nothing on while this is set, as a network that is there but does not work.
        self.stalled = threading.Event()
        #: Step ids of every chunk that a robot has sent, and each chunk's size by its steps.
        self.sent: set[StepId] = set()
        self.sizes: dict[tuple[str, int], tuple[int, int]] = {}
        #: The last chunk.
        self.newest = b""
        self.connections = 0
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Breaks every connection, wherever a message is."""
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends it."""
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                robot, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(robot,), daemon=True).start()

    def _serve(self, robot: socket.socket) -> None:
        try:
            learner = socket.create_connection((LOOPBACK, self._learner_port))
        except OSError:
            robot.close()
            return
        with robot, learner:
            self.connections += 1
            self._sockets |= {robot, learner}
            back = threading.Thread(target=self._pass_on, args=(learner, robot), daemon=True)
            back.start()
            self._pass_on(robot, learner, FrameReader())
            back.join()
            self._sockets -= {robot, learner}

    def _pass_on(
        self, source: socket.socket, sink: socket.socket, reader: FrameReader | None = None
    ) -> None:
        stream = ""
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                while self.stalled.is_set():
                    time.sleep(0.02)
                for body in reader.feed(piece) if reader else ():
                    message = decode(body)
                    stream = message.get("stream", stream)
                    if message["type"] == "CHUNK":
                        self._note(stream, message["sequence"], message["data"])
                sink.sendall(piece)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _note(self, stream: str, sequence: int, data: bytes) -> None:
        chunk = Chunk.from_bytes(data)
        steps = range(chunk.first_step, chunk.first_step + chunk.num_steps)
        self.sent |= {(stream, chunk.episode, step) for step in steps}
        self.sizes[stream, sequence] = (len(data), chunk.num_steps)
        self.newest = data


def ids_by_episode(ids: set[StepId]) -> dict[tuple[str, int], list[int]]:
    """Steps of each episode, in order."""
    found: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for stream, episode, step in sorted(ids):
        found[stream, episode].append(step)
    return dict(found)
