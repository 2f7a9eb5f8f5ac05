"""RLlink frames on a stream of bytes: the body's length as eight ASCII digits, then the body."""

from __future__ import annotations

from collections.abc import Iterator

from e2hil_rllib.external.protocol.codec import MessageError

HEADER_BYTES = 8
MAX_BODY_BYTES = 99_999_999  # the largest number of eight digits


def frame(body: bytes) -> bytes:
    """A body with the header in front, ready to be sent.

    Raises:
        ValueError: The body is longer than eight digits can say.
    """
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(
            f"A body of {len(body)} bytes does not fit into a frame, which holds at most "
            f"{MAX_BODY_BYTES}. Send it in parts."
        )
    return b"%08d%b" % (len(body), body)


class FrameReader:
    """Cuts a stream into bodies, however it was split on its way.

    It holds the unfinished frame and nothing else, so at most a header and `max_body_bytes`.
    """

    def __init__(self, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        """Starts at the beginning of a stream.

        Args:
            max_body_bytes: Longest body to accept, [bytes].

        Raises:
            ValueError: The limit is not within what a header can say.
        """
        if not 1 <= max_body_bytes <= MAX_BODY_BYTES:
            raise ValueError(f"max_body_bytes is {max_body_bytes}, expected 1 to {MAX_BODY_BYTES}")
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._fault = ""

    @property
    def pending_bytes(self) -> int:
        """How much of an unfinished frame is there; 0 between frames."""
        return len(self._buffer)

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Takes the next piece of the stream and gives the bodies that it completes.

        Args:
            piece: What arrived, of any length.

        Returns:
            The bodies. Run it to its end before the next piece: it is what empties the buffer. A
            fault is raised after the bodies before it were given.

        Raises:
            MessageError: A header is not eight digits, or its length is over the limit. The
                place of the next header is then unknown: every later call raises again, and
                nothing more is held.
        """
        self._refuse_if_lost()
        self._buffer += piece
        return self._bodies()

    def _bodies(self) -> Iterator[bytes]:
        while (end := self._frame_end()) <= len(self._buffer):
            with memoryview(self._buffer) as view:
                body = bytes(view[HEADER_BYTES:end])
            del self._buffer[:end]
            yield body

    def _frame_end(self) -> int:
        """Where the first frame ends; where its header ends as long as that is not complete."""
        header = bytes(self._buffer[:HEADER_BYTES])
        if header and not header.isdigit():
            self._fault = f"a frame that starts with {header!r}, expected a length of eight digits"
        elif len(header) == HEADER_BYTES and int(header) > self._max_body_bytes:
            self._fault = f"a body of {int(header)} bytes, at most {self._max_body_bytes} are taken"
        self._refuse_if_lost()
        return HEADER_BYTES + (int(header) if len(header) == HEADER_BYTES else 0)

    def _refuse_if_lost(self) -> None:
        if self._fault:
            self._buffer.clear()
            raise MessageError(self._fault)
