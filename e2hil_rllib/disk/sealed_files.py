"""Files with a checksum: written whole or not at all, and damage to them is noticed."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from e2hil_rllib.disk.files import swapped_in, sync_file
from e2hil_rllib.errors import UserError

_MAGIC = b"E2HIL\x00\x01\n"
_HEADER = struct.Struct("<8sI")  # magic, and CRC-32 of what follows


class DamagedFileError(UserError):
    """A file that does not hold what was written to it; the message names it and the fault."""


def write_sealed(path: Path, payload: bytes) -> int:
    """Writes a file, or replaces it. It is on the disk, name and all, when this returns.

    Args:
        path: The file.
        payload: What it is to hold.

    Returns:
        Size of the file, [bytes].

    Raises:
        WriteError: The disk is full, or the file cannot be written for another reason.
    """
    header = _HEADER.pack(_MAGIC, zlib.crc32(payload))
    with swapped_in(path) as temporary, temporary.open("wb") as file:
        file.write(header)
        file.write(payload)
    return len(header) + len(payload)


def read_sealed(path: Path) -> bytes:
    """Reads what `write_sealed` has written.

    Raises:
        DamagedFileError: The file is cut short, or was changed.
        OSError: There is no such file, or the disk does not give it.
    """
    data = path.read_bytes()
    payload = data[_HEADER.size :]
    if len(data) < _HEADER.size:
        raise DamagedFileError(f"{path} is damaged: it has {len(data)} bytes only")
    magic, checksum = _HEADER.unpack_from(data)
    if magic != _MAGIC or checksum != zlib.crc32(payload):
        raise DamagedFileError(f"{path} is damaged: it does not agree with its checksum")
    return payload


def make_folder(folder: Path) -> None:
    """Makes a folder if there is none, and flushes it and the names above it to the disk.

    What a killed process has made or renamed is visible, but a power cut could still undo it. After
    this it cannot, and may be acted upon.

    Raises:
        OSError: The folder cannot be made or flushed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = folder.stat().st_dev
    for path in (folder, *folder.absolute().parents):
        # What is on another device, or may not be read, was there before any of this.
        if path.stat().st_dev == device and os.access(path, os.R_OK):
            sync_file(path)
