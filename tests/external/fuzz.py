"""Connections that do what no robot does: broken bytes, absurd claims, valid messages astray."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from e2hil_rllib.external.protocol import PROTOCOL
from e2hil_rllib.external.protocol.codec import encode
from e2hil_rllib.external.protocol.framing import frame

TOKEN = "a-token-that-fuzzers-know-as-well"
STREAMS = ("fuzz-a", "fuzz-b", "fuzz-c")
MOST_MESSAGES = 20
"""In one connection."""

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**31, 2**62, 2**64 - 1, 0.5, float("nan"), float("inf")),
    *("", "a", "../../etc/passwd", "\x00", "ü" * 3000, b"", b"\xff" * 100, [], [[[]]], {}),
    *({"type": "HELLO"}, [0] * 500, np.zeros(3), np.float32(1.0), np.zeros((0, 5), np.uint8)),
)
ENDINGS = ("wait", "close", "reset", "stay")
"""The client waits until the server hangs up, does so itself, in TCP's rude way, or lingers."""


@dataclass(frozen=True)
class Visit:
    """What one connection does.

    Attributes:
        kind: Name of its kind of messages.
        knows_token: Whether it says a valid HELLO before them, which is one of them.
        messages: As they are sent.
        ending: One of `ENDINGS`.
    """

    kind: str
    knows_token: bool
    messages: list[bytes]
    ending: str


def hello(stream: str, **changes: Any) -> dict[str, Any]:
    """What a robot says first."""
    message = {"type": "HELLO", "protocol": PROTOCOL, "stream": stream, "first": 0, "token": TOKEN}
    return message | changes


def visits(rng: np.random.Generator) -> Iterator[Visit]:
    """Connections without end."""
    kinds = list(KINDS)
    while True:
        kind = kinds[int(rng.integers(len(kinds)))]
        knows_token = bool(rng.random() < 0.4)
        count = int(rng.integers(1, MOST_MESSAGES)) if knows_token else int(rng.integers(1, 4))
        messages = [KINDS[kind](rng) for _ in range(count)]
        if knows_token:
            messages.insert(0, frame(encode(hello(_one_of(rng, STREAMS)))))
        yield Visit(kind, knows_token, messages, _one_of(rng, ENDINGS))


def _one_of(rng: np.random.Generator, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _sane(rng: np.random.Generator) -> dict[str, Any]:
    """A message that a robot could say."""
    sequence, data = int(rng.integers(0, 50)), rng.bytes(int(rng.integers(1, 500)))
    report = {"paused": bool(rng.random() < 0.5), "stopped": False, "waiting": sequence}
    choices = (
        hello(_one_of(rng, STREAMS), token=_one_of(rng, (TOKEN, "not-the-token", ""))),
        {"type": "CHUNK", "sequence": sequence, "data": data},
        {"type": "REPORT", "version": int(rng.integers(0, 3)), **report},
    )
    return _one_of(rng, choices)


def _random_bytes(rng: np.random.Generator) -> bytes:
    return rng.bytes(int(rng.integers(1, 3000)))


def _random_body(rng: np.random.Generator) -> bytes:
    return frame(rng.bytes(int(rng.integers(0, 3000))))


def _changed_bytes(rng: np.random.Generator) -> bytes:
    """Behind the header, or in all of it."""
    data = bytearray(frame(encode(_sane(rng))))
    start = 8 if rng.random() < 0.8 else 0
    for _ in range(int(rng.integers(1, 9))):
        data[int(rng.integers(start, len(data)))] ^= int(rng.integers(1, 256))
    return bytes(data)


def _cut_or_stretched(rng: np.random.Generator) -> bytes:
    """With a header that fits, or the old one, so that the next message begins too late."""
    body = encode(_sane(rng))
    start, end = sorted(int(place) for place in rng.integers(0, len(body) + 1, 2))
    middle = b"" if rng.random() < 0.5 else body[start:end] + rng.bytes(int(rng.integers(1, 20)))
    damaged = body[:start] + middle + body[end:]
    return frame(damaged) if rng.random() < 0.7 else frame(body)[:8] + damaged


def _wrong_types(rng: np.random.Generator) -> bytes:
    message = _sane(rng)
    for name in list(message):
        fate = rng.random()
        odd = _one_of(rng, ODD_VALUES)
        if fate < 0.3:
            message[name] = odd
        elif fate < 0.4:
            del message[name]
    if rng.random() < 0.3:
        message[_one_of(rng, ("extra", "", "data", "type"))] = _one_of(rng, ODD_VALUES)
    return frame(encode(message if rng.random() < 0.9 else _one_of(rng, ODD_VALUES)))


def _absurd(rng: np.random.Generator) -> bytes:
    """Claims of lengths and depths that are not there, and some that are."""
    claims = [
        b"99999999",
        b"00065537" + rng.bytes(100),
        b"-0000001",
        frame(b"\x91" * 50_000),
        frame(b"\x81\xa1x" * 15_000 + b"\xc0"),
        frame(b"\xdd\xff\xff\xff\xff" * 100),
        frame(b"\xdf\x00\xff\xff\xff"),
        frame(b"\xc6\xff\xff\xff\xff"),
        frame(b"\x81\xa4type\xdb\x7f\xff\xff\xff"),
        frame(b"\xdc\xff\xff" + b"\xc0" * 65_535),
        frame(b"\x80" * 5000),
        frame(encode({"type": "x" * 60_000})),
        frame(_array_claim(rng)),
    ]
    return _one_of(rng, claims)


def _array_claim(rng: np.random.Generator) -> bytes:
    """An array whose shape is not that of its bytes."""
    shape = [int(size) for size in rng.integers(0, 2**31, int(rng.integers(0, 6)))]
    described = {"nd": True, "type": _one_of(rng, ("<f4", "|O", "<M8[s]", "x")), "kind": b""}
    described |= {"shape": shape, "data": b"1234"}
    # The keys of an array are bytes, which `encode` does not write.
    pairs = (b"\xc4" + bytes([len(key)]) + key.encode() + encode(v) for key, v in described.items())
    return b"\x81\xa4data" + bytes([0x80 + len(described)]) + b"".join(pairs)


def _astray(rng: np.random.Generator) -> bytes:
    """Valid, but not what a robot says now."""
    choices = (
        _sane(rng),
        {"type": "ACK", "sequence": 0},
        {"type": "WELCOME"},
        {"type": "EPISODES", "episodes": []},
        {"type": "GET_CONFIG"},
    )
    return frame(encode(_one_of(rng, choices)))


def _half(rng: np.random.Generator) -> bytes:
    data = frame(encode(_sane(rng)))
    return data[: int(rng.integers(1, len(data)))]


def _like_tls(rng: np.random.Generator) -> bytes:
    length = int(rng.integers(1, 500))
    return b"\x16\x03\x01" + struct.pack(">H", length) + b"\x01" + rng.bytes(length)


KINDS: dict[str, Callable[[np.random.Generator], bytes]] = {
    "random bytes": _random_bytes,
    "random body": _random_body,
    "changed bytes": _changed_bytes,
    "cut or stretched": _cut_or_stretched,
    "wrong types": _wrong_types,
    "absurd claims": _absurd,
    "valid, out of order": _astray,
    "half a message": _half,
    "like TLS": _like_tls,
}
"""Makes one message of each kind."""
