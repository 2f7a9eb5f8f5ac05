"""A chunk's way over the wire: unchanged, in few bytes, and safe from what else may come."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from e2hil_rllib.external.protocol.chunk import Chunk
from e2hil_rllib.external.protocol.codec import Limits, MessageError, decode, encode
from tests.helpers import assert_same_steps
from tests.peak_memory import peak_memory

MIB = 2**20


def make_chunk(steps: int = 4, seed: int = 0, **changes: Any) -> Chunk:
    rng = np.random.default_rng(seed)
    chunk = Chunk(
        stream="robot-1_A",
        sequence=12,
        episode=3,
        first_step=40,
        observations={
            "state": rng.normal(size=(steps + 1, 5)).astype(np.float32),
            "front": rng.integers(0, 256, (steps + 1, 6, 4, 3), dtype=np.uint8),
        },
        actions=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        rewards=rng.normal(size=steps).astype(np.float32),
        is_intervention=rng.random(steps) < 0.5,
        terminated=True,
        truncated=False,
        succeed=True,
        fps=10.0,
        task="envs:SO101TouchCube-v0",
    )
    return dataclasses.replace(chunk, **changes)


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    steps = draw(st.integers(1, 5))
    finite = {"allow_nan": False, "allow_infinity": False}

    def array(dtype: Any, *shape: int) -> np.ndarray:
        is_float = np.dtype(dtype).kind == "f"
        return draw(hnp.arrays(dtype, shape, elements=finite if is_float else None))

    observations = {}
    for key in draw(st.lists(st.text(max_size=6), min_size=1, max_size=3, unique=True)):
        if draw(st.booleans()):
            sides = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
            observations[key] = array(np.uint8, steps + 1, *sides, 3)
        else:
            shape = draw(hnp.array_shapes(min_dims=0, max_dims=2, max_side=4))
            dtype = draw(st.sampled_from([np.float32, np.float64, np.uint8, np.int64, np.bool_]))
            observations[key] = array(dtype, steps + 1, *shape)
    index = st.integers(0, 2**63 - 1)
    terminated, truncated = draw(st.booleans()), draw(st.booleans())
    return Chunk(
        stream=draw(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)),
        sequence=draw(index),
        episode=draw(index),
        first_step=draw(index),
        observations=observations,
        actions=array(np.float32, steps, draw(st.integers(1, 4))),
        rewards=array(np.float32, steps),
        is_intervention=array(np.bool_, steps),
        terminated=terminated,
        truncated=truncated,
        succeed=(terminated or truncated) and draw(st.booleans()),
        fps=draw(st.floats(0.1, 200)),
        task=draw(st.text(max_size=20)),
    )


@settings(max_examples=100, deadline=None)
@given(chunk=chunks(), compress=st.booleans())
def test_a_chunk_survives_the_wire_unchanged(chunk: Chunk, compress: bool) -> None:
    assert_same_steps(Chunk.from_bytes(chunk.to_bytes(compress)), chunk)


@pytest.mark.parametrize("noise", [0.0, 6.0])
def test_images_take_few_bytes_and_are_the_same_to_the_last_bit(noise: float) -> None:
    rng = np.random.default_rng(0)
    rows = np.mgrid[:128, :128][0]
    images = np.stack([rows + t for t in range(11)])[..., None] + [0, 40, 80]
    images[:, 40:70, 30:60] = [200, 30, 30]
    images = np.clip(images + rng.normal(0, noise, images.shape), 0, 255).astype(np.uint8)
    chunk = make_chunk(10, observations={"front": images, "wrist": images[:, ::-1]})
    data = chunk.to_bytes()
    assert_same_steps(Chunk.from_bytes(data), chunk)
    assert len(data) < (75_000 if noise else 3_000) * 11 < len(chunk.to_bytes(compress=False))


def test_an_environments_own_numbers_arrive_as_pythons() -> None:
    odd = make_chunk(terminated=np.bool_(True), fps=10, episode=np.int64(3))
    assert_same_steps(Chunk.from_bytes(odd.to_bytes()), make_chunk())


def test_chunks_own_what_they_hold() -> None:
    chunk = Chunk.from_bytes(make_chunk().to_bytes())
    for array in (*chunk.observations.values(), chunk.actions, chunk.rewards):
        array.flat[0] = 1


_STATE = np.zeros((5, 5), np.float32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stream": ""}, "stream is ''"),
        ({"stream": "../a"}, "stream is '../a', expected 1 to 64 characters"),
        ({"stream": "a" * 65}, "stream is 'aaa"),
        ({"stream": "a\n"}, "stream is"),
        ({"sequence": -1}, "sequence is -1, expected an index from 0"),
        ({"episode": -1}, "episode is -1"),
        ({"first_step": 2**63}, "first_step is 9223372036854775808"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"actions": np.zeros((0, 2), np.float32)}, r"actions have shape \(0, 2\)"),
        ({"actions": np.zeros((4, 2))}, "actions are float64, expected float32"),
        ({"actions": np.full((4, 2), np.inf, np.float32)}, "actions hold a value that is not fin"),
        ({"rewards": np.zeros(3, np.float32)}, r"rewards have shape \(3,\), expected \(4,\)"),
        ({"rewards": np.full(4, np.nan, np.float32)}, "rewards hold a value that is not finite"),
        ({"is_intervention": np.zeros(4, np.uint8)}, "is_intervention are uint8, expected bool"),
        ({"observations": {}}, "there is no observation"),
        ({"observations": {"state": _STATE[:4]}}, "4 steps have 5 observations"),
        ({"observations": {"state": _STATE * np.nan}}, r"observations\['state'\] hold a value"),
        (
            {"observations": {"front": np.zeros((5, 6, 4, 3), np.float32)}},
            r"observations\['front'\] are float32 images, expected uint8",
        ),
        ({"terminated": False}, "succeed is True, but the episode goes on"),
    ],
)
def test_what_cannot_be_learned_from_is_neither_sent_nor_taken(
    changes: dict[str, Any], message: str
) -> None:
    chunk = make_chunk(**changes)
    with pytest.raises(ValueError, match=message) as error:
        chunk.to_bytes()
    assert not isinstance(error.value, MessageError)
    wire = decode(make_chunk().to_bytes()) | changes
    if changes.get("first_step", 0) < 2**63:
        with pytest.raises(MessageError, match=message):
            Chunk.from_bytes(encode(wire))


def test_a_chunk_that_no_learner_would_take_is_not_sent() -> None:
    huge = np.broadcast_to(np.zeros((), np.uint8), (2, 5000, 4000, 3))  # 120 MB, none of it there
    chunk = make_chunk(1, observations={"front": huge})
    with pytest.raises(ValueError, match=r"1 steps are 120000000 bytes.* fewer steps"):
        chunk.to_bytes()


def packed_images(**changes: Any) -> bytes:
    """A chunk whose packed images are changed as said."""
    wire = decode(make_chunk().to_bytes())
    wire["observations"]["front"] |= changes
    return encode(wire)


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zstd": [zstd(bytes(72))] * 4}, "4 packed images, expected 5"),
        ({"zstd": [zstd(bytes(71))] * 5}, "image 0 of 5 is damaged"),
        ({"zstd": [zstd(bytes(73))] * 5}, "image 0 of 5 is damaged"),
        ({"zstd": [zstd(bytes(72))] * 4 + [b""]}, "image 4 of 5 is damaged"),
        ({"zstd": [zstd(bytes(72))[:-1]] * 5}, "image 0 of 5 is damaged"),
        ({"zstd": [bytearray(3)] * 4 + ["text"]}, "expected a list of bytes"),
        ({"zstd": 5}, "expected a list of bytes"),
        ({"shape": [5, 6, 4]}, "expected .T . 1, height, width, 3. from 1"),
        ({"shape": [5, 0, 4, 3]}, "expected .T . 1, height, width, 3. from 1"),
        ({"shape": [5, -6, -4, 3]}, "expected .T . 1, height, width, 3. from 1"),
        ({"shape": [5, 6, 4, 4]}, "expected .T . 1, height, width, 3. from 1"),
        ({"shape": [5, True, 24, 3]}, "expected .T . 1, height, width, 3. from 1"),
        ({"more": 1}, "neither an array nor packed images"),
    ],
)
def test_packed_images_are_held_to_their_shape(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(MessageError, match=message):
        Chunk.from_bytes(packed_images(**changes))


@pytest.mark.parametrize("sides", [(2**31, 2**31), (1000, 2000), (6, 4)])
def test_a_bomb_takes_no_memory(sides: tuple[int, int]) -> None:
    bomb = packed_images(shape=[5, *sides, 3], zstd=[zstd(bytes(64 * MIB))] * 5)

    def refuse() -> None:
        with pytest.raises(MessageError, match=r"at most 20000000 are taken|is damaged"):
            Chunk.from_bytes(bomb, Limits(max_bytes=20_000_000))

    assert peak_memory(refuse) < MIB


def test_the_limit_holds_for_all_observations_together() -> None:
    images = {key: np.zeros((5, 20, 10, 3), np.uint8) for key in "ab"}
    data = make_chunk(observations=images | {"state": np.zeros(5, np.float32)}).to_bytes()
    Chunk.from_bytes(data, Limits(max_bytes=6020))
    with pytest.raises(MessageError, match="6020 bytes, at most 6019 are taken"):
        Chunk.from_bytes(data, Limits(max_bytes=6019))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        encode([]),
        encode(decode(make_chunk().to_bytes()) | {"version": 2}),
        encode(decode(make_chunk().to_bytes()) | {"version": np.zeros(3)}),
        encode(decode(make_chunk().to_bytes()) | {"sequence": True}),
        encode(decode(make_chunk().to_bytes()) | {"fps": 10}),
        encode(decode(make_chunk().to_bytes()) | {"terminated": 1}),
        encode(decode(make_chunk().to_bytes()) | {"rewards": np.float32(1)}),
        encode(decode(make_chunk().to_bytes()) | {"observations": {"state": 3}}),
        encode(decode(make_chunk().to_bytes()) | {"observations": {b"state": np.zeros(5)}}),
        encode(decode(make_chunk().to_bytes()) | {"more": 3}),
    ],
)
def test_another_message_is_malformed(body: bytes) -> None:
    with pytest.raises(MessageError):
        Chunk.from_bytes(body)


def _damaged(rng: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(len(damaged))
        match rng.randrange(5):
            case 0:
                damaged[at] ^= 1 << rng.randrange(8)
            case 1:
                damaged[at] = rng.randrange(256)
            case 2:
                damaged[at:] = b"" if rng.random() < 0.3 else damaged[at : at + 40]
            case 3:
                damaged[at:at] = rng.randbytes(rng.randrange(1, 9))
            case _:
                source = rng.randrange(len(damaged))
                damaged[at : at + 16] = damaged[source : source + 16]
        damaged = damaged or bytearray(1)
    return bytes(damaged)


def _replaced(rng: random.Random, data: bytes) -> bytes:
    """A body whose structure is as it should be, and one of whose values is not."""
    values = [
        None, True, -1, 2**63, 1e308, float("nan"), "", "x" * 70, b"", b"\x28\xb5\x2f\xfd", [], {},
        [1], {"a": 1}, np.zeros(0), np.zeros((5, 2, 2, 3), np.uint8), np.float32(1), np.zeros(()),
        np.full((5, 1), np.nan), [5, 2, 2, 3], [2**62, 2**62, 2**62, 3],
    ]  # fmt: skip
    wire = decode(data)
    where = rng.choice([wire, wire, wire["observations"], wire["observations"]["front"]])
    where[rng.choice([*where, "extra"])] = rng.choice(values)
    return encode(wire)


def test_whatever_comes_is_a_chunk_or_malformed() -> None:
    rng = random.Random(0)
    bodies = [make_chunk(1 + seed % 3, seed).to_bytes(seed % 4 != 0) for seed in range(8)]
    packed = [make_chunk(1, seed).to_bytes() for seed in range(2)]
    refused = 0
    for count in range(8000):
        if count % 10 == 0:
            body = rng.randbytes(rng.randrange(60))
        elif count % 3 == 0:
            body = _replaced(rng, rng.choice(packed))
        else:
            body = _damaged(rng, rng.choice(bodies))
        try:
            Chunk.from_bytes(body).check()
        except MessageError:
            refused += 1
    assert 4000 < refused < 8000  # a changed pixel or reward is still a chunk
