"""Packets: bytes of the instructions, and a parser that neither fails nor invents an answer."""

from collections.abc import Callable
from typing import Any

import pytest
import scservo_sdk as sdk
from hypothesis import given
from hypothesis import strategies as st

from envs.hardware.bus import packets
from envs.hardware.bus.packets import BROADCAST_ID, HIGHEST_ID, Packet, PacketParser

servo_ids = st.integers(0, HIGHEST_ID)
payloads = st.binary(max_size=32) | st.lists(st.sampled_from([0xFF, 0, 1]), max_size=32).map(bytes)
answers = st.builds(Packet, servo_ids, st.integers(0, 0x7F), payloads)


def pack(packet: Packet) -> bytes:
    return packets.pack(packet.servo_id, packet.code, packet.payload)


class Tapped(sdk.PortHandler):
    """Port of the SDK that records what would have been sent."""

    def __init__(self) -> None:
        super().__init__("nowhere")
        self.sent = b""

    def clearPort(self) -> None:  # noqa: N802
        pass

    def writePort(self, packet: list[int]) -> int:  # noqa: N802
        self.sent = bytes(packet)
        return len(packet)

    def readPort(self, length: int) -> bytes:  # noqa: N802
        return b""

    def setPacketTimeout(self, packet_length: int) -> None:  # noqa: N802
        self.setPacketTimeoutMillis(-1)


def sdk_bytes(send: Callable[[Any, Tapped], object]) -> bytes:
    """Return the bytes that the vendor's SDK sends for a call."""
    port = Tapped()
    send(sdk.PacketHandler(0), port)
    return port.sent


def sdk_sync_read(address: int, count: int, ids: list[int]) -> bytes:
    def send(handler: Any, port: Tapped) -> None:
        group = sdk.GroupSyncRead(port, handler, address, count)
        for servo_id in ids:
            group.addParam(servo_id)
        group.txPacket()

    return sdk_bytes(send)


def sdk_sync_write(address: int, data: dict[int, bytes]) -> bytes:
    def send(handler: Any, port: Tapped) -> None:
        group = sdk.GroupSyncWrite(port, handler, address, len(next(iter(data.values()))))
        for servo_id, chunk in data.items():
            group.addParam(servo_id, list(chunk))
        group.txPacket()

    return sdk_bytes(send)


@given(servo_ids, st.integers(0, 255), st.integers(1, 32), st.binary(min_size=1, max_size=8))
def test_instructions_are_those_of_the_vendors_sdk(
    servo_id: int, address: int, count: int, data: bytes
) -> None:
    size, content = len(data), list(data)
    assert packets.ping(servo_id) == sdk_bytes(lambda h, p: h.ping(p, servo_id))
    assert packets.action(servo_id) == sdk_bytes(lambda h, p: h.action(p, servo_id))
    assert packets.action() == sdk_bytes(lambda h, p: h.action(p, BROADCAST_ID))
    assert packets.read(servo_id, address, count) == sdk_bytes(
        lambda h, p: h.readTx(p, servo_id, address, count)
    )
    assert packets.write(servo_id, address, data) == sdk_bytes(
        lambda h, p: h.writeTxOnly(p, servo_id, address, size, content)
    )
    assert packets.reg_write(servo_id, address, data) == sdk_bytes(
        lambda h, p: h.regWriteTxOnly(p, servo_id, address, size, content)
    )


@given(
    st.integers(0, 255),
    st.integers(1, 4),
    st.lists(servo_ids, min_size=1, max_size=12, unique=True),
    st.data(),
)
def test_sync_instructions_are_those_of_the_vendors_sdk(
    address: int, count: int, ids: list[int], data: st.DataObject
) -> None:
    chunks = {i: data.draw(st.binary(min_size=count, max_size=count)) for i in ids}
    assert packets.sync_read(address, count, ids) == sdk_sync_read(address, count, ids)
    assert packets.sync_write(address, chunks) == sdk_sync_write(address, chunks)


def test_six_servos_take_62_bytes_to_read_and_26_to_write() -> None:
    """62 bytes for reading six positions, 26 for writing six goals (facts of the SO101)."""
    question = packets.sync_read(56, 2, range(1, 7))
    answer = packets.pack(1, 0, b"\0\0")
    assert len(question) + 6 * len(answer) == 62
    assert len(packets.sync_write(42, dict.fromkeys(range(1, 7), b"\0\0"))) == 26


def test_invalid_instructions_are_refused() -> None:
    with pytest.raises(ValueError, match="motor id 253 is out of range: expected 0 to 252"):
        packets.read(253, 56, 2)
    with pytest.raises(ValueError, match=r"different motor ids, not \[1, 1\]"):
        packets.sync_read(56, 2, [1, 1])
    with pytest.raises(ValueError, match=r"motor ids \[254\] are out of range"):
        packets.sync_write(42, {BROADCAST_ID: b"\0\0"})
    with pytest.raises(ValueError, match=r"as many bytes, not \[1, 2\]"):
        packets.sync_write(42, {1: b"\0", 2: b"\0\0"})
    with pytest.raises(ValueError, match="at most 244 parameter bytes, not 251"):
        packets.sync_write(42, dict.fromkeys(range(83), b"\0\0"))


@given(st.lists(answers, max_size=6), st.data())
def test_packets_are_found_however_the_stream_is_cut(
    sent: list[Packet], data: st.DataObject
) -> None:
    stream = b"".join(map(pack, sent))
    parser = PacketParser()
    received = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        received += parser.feed(stream[:size])
        stream = stream[size:]
    assert received == sent
    assert parser.discarded_bytes == 0 and parser.bad_packets == 0


@given(st.binary(max_size=40), answers)
def test_a_packet_after_garbage_is_found_and_dropped_bytes_are_counted(
    garbage: bytes, answer: Packet
) -> None:
    parser = PacketParser(payload_length=len(answer.payload))
    found = parser.feed(garbage + pack(answer))
    # Garbage that ends like the start of a packet holds the answer back until the false one is
    # complete and its sum is seen to be wrong.
    found += parser.feed(pack(answer) * 2)
    assert answer in found
    used = sum(len(pack(packet)) for packet in found) + parser.pending_bytes
    assert used + parser.discarded_bytes == len(garbage) + 3 * len(pack(answer))


@given(answers, st.data())
def test_a_damaged_answer_is_never_accepted(answer: Packet, data: st.DataObject) -> None:
    whole = pack(answer)
    index = data.draw(st.integers(0, len(whole) - 1))
    changed = data.draw(st.integers(0, 255).filter(lambda value: value != whole[index]))
    damaged = {
        "truncated": whole[:index],
        "lost byte": whole[:index] + whole[index + 1 :],
        "changed byte": whole[:index] + bytes((changed,)) + whole[index + 1 :],
    }
    for kind, stream in damaged.items():
        assert PacketParser(payload_length=len(answer.payload)).feed(stream) == [], kind


@given(st.lists(st.binary(max_size=600), max_size=8), st.integers(0, 20) | st.none())
def test_random_streams_neither_fail_nor_fill_the_memory(
    chunks: list[bytes], payload_length: int | None
) -> None:
    parser = PacketParser(payload_length, highest_id=BROADCAST_ID)
    for chunk in chunks:
        for packet in parser.feed(chunk):
            assert pack(packet)
        assert parser.pending_bytes < packets.LONGEST_PAYLOAD + packets.OVERHEAD


def test_a_header_inside_the_data_does_not_split_an_answer() -> None:
    answer = Packet(3, 0, b"\xff\xff\x03\x02\x00\xfa")
    assert PacketParser().feed(pack(answer)) == [answer]


def test_a_surplus_first_byte_does_not_cost_the_answer() -> None:
    answer = Packet(1, 0, b"\x10\x08")
    parser = PacketParser(payload_length=2)
    assert parser.feed(b"\xff" + pack(answer)) == [answer]
    assert parser.discarded_bytes == 1
    assert parser.feed(b"\x00" + pack(answer)) == [answer]
    assert parser.discarded_bytes == 2


@pytest.mark.parametrize("servo_id", [0xFD, BROADCAST_ID, 0xFF])
def test_answers_with_an_impossible_id_are_ignored(servo_id: int) -> None:
    body = bytes((servo_id, 3, 0, 7))
    stream = packets.HEADER + body + bytes((packets.checksum(body),))
    assert PacketParser(payload_length=1).feed(stream) == []
    heard = PacketParser(payload_length=1, highest_id=BROADCAST_ID).feed(stream)
    assert len(heard) == (servo_id <= BROADCAST_ID)


def test_wrong_sums_and_lengths_are_counted() -> None:
    parser = PacketParser(payload_length=1)
    parser.feed(packets.pack(1, 0, b"\x10\x08"))  # two bytes where one was asked for
    parser.feed(b"\xff\xff\x01\x03\x00\x05\x00")
    assert parser.bad_packets == 2
