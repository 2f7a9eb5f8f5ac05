"""What waits on the robot's disk for the learner."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from e2hil_rllib.disk.files import WriteError, writing
from e2hil_rllib.disk.folder_lock import FolderLock
from e2hil_rllib.disk.sealed_files import DamagedFileError, read_sealed, write_sealed
from e2hil_rllib.errors import UserError
from e2hil_rllib.external.protocol.chunk_folder import LOST, ChunkFolder

_NEW_STREAM_BYTES = 8  # of chance; two robots draw the same id once in 10¹⁹ times


class SpoolError(UserError):
    """A spool that cannot be used, or takes nothing more; the message says what to do."""


class Spool:
    """The chunks of one stream from when they are recorded until the learner has them.

    A chunk that was appended survives a kill and a power cut at any moment, until it is
    acknowledged. Its number is never given to another one, whatever happens. Any thread may call
    any method.

    Args:
        folder: Where the chunks wait; made if there is none. It belongs to one process at a time.
        capacity_bytes: How much may wait at most, [bytes].

    Raises:
        ValueError: The capacity is not positive.
        UserError: Another process uses the folder, or it cannot be made or read.
        SpoolError: What the folder knows about its stream is missing or damaged.
    """

    def __init__(self, folder: Path | str, capacity_bytes: int) -> None:
        if capacity_bytes < 1:
            raise ValueError(f"capacity_bytes is {capacity_bytes}, expected 1 or more")
        self.folder = Path(folder)
        self.capacity_bytes = capacity_bytes
        self._state = self.folder / "stream.bin"
        self._mutex = Lock()
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(self.folder)
        try:
            with writing(self.folder):
                self._chunks = ChunkFolder(self.folder)
                #: Id of the stream, drawn when the folder was new.
                self.stream, self._next = self._opened()
        except BaseException:
            self._lock.close()
            raise

    @property
    def waiting_bytes(self) -> int:
        """How much waits for the learner, [bytes]."""
        return self._chunks.total_bytes

    @property
    def first(self) -> int:
        """The number of the oldest chunk that waits, or of the next one where none does."""
        following = self._next  # read first: a chunk that comes meanwhile is the oldest then
        return min(self._chunks.sequences, default=following)

    @property
    def following(self) -> int:
        """The number of the next chunk."""
        return self._next

    def append(self, make: Callable[[int], bytes]) -> int:
        """Takes a chunk. It is on the disk when this returns.

        Args:
            make: Gives the chunk as bytes for the number that it gets. It must not call the spool.

        Returns:
            The number of the chunk.

        Raises:
            SpoolError: The capacity is reached, or the disk is full or broken. The chunk was not
                taken and its number stays free; everything before is safe. The robot has to pause
                until this succeeds.
            ValueError: The chunk is empty.
        """
        with self._mutex:
            sequence = self._next
            data = make(sequence)
            if data == LOST:
                raise ValueError(f"chunk {sequence} is empty")
            if self._chunks.total_bytes + len(data) > self.capacity_bytes:
                raise self._full(
                    f"takes no more than {self.capacity_bytes / 2**20:.1f} MiB, and the next chunk "
                    f"has {len(data) / 2**20:.1f} MiB"
                )
            try:
                self._chunks.write(sequence, data)
            except WriteError as error:
                raise self._full(f"takes no more: {error}") from error
            self._next = sequence + 1
            return sequence

    def waiting(self) -> list[tuple[int, Path]]:
        """The number and the file of each chunk that waits, oldest first; see `read`.

        Does not wait for a slow disk, as a control loop may ask.
        """
        return [(sequence, self._chunks.path(sequence)) for sequence in self._chunks.sequences]

    def read(self, sequence: int) -> bytes:
        """Reads a chunk that waits.

        Returns:
            What was appended, or `LOST` if its file was damaged since. Send and acknowledge that
            like any other, so that the learner knows not to wait for it.

        Raises:
            KeyError: It does not wait, or not any more.
            OSError: The disk does not give the file.
            WriteError: It is damaged and the disk is full.
        """
        with self._mutex:
            return self._chunks.read(sequence)

    def acknowledge(self, sequence: int) -> None:
        """Deletes a chunk that the learner has. Any other number, or a repeated one, does nothing.

        Raises:
            WriteError: The disk is full. The chunk still waits, and can be acknowledged again.
        """
        with self._mutex:
            if sequence not in self._chunks:
                return
            if sequence + 1 == self._next:
                # The files tell the next number as long as the newest of them is there.
                self._write_state(self.stream, self._next)
            with writing(self._chunks.path(sequence)):
                self._chunks.delete(sequence)

    def close(self) -> None:
        """Lets other processes use the folder. Nothing must be called after it."""
        self._lock.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> tuple[str, int]:
        """The id of the stream and the next number; a new stream where there is nothing yet."""
        if not self._state.exists():
            if len(self._chunks):
                raise self._unknown("is missing")
            stream = secrets.token_hex(_NEW_STREAM_BYTES)
            self._write_state(stream, 0)
            return stream, 0
        try:
            state = json.loads(read_sealed(self._state))
        except DamagedFileError as error:
            raise self._unknown("is damaged") from error
        newest = max(self._chunks.sequences, default=-1)
        return state["stream"], max(state["next"], newest + 1)

    def _write_state(self, stream: str, following: int) -> None:
        write_sealed(self._state, json.dumps({"stream": stream, "next": following}).encode())

    def _full(self, reason: str) -> SpoolError:
        return SpoolError(
            f"The spool {self.folder} {reason}. {len(self._chunks)} chunks "
            f"({self._chunks.total_bytes / 2**20:.1f} MiB) wait there for the learner and are "
            "safe. Pause the robot, and start the learner, bring the network back, or free space."
        )

    def _unknown(self, fault: str) -> SpoolError:
        return SpoolError(
            f"{self._state} {fault}, so that nobody knows which recording the {len(self._chunks)} "
            f"chunks in {self.folder} belong to. Restore it, or move the folder away and keep it; "
            "a new recording then starts in a new one."
        )
