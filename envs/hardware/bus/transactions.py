"""Questions and their answers on a servo bus, one exchange at a time and each bounded in time."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from envs.hardware.bus.packets import OVERHEAD, Instruction, Packet, PacketParser, check_ids, pack
from envs.hardware.bus.serial_line import SerialLine
from envs.hardware.errors import NoAnswerError

LONGEST_RETURN_DELAY = 254 * 2e-6
"""Highest Return_Delay_Time, in units of 2 µs, that a servo waits before it answers [s]."""
_BITS_PER_BYTE = 10  # 8N1: start bit, eight bits, stop bit


@dataclass
class BusCounters:
    """What has happened on a bus since it was made.

    Attributes:
        transactions: Questions and commands, their repetitions not counted.
        retries: Repetitions of a question.
        lost_packets: Answers that did not come in time.
        bad_packets: Answers with a wrong checksum, length or sender, or without an end.
        discarded_bytes: Received bytes that belonged to no answer, late answers included.
        echoes: Questions that came back, as from an adapter that hears itself.
    """

    transactions: int = 0
    retries: int = 0
    lost_packets: int = 0
    bad_packets: int = 0
    discarded_bytes: int = 0
    echoes: int = 0


class Transactions:
    """Exchanges packets over a serial line, one thread at a time.

    An answer is awaited as long as the bytes take on the wire, plus the servos' return delay, plus
    a margin for the adapter and the operating system. What does not come is asked for again. After
    an exchange that failed or was interrupted the line has to fall silent first (one margin, two at
    most): the protocol numbers nothing, so that a late answer looks just like the answer to the
    next question, and a command sent into it would be lost. So a transaction takes at most
    (retries + 1) × (wire time + return delays + 3 margins).

    Attributes:
        counters: What has happened so far.
    """

    def __init__(self, line: SerialLine, retries: int, margin: float):
        """Start to use a line.

        Args:
            line: The open port.
            retries: How often a question is repeated before its motor is given up.
            margin: How much later than the wire allows an answer may come [s].
        """
        self.counters = BusCounters()
        self._line = line
        self._retries = retries
        self._margin = margin
        self._lock = threading.Lock()
        self._answers_under_way = False

    def tell(self, command: bytes) -> None:
        """Send what nobody answers.

        Raises:
            PortLostError: If the port has gone away.
        """
        with self._lock:
            self.counters.transactions += 1
            self._settle()
            self._line.send(command)

    def ask(
        self,
        question: Callable[[Sequence[int]], bytes],
        servo_ids: Sequence[int],
        payload_length: int,
        what: str,
    ) -> dict[int, Packet]:
        """Ask until every servo has answered or the attempts are used up.

        Args:
            question: Makes the packet that asks these servos.
            servo_ids: Who has to answer.
            payload_length: Bytes of data in each answer.
            what: The question in words, for the error.

        Returns:
            The answers by id, in the order of ``servo_ids``.

        Raises:
            ValueError: If the ids are not those of one or more servos.
            NoAnswerError: If servos do not answer.
            PortLostError: If the port has gone away.
        """
        check_ids(servo_ids)
        missing = tuple(servo_ids)
        answers: dict[int, Packet] = {}
        with self._lock:
            self.counters.transactions += 1
            for attempt in range(self._retries + 1):
                self.counters.retries += attempt > 0
                packet = question(missing)
                window = self._window(len(packet), len(missing), payload_length + OVERHEAD)
                answers |= self._exchange(packet, missing, payload_length, window)
                missing = tuple(servo_id for servo_id in servo_ids if servo_id not in answers)
                if not missing:
                    return {servo_id: answers[servo_id] for servo_id in servo_ids}
        raise NoAnswerError(self._line.port, missing, what, self._retries + 1)

    def collect(self, question: bytes, servo_ids: Sequence[int], window: float) -> list[int]:
        """Ask once and return who of these servos answers without data within a time [s].

        Raises:
            PortLostError: If the port has gone away.
        """
        with self._lock:
            self.counters.transactions += 1
            lost = self.counters.lost_packets
            answers = self._exchange(question, servo_ids, 0, window)
            self.counters.lost_packets = lost  # who is not there has lost nothing
            return list(answers)

    def reopen(self) -> None:
        """Close the port and open it again.

        Raises:
            PortLostError: If it cannot be opened.
        """
        with self._lock:
            self._line.open()

    def close(self) -> None:
        """Close the port when the present transaction is over."""
        with self._lock:
            self._line.close()

    def _window(self, sent: int, answers: int, answer_size: int) -> float:
        """How long a question and its answers may take [s]; the sizes are in bytes."""
        wire = (sent + answers * answer_size) * _BITS_PER_BYTE / self._line.baudrate
        return wire + answers * LONGEST_RETURN_DELAY + self._margin

    def _exchange(
        self, question: bytes, servo_ids: Sequence[int], payload_length: int, window: float
    ) -> dict[int, Packet]:
        """Ask once and return the answers that come within the window [s], by id."""
        self._settle()
        self.counters.discarded_bytes += self._line.discard()
        self._answers_under_way = True
        self._line.send(question)
        deadline = time.monotonic() + window
        ear = _Ear(question, servo_ids, payload_length)
        late = False
        while not (ear.done or late):
            # Whoever was held up until after the deadline still reads what has come in time.
            late = time.monotonic() >= deadline
            ear.hear(self._line.receive(ear.outstanding_bytes))
        self._answers_under_way = len(ear.answers) < len(servo_ids)
        ear.count(self.counters)
        return ear.answers

    def _settle(self) -> None:
        """Let the answers to an unfinished exchange run out."""
        if not self._answers_under_way:
            return
        now = last_heard = start = time.monotonic()
        while now - last_heard < self._margin and now - start < 2 * self._margin:
            late = self._line.receive(256)
            now = time.monotonic()
            if late:
                self.counters.discarded_bytes += len(late)
                last_heard = now
        self._answers_under_way = False


class _Ear:
    """Picks the answers to one question out of what comes in.

    Attributes:
        answers: The answers so far, by id.
    """

    def __init__(self, question: bytes, servo_ids: Sequence[int], payload_length: int):
        self.answers: dict[int, Packet] = {}
        self._servo_ids = servo_ids
        self._answer_size = payload_length + OVERHEAD
        self._parser = PacketParser(payload_length)
        # The echo of a PING is, byte for byte, the answer of a servo with a voltage error.
        self._question = question if question[4] != Instruction.PING else b""
        self._start: bytes | None = b"" if self._question else None
        self._echoes = 0
        self._strangers = 0

    @property
    def done(self) -> bool:
        """Whether no further answer can come: servos answer in the order of the list."""
        return self._servo_ids[-1] in self.answers

    @property
    def outstanding_bytes(self) -> int:
        """How many bytes are still to come at least."""
        missing = len(self._servo_ids) - len(self.answers)
        return missing * self._answer_size - self._parser.pending_bytes

    def hear(self, chunk: bytes) -> None:
        """Take the next bytes."""
        for packet in self._parser.feed(self._without_echo(chunk)):
            if pack(packet.servo_id, packet.code, packet.payload) == self._question:
                self._echoes += 1  # it came behind other bytes
            elif packet.servo_id in self._servo_ids and packet.servo_id not in self.answers:
                self.answers[packet.servo_id] = packet
            else:
                self._strangers += 1

    def count(self, counters: BusCounters) -> None:
        """Add what was heard, and what was not, to the counters."""
        bad = self._parser.bad_packets + self._strangers + (self._parser.pending_bytes > 0)
        missing = len(self._servo_ids) - len(self.answers)
        counters.bad_packets += bad
        counters.lost_packets += max(0, missing - bad)
        counters.discarded_bytes += self._parser.discarded_bytes + self._parser.pending_bytes
        counters.echoes += self._echoes

    def _without_echo(self, chunk: bytes) -> bytes:
        """Drop the question itself where the stream begins with it."""
        if self._start is None:
            return chunk
        start = self._start + chunk
        if start.startswith(self._question):
            self._start = None
            self._echoes += 1
            return start[len(self._question) :]
        if self._question.startswith(start):
            self._start = start  # the rest of the echo, or of something else, is on its way
            return b""
        self._start = None
        return start
