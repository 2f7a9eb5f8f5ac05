"""What has come from robots, on the learner's disk until it is elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from e2hil_rllib.disk.files import writing
from e2hil_rllib.disk.folder_lock import FolderLock
from e2hil_rllib.disk.sealed_files import DamagedFileError, read_sealed, write_sealed
from e2hil_rllib.errors import UserError
from e2hil_rllib.external.protocol.chunk import STREAM, check_index, check_stream
from e2hil_rllib.external.protocol.chunk_folder import LOST, ChunkFolder

logger = logging.getLogger(__name__)


class InboxError(UserError):
    """An inbox that cannot be used; the message says what to do."""


@dataclass
class _Stream:
    chunks: ChunkFolder
    first: int  # the first number that is not finished
    gap_end: int = 0  # of those before it, what is not here never comes

    def following(self, sequence: int) -> int | None:
        """This number if its chunk is here; else the next one after a gap; None to wait for it."""
        if sequence in self.chunks:
            return sequence
        if sequence >= self.gap_end:
            return None
        later = (number for number in self.chunks.sequences if number > sequence)
        return self.following(min(min(later, default=self.gap_end), self.gap_end))

    def has(self, sequence: int) -> bool:
        return sequence < self.first or sequence in self.chunks


class Inbox:
    """Takes each chunk of each stream exactly once, however often and in whatever order it comes.

    What was received survives a kill and a power cut at any moment, until it is finished. That it
    was there is remembered for ever. Any thread may call any method.

    Args:
        folder: Has a folder for each stream; made if there is none. It belongs to one process at a
            time.

    Raises:
        UserError: Another process uses the folder, or it cannot be made or read.
        InboxError: What the folder knows about a stream is damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._mutex = Lock()
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(self.folder)
        try:
            with writing(self.folder):
                found = sorted(path for path in self.folder.iterdir() if path.is_dir())
                self._streams = {
                    path.name: self._opened(path) for path in found if STREAM.fullmatch(path.name)
                }
        except BaseException:
            self._lock.close()
            raise

    def streams(self) -> list[str]:
        """The streams of which something has come."""
        with self._mutex:
            return list(self._streams)

    def begin(self, stream: str, first: int) -> None:
        """A robot says which chunk of a stream is the oldest that it can still send.

        Those before it that have not come never will: they went to another inbox, as in an earlier
        run, or are lost. Nothing waits for them any more.

        Args:
            stream: Id of the robot's recording, see `Chunk`.
            first: The oldest chunk's number, or the next one's where none waits.

        Raises:
            ValueError: The stream or the number is none.
            WriteError: The disk is full. It can be tried again.
        """
        check_stream(stream)
        check_index("first", first)
        with self._mutex:
            here = self._stream(stream)
            if first > max(here.first, here.gap_end):
                self._write_state(stream, here.first, first)
                here.gap_end = first
                logger.info("The recording %s goes on with chunk %d.", stream, first)

    def receive(self, stream: str, sequence: int, data: bytes) -> bool:
        """Takes a chunk. It is on the disk when this returns, so that it may be acknowledged.

        Args:
            stream: Id of the robot's recording, see `Chunk`.
            sequence: The chunk's number in it.
            data: The chunk, or `LOST`. What is in it is not looked at.

        Returns:
            Whether it is new; False if it came before.

        Raises:
            ValueError: The stream or the number is none.
            WriteError: The disk is full, or the file cannot be written for another reason.
        """
        check_stream(stream)
        check_index("sequence", sequence)
        with self._mutex:
            here = self._stream(stream)
            if here.has(sequence):
                return False
            here.chunks.write(sequence, data)
            return True

    def chunks(self, stream: str, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """The chunks of a stream in order, as far as none is missing.

        What was damaged, here or on the robot, is passed over with a logged error.

        Args:
            stream: Id of the stream; there are no chunks of an unknown one.
            start: Leave out those before this number, e.g. since they were read already.

        Yields:
            The number and the bytes of each chunk that is not finished.

        Raises:
            OSError: The disk does not give a file.
            WriteError: A file is damaged and the disk is full.
        """
        with self._mutex:
            here = self._streams.get(stream)
            sequence = here.first if here else 0
        while True:
            with self._mutex:
                found = here.following(sequence) if here else None
                if here is None or found is None:
                    return
                sequence = found
                data = here.chunks.read(sequence) if sequence >= start else None
            if data == LOST:
                logger.error("Chunk %d of the recording %s is lost.", sequence, stream)
            elif data is not None:
                yield sequence, data
            sequence += 1

    def finish(self, stream: str, up_to_sequence: int) -> None:
        """Deletes chunks that are durable elsewhere; they are still known if they come again.

        Args:
            stream: Id of the stream.
            up_to_sequence: The last of the finished chunks. Nothing happens if it was finished
                before.

        Raises:
            ValueError: One of the chunks up to there has not come yet.
            WriteError: The disk is full. It can be tried again.
        """
        with self._mutex:
            here = self._streams.get(stream)
            first = here.first if here else 0
            gap_end = here.gap_end if here else 0
            for sequence in range(max(first, gap_end), up_to_sequence + 1):
                if here is None or sequence not in here.chunks:
                    raise ValueError(
                        f"chunk {sequence} of the recording {stream} has not come, so that the "
                        f"chunks up to {up_to_sequence} cannot be finished"
                    )
            if here is None or up_to_sequence < first:
                return
            self._write_state(stream, up_to_sequence + 1, gap_end)
            here.first = up_to_sequence + 1
            with writing(self.folder / stream):
                _delete_finished(here)

    def close(self) -> None:
        """Lets other processes use the folder. Nothing must be called after it."""
        self._lock.close()

    def __enter__(self) -> Inbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write_state(self, stream: str, first: int, gap_end: int) -> None:
        write_sealed(_state_path(self.folder / stream), f"{first} {gap_end}".encode())

    def _stream(self, name: str) -> _Stream:
        """A stream, which begins here if nothing is known of it."""
        if name not in self._streams:
            with writing(self.folder / name):
                self._streams[name] = self._opened(self.folder / name)
        return self._streams[name]

    def _opened(self, folder: Path) -> _Stream:
        """A stream as it is on the disk; an empty one where there is nothing yet."""
        chunks = ChunkFolder(folder)
        state = _state_path(folder)
        try:
            numbers = [int(text) for text in read_sealed(state).split()] if state.exists() else [0]
        except DamagedFileError as error:
            raise InboxError(
                f"{error}, so that nobody knows which chunks in {folder} were taken over already. "
                "Restore it, or move the folder away and keep it."
            ) from error
        stream = _Stream(chunks, *numbers)
        _delete_finished(stream)
        return stream


def _state_path(folder: Path) -> Path:
    return folder / "finished.bin"


def _delete_finished(stream: _Stream) -> None:
    for sequence in stream.chunks.sequences:
        if sequence < stream.first:
            stream.chunks.delete(sequence)
