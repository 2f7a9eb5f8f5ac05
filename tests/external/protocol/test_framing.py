"""Frames on a stream: the same bodies however it is split, and nothing held beyond the limit."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2hil_rllib.external.protocol.codec import MessageError
from e2hil_rllib.external.protocol.framing import HEADER_BYTES, MAX_BODY_BYTES, FrameReader, frame
from tests.peak_memory import peak_memory

BODIES = st.lists(st.binary(max_size=300), max_size=8)


def read(reader: FrameReader, stream: bytes, cuts: list[int]) -> tuple[list[bytes], str]:
    """The bodies of a stream that arrives in pieces, and the fault that ended it."""
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    bodies = []
    try:
        for start, end in pairwise(places):
            bodies.extend(body for body in reader.feed(stream[start:end]))
    except MessageError as error:
        return bodies, str(error)
    return bodies, ""


@given(BODIES, st.lists(st.integers(0), max_size=30))
def test_bodies_arrive_however_the_stream_is_split(bodies, cuts):
    reader = FrameReader()
    assert read(reader, b"".join(map(frame, bodies)), cuts) == (bodies, "")
    assert reader.pending_bytes == 0


@given(BODIES)
def test_bodies_arrive_byte_by_byte(bodies):
    stream = b"".join(map(frame, bodies))
    assert read(FrameReader(), stream, list(range(len(stream)))) == (bodies, "")


def test_a_frame_is_the_length_in_eight_digits_and_the_body():
    assert frame(b"") == b"00000000"
    assert frame(b"\x80" * 12) == b"00000012" + b"\x80" * 12


def test_a_body_that_eight_digits_cannot_say_is_not_framed():
    assert MAX_BODY_BYTES == 10**HEADER_BYTES - 1
    with pytest.raises(ValueError, match="100000000 bytes"):
        frame(bytes(MAX_BODY_BYTES + 1))


def test_an_unfinished_frame_is_pending_and_no_body():
    reader = FrameReader()
    stream = frame(b"abc")
    for length in range(len(stream)):
        reader = FrameReader()
        assert list(reader.feed(stream[:length])) == []
        assert reader.pending_bytes == length
    assert list(reader.feed(stream[-1:])) == [b"abc"]


def test_bodies_that_were_not_taken_are_given_with_the_next_piece():
    reader = FrameReader()
    reader.feed(frame(b"a") + frame(b"b"))
    assert list(reader.feed(frame(b"c"))) == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    "start",
    [b"GET / HT", b"G", b"0000001x", b"-0000001", b"+0000001", b" 0000001", b"0000_001", b"\x80",
     b"0x000001", "１".encode(), b"1.000000", b"0000000\n"],
)  # fmt: skip
@pytest.mark.parametrize("before", [[], [b"abc", b""]])
def test_a_header_of_anything_but_digits_is_refused_after_the_bodies_before_it(start, before):
    stream = b"".join(map(frame, before)) + start
    for cuts in ([], list(range(len(stream)))):
        bodies, fault = read(FrameReader(), stream, cuts)
        assert bodies == before
        assert "expected a length of eight digits" in fault


def test_the_limit_is_the_longest_body_that_passes():
    assert read(FrameReader(5), frame(b"12345"), []) == ([b"12345"], "")
    for cuts in ([], [HEADER_BYTES]):
        bodies, fault = read(FrameReader(5), frame(b"123456"), cuts)
        assert (bodies, fault) == ([], "a body of 6 bytes, at most 5 are taken")


def test_a_body_over_the_limit_is_refused_at_its_header():
    reader = FrameReader(1000)
    assert list(reader.feed(b"0000100")) == []
    with pytest.raises(MessageError, match="1001 bytes"):
        list(reader.feed(b"1"))
    assert reader.pending_bytes == 0


def test_a_stream_that_was_lost_stays_lost_and_holds_nothing():
    reader = FrameReader()
    with pytest.raises(MessageError):
        list(reader.feed(b"no length"))
    for piece in (frame(b"abc"), bytes(1000)):
        with pytest.raises(MessageError, match="no lengt"):
            reader.feed(piece)
        assert reader.pending_bytes == 0


@pytest.mark.parametrize("limit", [0, -1, MAX_BODY_BYTES + 1])
def test_a_limit_beyond_a_header_is_refused(limit):
    with pytest.raises(ValueError, match="max_body_bytes"):
        FrameReader(limit)


def test_a_claimed_length_reserves_no_memory():
    def claim():
        assert list(FrameReader().feed(b"99999999" + bytes(1000))) == []

    assert peak_memory(claim) < 10_000


def test_a_long_stream_holds_one_frame_at_a_time():
    stream = frame(bytes(1000)) * 1000

    def read_all():
        reader, count = FrameReader(1000), 0
        for start in range(0, len(stream), 700):
            count += sum(1 for _ in reader.feed(stream[start : start + 700]))
            assert reader.pending_bytes < HEADER_BYTES + 1000
        assert count == 1000

    assert peak_memory(read_all) < 20_000


def test_10_000_fuzzed_streams_are_read_or_refused_within_bounds():
    rng = random.Random(3)
    lost = 0
    for _ in range(10_000):
        stream = bytearray(b"".join(frame(rng.randbytes(rng.randrange(20))) for _ in range(4)))
        for _ in range(rng.randrange(3)):
            stream[rng.randrange(len(stream))] = rng.randrange(256)
        stream = stream[: rng.randrange(len(stream) + 1)]
        cuts = [rng.randrange(100) for _ in range(rng.randrange(6))]
        reader = FrameReader(50)
        bodies, fault = read(reader, bytes(stream), cuts)
        whole, whole_fault = read(FrameReader(50), bytes(stream), [])
        assert (bodies, bool(fault)) == (whole, bool(whole_fault))
        assert reader.pending_bytes < HEADER_BYTES + 50
        lost += bool(fault)
    assert 1_000 < lost < 9_000
