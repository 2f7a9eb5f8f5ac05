"""Packets of the Feetech bus: instructions encoded, answers parsed from a stream of bytes.

An instruction is ``FF FF ID LEN INSTR parameters… CHK``, an answer (status packet) is
``FF FF ID LEN ERR data… CHK``; LEN counts the parameters plus two and CHK is the inverted 8-bit sum
of everything between the header and itself (Feetech's protocol manual of the SMS/STS servos).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

HEADER = b"\xff\xff"
BROADCAST_ID = 0xFE
HIGHEST_ID = 0xFC
OVERHEAD = 6
"""Bytes of a packet without parameters: header, id, length, instruction or error, checksum."""
LONGEST_PAYLOAD = 244
"""Parameters of the longest packet, 250 bytes, that the servos and the vendor's SDK accept."""

_PREFIX = 4  # header, id and length: needed before the size of a packet is known


class Instruction(IntEnum):
    """Instruction code of a packet."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83


@dataclass(frozen=True, slots=True)
class Packet:
    """Packet with a valid checksum.

    Attributes:
        servo_id: Id of the servo that answers or is asked.
        code: Error bits of an answer, instruction of a question.
        payload: Data of an answer, parameters of a question.
    """

    servo_id: int
    code: int
    payload: bytes


def checksum(body: bytes) -> int:
    """Return the inverted 8-bit sum of the bytes between the header and the checksum."""
    return ~sum(body) & 0xFF


def pack(servo_id: int, code: int, payload: bytes = b"") -> bytes:
    """Return the bytes of an instruction or an answer.

    Raises:
        ValueError: If the id is neither a servo's nor the broadcast id, or the payload is too long.
    """
    if not 0 <= servo_id <= HIGHEST_ID and servo_id != BROADCAST_ID:
        raise ValueError(
            f"motor id {servo_id} is out of range: expected 0 to {HIGHEST_ID}, "
            f"or {BROADCAST_ID} for all motors"
        )
    if len(payload) > LONGEST_PAYLOAD:
        raise ValueError(
            f"a packet carries at most {LONGEST_PAYLOAD} parameter bytes, not {len(payload)}: "
            "ask fewer motors or registers at once"
        )
    body = bytes((servo_id, len(payload) + 2, code)) + payload
    return HEADER + body + bytes((checksum(body),))


def ping(servo_id: int) -> bytes:
    """Encode PING: a servo, or all with the broadcast id, answers without data."""
    return pack(servo_id, Instruction.PING)


def read(servo_id: int, address: int, count: int) -> bytes:
    """Encode READ: ``count`` bytes of a servo, starting at an address."""
    return pack(servo_id, Instruction.READ, bytes((address, count)))


def write(servo_id: int, address: int, data: bytes) -> bytes:
    """Encode WRITE: bytes that take effect at once, starting at an address."""
    return pack(servo_id, Instruction.WRITE, bytes((address,)) + data)


def reg_write(servo_id: int, address: int, data: bytes) -> bytes:
    """Encode REG_WRITE: bytes that take effect with the next ACTION."""
    return pack(servo_id, Instruction.REG_WRITE, bytes((address,)) + data)


def action(servo_id: int = BROADCAST_ID) -> bytes:
    """Encode ACTION: what REG_WRITE has prepared takes effect."""
    return pack(servo_id, Instruction.ACTION)


def sync_read(address: int, count: int, servo_ids: Sequence[int]) -> bytes:
    """Encode SYNC_READ: the same ``count`` bytes of several servos, answered in list order."""
    check_ids(servo_ids)
    return pack(BROADCAST_ID, Instruction.SYNC_READ, bytes((address, count, *servo_ids)))


def sync_write(address: int, data: Mapping[int, bytes]) -> bytes:
    """Encode SYNC_WRITE: bytes for several servos, by id, at the same address; nobody answers.

    Raises:
        ValueError: If the servos get different numbers of bytes.
    """
    check_ids(list(data))
    sizes = {len(chunk) for chunk in data.values()}
    if len(sizes) != 1:
        raise ValueError(f"a sync write gives every motor as many bytes, not {sorted(sizes)}")
    parts = b"".join(bytes((servo_id,)) + chunk for servo_id, chunk in data.items())
    return pack(BROADCAST_ID, Instruction.SYNC_WRITE, bytes((address, sizes.pop())) + parts)


def check_ids(servo_ids: Sequence[int]) -> None:
    """Refuse an empty list, repeated ids and ids that no single servo can have.

    Raises:
        ValueError: If these are not one or more different servo ids.
    """
    if not servo_ids or len(set(servo_ids)) != len(servo_ids):
        raise ValueError(f"expected one or more different motor ids, not {list(servo_ids)}")
    wrong = [servo_id for servo_id in servo_ids if not 0 <= servo_id <= HIGHEST_ID]
    if wrong:
        raise ValueError(f"motor ids {wrong} are out of range: expected 0 to {HIGHEST_ID}")


class PacketParser:
    """Incremental parser of packets in a stream that comes in pieces and may hold garbage.

    A host knows how long the answer to its question is. With ``payload_length`` set, the parser
    accepts no other length, which makes it exact: a truncated answer, one that lost a byte and one
    with a single changed byte are never accepted. (With any length allowed, a changed LEN would
    pass once in 256 times.)

    It buffers at most one unfinished packet, 250 bytes.

    Attributes:
        discarded_bytes: Number of bytes so far that belonged to no valid packet.
        bad_packets: Number of headers so far with a wrong length or checksum.
    """

    def __init__(self, payload_length: int | None = None, highest_id: int = HIGHEST_ID):
        """Start with an empty buffer.

        Args:
            payload_length: Bytes of data in every packet; None accepts any length.
            highest_id: Highest id to accept; ``BROADCAST_ID`` to parse instructions.
        """
        self.discarded_bytes = 0
        self.bad_packets = 0
        self._payload_length = payload_length
        self._highest_id = highest_id
        self._buffer = b""

    @property
    def pending_bytes(self) -> int:
        """Number of buffered bytes of an unfinished packet."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> list[Packet]:
        """Take the next bytes and return the packets that they complete."""
        stream = self._buffer + chunk
        packets = []
        start = 0
        while True:
            header = stream.find(HEADER, start)
            if header < 0:
                # The last byte may be the first half of a header.
                end = len(stream) - (stream[-1:] == HEADER[:1] and start < len(stream))
                self.discarded_bytes += end - start
                start = end
                break
            self.discarded_bytes += header - start
            start = header
            if len(stream) < start + _PREFIX:
                break
            size = self._size(stream[start + 2], stream[start + 3])
            if size and len(stream) < start + size:
                break
            packet = self._packet(stream[start : start + size]) if size else None
            if packet is None:
                # Only the first byte is surely wrong: the next header may lie inside this packet.
                self.discarded_bytes += 1
                start += 1
                continue
            packets.append(packet)
            start += size
        self._buffer = stream[start:]
        return packets

    def _size(self, servo_id: int, length: int) -> int:
        """Return the bytes of a packet with this id and length, 0 if there is no such packet."""
        if servo_id > self._highest_id:
            return 0  # also FF FF FF: the header starts one byte later
        payload_length = length - 2
        allowed = (
            0 <= payload_length <= LONGEST_PAYLOAD
            if self._payload_length is None
            else payload_length == self._payload_length
        )
        if not allowed:
            self.bad_packets += 1
            return 0
        return payload_length + OVERHEAD

    def _packet(self, data: bytes) -> Packet | None:
        """Decode a packet; None if its checksum is wrong."""
        if checksum(data[2:-1]) != data[-1]:
            self.bad_packets += 1
            return None
        return Packet(servo_id=data[2], code=data[4], payload=data[5:-1])
