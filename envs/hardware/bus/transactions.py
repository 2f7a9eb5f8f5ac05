"""Transactions on a servo bus: one question and its answers at a time, bounded in time."""

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
    """Counters of a bus since it was opened.

    Attributes:
        transactions: Questions and commands, without repetitions.
        retries: Repetitions of a question.
        lost_packets: Answers that did not arrive in time.
        bad_packets: Answers with a wrong checksum, length or sender, or cut short.
        discarded_bytes: Received bytes that belonged to no answer, late answers included.
        echoes: Questions that were received again, as from an adapter that hears itself.
    """

    transactions: int = 0
    retries: int = 0
    lost_packets: int = 0
    bad_packets: int = 0
    discarded_bytes: int = 0
    echoes: int = 0


class Transactions:
    """Exchange of packets over a serial line, one thread at a time.

    The timeout of an answer is the time of the bytes on the wire, plus the servos' return delay,
    plus a margin for the adapter and the operating system. Missing answers are asked for again.
    After an exchange that failed or was interrupted, the next one waits until the line is silent
    (one margin, two at most): packets carry no sequence number, so that a late answer looks just
    like the answer to the next question, and a command sent into it would be lost. A transaction
    takes at most (retries + 1) × (wire time + return delays + 3 margins).

    Attributes:
        counters: Counters since the bus was opened.
    """

    def __init__(self, line: SerialLine, retries: int, margin: float):
        """Use an open line.

        Args:
            line: Open port.
            retries: Number of repetitions of a question before its motor counts as missing.
            margin: Time by which an answer may be later than the wire time [s].
        """
        self.counters = BusCounters()
        self._line = line
        self._retries = retries
        self._margin = margin
        self._lock = threading.Lock()
        self._answers_under_way = False

    def tell(self, command: bytes) -> None:
        """Send a command that nobody answers.

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
            question: Function that makes the packet asking the given servos.
            servo_ids: Ids of the servos that have to answer.
            payload_length: Bytes of data in each answer.
            what: Question in words, for the error.

        Returns:
            The answers by id, in the order of ``servo_ids``.

        Raises:
            ValueError: If the ids are not one or more different servo ids.
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
        """Ask once and return those of these servos that answer, without data, within a time [s].

        Raises:
            PortLostError: If the port has gone away.
        """
        with self._lock:
            self.counters.transactions += 1
            lost = self.counters.lost_packets
            answers = self._exchange(question, servo_ids, 0, window)
            self.counters.lost_packets = lost  # an id without a servo is no lost packet
            return list(answers)

    def reopen(self) -> None:
        """Close the port and open it again.

        Raises:
            PortLostError: If it cannot be opened.
        """
        with self._lock:
            self._line.open()

    def close(self) -> None:
        """Close the port when the current transaction is over."""
        with self._lock:
            self._line.close()

    def _window(self, sent: int, answers: int, answer_size: int) -> float:
        """Return how long a question and its answers may take [s]; the sizes are in bytes."""
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
        collector = _AnswerCollector(question, servo_ids, payload_length)
        late = False
        while not (collector.done or late):
            # A thread that was held up past the deadline still reads what arrived in time.
            late = time.monotonic() >= deadline
            collector.feed(self._line.receive(collector.outstanding_bytes))
        self._answers_under_way = len(collector.answers) < len(servo_ids)
        collector.count(self.counters)
        return collector.answers

    def _settle(self) -> None:
        """Wait until no more answers to an unfinished exchange arrive."""
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


class _AnswerCollector:
    """Answers to one question, picked out of the received bytes.

    Attributes:
        answers: Answers so far, by id.
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
        """Least number of bytes that are still to come."""
        missing = len(self._servo_ids) - len(self.answers)
        return missing * self._answer_size - self._parser.pending_bytes

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""
        for packet in self._parser.feed(self._without_echo(chunk)):
            if pack(packet.servo_id, packet.code, packet.payload) == self._question:
                self._echoes += 1  # the echo came after other bytes
            elif packet.servo_id in self._servo_ids and packet.servo_id not in self.answers:
                self.answers[packet.servo_id] = packet
            else:
                self._strangers += 1

    def count(self, counters: BusCounters) -> None:
        """Add what was received, and what is missing, to the counters."""
        bad = self._parser.bad_packets + self._strangers + (self._parser.pending_bytes > 0)
        missing = len(self._servo_ids) - len(self.answers)
        counters.bad_packets += bad
        counters.lost_packets += max(0, missing - bad)
        counters.discarded_bytes += self._parser.discarded_bytes + self._parser.pending_bytes
        counters.echoes += self._echoes

    def _without_echo(self, chunk: bytes) -> bytes:
        """Drop the question itself if the stream begins with it."""
        if self._start is None:
            return chunk
        start = self._start + chunk
        if start.startswith(self._question):
            self._start = None
            self._echoes += 1
            return start[len(self._question) :]
        if self._question.startswith(start):
            self._start = start  # the rest of the echo, or of something else, is still to come
            return b""
        self._start = None
        return start
