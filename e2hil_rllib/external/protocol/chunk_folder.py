"""Numbered chunks in a folder, one checked file each; what the spool and the inbox are made of."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from e2hil_rllib.disk.files import is_temporary, swapped_in
from e2hil_rllib.disk.sealed_files import DamagedFileError, make_folder, read_sealed, write_sealed

logger = logging.getLogger(__name__)

#: Stands in the place of a chunk whose file was damaged, so that those after it are not held up
#: by a number that never comes. It travels and is acknowledged like any other; no chunk is empty.
LOST = b""

_FILE_NAME = re.compile(r"chunk_(\d{10,})\.bin")


class ChunkFolder:
    """The chunks of one stream that are on this disk.

    It may belong to one process only. What a kill left of a file is removed at the beginning.
    Numbers and sizes may be asked for while another thread writes: they are copied in one piece.

    Args:
        folder: Where they are; made if there is none.

    Raises:
        OSError: The folder cannot be made or read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_folder(folder)
        self._sizes: dict[int, int] = {}
        for path in list(folder.iterdir()):
            if is_temporary(path):
                path.unlink()
            elif name := _FILE_NAME.fullmatch(path.name):
                self._sizes[int(name[1])] = path.stat().st_size

    @property
    def total_bytes(self) -> int:
        """Size of all files, [bytes]."""
        return sum(tuple(self._sizes.values()))

    @property
    def sequences(self) -> list[int]:
        """The numbers of the chunks that are there, in ascending order."""
        return sorted(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __contains__(self, sequence: int) -> bool:
        return sequence in self._sizes

    def path(self, sequence: int) -> Path:
        """The file of a chunk, e.g. `chunk_0000000012.bin`."""
        return self.folder / f"chunk_{sequence:010d}.bin"

    def write(self, sequence: int, data: bytes) -> None:
        """Writes a chunk. It is on the disk when this returns, and not counted if this raises.

        Raises:
            WriteError: The disk is full, or the file cannot be written for another reason.
        """
        self._sizes[sequence] = write_sealed(self.path(sequence), data)

    def read(self, sequence: int) -> bytes:
        """Reads a chunk.

        Returns:
            What was written; `LOST` where the file is damaged. Such a file is kept beside, under a
            name that starts with "damaged_", and `LOST` takes its place on the disk as well.

        Raises:
            KeyError: There is no chunk of this number.
            OSError: The disk does not give the file.
            WriteError: It is damaged and the disk is full.
        """
        if sequence not in self:
            raise KeyError(f"there is no chunk {sequence} in {self.folder}")
        path = self.path(sequence)
        try:
            return read_sealed(path)
        except DamagedFileError as error:
            aside = path.with_name(f"damaged_{path.name}")
            with swapped_in(aside) as temporary:
                temporary.write_bytes(path.read_bytes())
            self.write(sequence, LOST)
            logger.error("%s. Its steps are lost; it is kept as %s.", error, aside)
            return LOST

    def delete(self, sequence: int) -> None:
        """Deletes a chunk; after a power cut it may be there again."""
        self.path(sequence).unlink(missing_ok=True)
        del self._sizes[sequence]
