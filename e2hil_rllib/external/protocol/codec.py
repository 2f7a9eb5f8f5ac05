"""RLlink message bodies: msgpack, with arrays as `msgpack_numpy` writes them.

An array is a map with bytes as keys, `{nd: True, type: "<f4", kind: b"", shape: [2, 3],
data: ...}`; a numpy scalar is `{nd: False, type: "<f4", data: ...}`. The keys are bytes because
RLlink packs with `use_bin_type=True`; without it they would be text, which RLlib's own reader does
not recognise.

Encoding is msgpack's. Decoding is not, for three reasons. `msgpack_numpy` unpickles object arrays.
It also replaces the functions of `msgpack` in the whole process as soon as RLlib loads it, so that
a call of `msgpack.unpackb` could unpickle too. And msgpack allocates what the header of a list
claims: 0.2 MB of nested headers make it take 40 MB. Here nothing is ever unpickled, and a claim is
weighed against the bytes that are left, and against the limits, before anything is made of it.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, fields
from reprlib import repr as short
from typing import Any

import numpy as np

# Not `msgpack.Packer`: RLlib may have replaced it by one that pickles object arrays.
try:
    from msgpack._cmsgpack import Packer  # type: ignore[import-untyped]
except ImportError:  # where msgpack was installed without its compiled part
    from msgpack.fallback import Packer  # type: ignore[import-untyped]

# By the text that stands for them on the wire, so that numpy never parses a received type.
_DTYPES = {
    dtype.str: dtype
    for order in "<>"
    for name in ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
    for dtype in (np.dtype(order + name),)
}
_DTYPE_NAMES = ", ".join(sorted({dtype.name for dtype in _DTYPES.values()}))
_ARRAY_KEYS = {b"nd", b"type", b"kind", b"shape", b"data"}
_SCALAR_KEYS = {b"nd", b"type", b"data"}
_MAX_DIMENSIONS = 32
_MAX_BYTES = 99_999_999  # what RLlink's length header of eight digits can say
_MOST_DEPTH = 100  # the decoder calls itself, and Python's stack is finite


class MessageError(ValueError):
    """Received bytes that are not a message as it should be; the text says what is wrong."""


@dataclass(frozen=True)
class Limits:
    """What one received body may hold.

    Python needs up to about 80 bytes for a value that takes one byte of the body (an empty map), so
    `max_values` bounds what a body of small values can grow to, 160 MB with the default.

    Attributes:
        max_bytes: Size of the body, [bytes].
        max_values: Values in total; lists, maps and the keys of maps count as well.
        max_depth: Containers within each other, at most 100. An array takes two levels, its map and
            its shape.
        max_text: Length of one string in UTF-8, [bytes].
    """

    max_bytes: int = _MAX_BYTES
    max_values: int = 2_000_000
    max_depth: int = 32
    max_text: int = 1 << 20

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}, expected 1 or more")
        if self.max_depth > _MOST_DEPTH:
            raise ValueError(f"max_depth is {self.max_depth}, expected at most {_MOST_DEPTH}")


def encode(message: Any) -> bytes:
    """Packs a message as RLlib's client and server do.

    Args:
        message: None, bool, int, float, str, bytes, numpy arrays and scalars of numbers or bools of
            at most 64 bits, and lists, tuples and dicts with str keys of these. Tuples arrive as
            lists and np.float64 scalars as float.

    Raises:
        TypeError: Something is of another type, e.g. complex, an object array, or an int beyond 64
            bits.
        ValueError: It is nested hundreds of levels deep, or a str has no UTF-8 form.
    """
    return Packer(default=_as_map, use_bin_type=True).pack(message)


def decode(body: bytes, limits: Limits = Limits()) -> Any:
    """Unpacks what `encode`, or RLlib's own client, has packed.

    Args:
        body: One whole body, without its length header.
        limits: What to refuse.

    Returns:
        None, bool, int, float, str, bytes, lists, dicts with str or bytes keys, numpy scalars, and
        arrays in native byte order that own their memory.

    Raises:
        MessageError: The bytes are anything else. No other exception leaves this function.
    """
    if len(body) > limits.max_bytes:
        raise MessageError(f"a body of {len(body)} bytes, at most {limits.max_bytes} are taken")
    decoder = _Decoder(body, limits)
    decoder.promise(1)
    message = decoder.value(0)
    if decoder.position != len(body):
        raise MessageError(f"{len(body) - decoder.position} bytes follow the end of the message")
    return message


def _as_map(value: Any) -> dict[bytes, Any]:
    """What msgpack packs in place of an array or a numpy scalar."""
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.str not in _DTYPES:
            raise TypeError(f"cannot encode the dtype {value.dtype}, only numbers and bools")
        described = {b"nd": isinstance(value, np.ndarray), b"type": value.dtype.str}
        if isinstance(value, np.ndarray):
            described |= {b"kind": b"", b"shape": value.shape}
        # Packing the memory itself saves a copy of it.
        data = value.data if value.flags.c_contiguous else value.tobytes()
        return described | {b"data": data}
    raise TypeError(f"cannot encode a value of type {type(value).__name__}: {short(value)}")


# What the first byte of a value says: (what it is, bytes of the length field that follows, and the
# constant, the number's format, or the length where there is no length field).
_CONSTANT, _NUMBER, _TEXT, _BYTES, _LIST, _MAP, _REFUSED = range(7)


def _headers() -> list[tuple[int, int, Any]]:
    """The table of https://github.com/msgpack/msgpack/blob/master/spec.md by first byte."""
    table: list[tuple[int, int, Any]] = [(_REFUSED, 0, None)] * 256
    for number in range(-32, 128):
        table[number % 256] = (_CONSTANT, 0, number)
    for byte, constant in {0xC0: None, 0xC2: False, 0xC3: True}.items():
        table[byte] = (_CONSTANT, 0, constant)
    for byte, form in enumerate("fdBHIQbhiq", 0xCA):
        table[byte] = (_NUMBER, struct.calcsize(">" + form), struct.Struct(">" + form))
    for length in range(32):
        table[0xA0 + length] = (_TEXT, 0, length)
    for length in range(16):
        table[0x80 + length] = (_MAP, 0, length)
        table[0x90 + length] = (_LIST, 0, length)
    for first, what, widths in (
        (0xC4, _BYTES, (1, 2, 4)),
        (0xD9, _TEXT, (1, 2, 4)),
        (0xDC, _LIST, (2, 4)),
        (0xDE, _MAP, (2, 4)),
    ):
        for byte, width in enumerate(widths, first):
            table[byte] = (what, width, None)
    return table


_HEADERS = _headers()


class _Decoder:
    """Reads one body from front to back.

    Every value takes at least one byte. So there are always at least as many bytes left as values
    promised and not yet read, or the body is refused: this ends it at the first claim that cannot
    be true, wherever it is cut, and no read can run past its end.
    """

    def __init__(self, body: bytes, limits: Limits) -> None:
        self.body = body
        self.limits = limits
        self.position = 0
        self.promised = 0  # values that the headers so far have announced
        self.missing = 0  # those of them that were not read yet

    def promise(self, values: int) -> None:
        """Takes note that a container announces values.

        Raises:
            MessageError: They are too many, or there are not as many bytes.
        """
        self.promised += values
        self.missing += values
        if self.promised > self.limits.max_values:
            raise MessageError(f"more than {self.limits.max_values} values")
        self._skip(0)

    def value(self, depth: int) -> Any:
        """Reads the next value, which stands in `depth` containers."""
        what, width, argument = _HEADERS[self.body[self.position]]
        if what == _REFUSED:
            raise MessageError(f"0x{self.body[self.position]:02x} starts no value taken here")
        self.missing -= 1
        start = self._skip(1 + width) + 1
        if what == _CONSTANT:
            return argument
        if what == _NUMBER:
            return argument.unpack_from(self.body, start)[0]
        length = int.from_bytes(self.body[start : start + width], "big") if width else argument
        if what == _BYTES:
            start = self._skip(length)
            return self.body[start : self.position]
        if what == _TEXT:
            return self._text(length)
        if depth == self.limits.max_depth:
            raise MessageError(f"more than {depth} containers within each other")
        self.promise(length if what == _LIST else 2 * length)
        if what == _LIST:
            return [self.value(depth + 1) for _ in range(length)]
        return _from_map({self._key(depth + 1): self.value(depth + 1) for _ in range(length)})

    def _skip(self, count: int) -> int:
        """Moves on by some bytes and returns where they start."""
        start = self.position
        self.position += count
        lacking = self.position + self.missing - len(self.body)
        if lacking > 0:
            raise MessageError(f"the body ends at least {lacking} bytes too early")
        return start

    def _text(self, length: int) -> str:
        if length > self.limits.max_text:
            raise MessageError(
                f"a string of {length} bytes, at most {self.limits.max_text} are taken"
            )
        start = self._skip(length)
        try:
            return self.body[start : self.position].decode()
        except UnicodeDecodeError as error:
            raise MessageError(f"a string that is not UTF-8: {error.reason}") from error

    def _key(self, depth: int) -> str | bytes:
        key = self.value(depth)
        if not isinstance(key, (str, bytes)):
            raise MessageError(f"a key of type {type(key).__name__}, expected str or bytes")
        return key


def _from_map(entries: dict[str | bytes, Any]) -> Any:
    """The array or scalar that a map stands for, or the map itself."""
    if b"complex" in entries:
        raise MessageError("a complex number")
    if b"nd" not in entries:
        return entries
    is_array = entries[b"nd"]
    if not isinstance(is_array, bool):
        raise MessageError(f"nd is {short(is_array)}, expected a bool")
    if entries.keys() != (_ARRAY_KEYS if is_array else _SCALAR_KEYS):
        raise MessageError(f"an array or scalar with the keys {short(list(entries))}")
    if is_array and entries[b"kind"] != b"":
        raise MessageError(f"an array of kind {short(entries[b'kind'])}, expected plain numbers")
    return _array(
        entries[b"type"], entries[b"shape"] if is_array else [], entries[b"data"], is_array
    )


def _array(dtype_name: Any, shape: Any, data: Any, is_array: bool) -> np.ndarray | np.generic:
    """An array or scalar in native byte order, from fields of which nothing is known yet."""
    dtype = _DTYPES.get(dtype_name) if isinstance(dtype_name, str) else None
    if dtype is None:
        raise MessageError(f"the dtype {short(dtype_name)}, expected one of {_DTYPE_NAMES}")
    if not isinstance(data, bytes):
        raise MessageError(f"array data of type {type(data).__name__}, expected bytes")
    # `type` and not `isinstance`, for which True is an int.
    if not isinstance(shape, list) or any(type(size) is not int or size < 0 for size in shape):
        raise MessageError(f"the shape {short(shape)}, expected sizes from 0")
    if len(shape) > _MAX_DIMENSIONS:
        raise MessageError(f"{len(shape)} dimensions, at most {_MAX_DIMENSIONS} are taken")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise MessageError(f"{dtype.name} of shape {short(shape)} in {len(data)} bytes")
    # An empty array has no data that would bound its other dimensions.
    if math.prod(size for size in shape if size) * dtype.itemsize > _MAX_BYTES:
        raise MessageError(f"an empty array of shape {short(shape)}, too large to be filled")
    array: np.ndarray = np.ndarray(shape, dtype, data)
    if dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise MessageError("a bool that is neither 0 nor 1")
    # A copy, so that it can be written to and keeps nothing else of the message in memory.
    array = array.astype(dtype.newbyteorder("="))
    return array if is_array else array[()]
