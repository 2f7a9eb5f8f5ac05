"""Observations of a replay buffer: each frame kept once, found by a number that never repeats."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

#: Frames in one checkpoint file; a full file never changes and is hard-linked from then on.
BLOCK = 1024
_MANIFEST = "frames.json"


class FrameStore:
    """A ring of frames that grows when more of them are alive than fit.

    Frame ``i`` lies at ``i % ring_size``. The buffer that owns the store says which is the oldest
    frame it still needs; older ones are overwritten.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, np.dtype], ring_size: int
    ):
        self._rings = {
            key: np.zeros((ring_size, *shape), dtypes[key]) for key, shape in shapes.items()
        }
        self.ring_size = ring_size
        #: Frames ever added, which is the number of the next one.
        self.count = 0
        #: Number of the oldest frame that growing and loading have kept.
        self._oldest_kept = 0
        self._block_names: dict[int, str] = {}

    def add(self, frames: Mapping[str, np.ndarray], oldest_needed: int) -> np.ndarray:
        """Append frames.

        Args:
            frames: By name, each of shape (n, ...).
            oldest_needed: Number of the oldest frame that must survive.

        Returns:
            Numbers of the new frames, shape (n,).
        """
        number = len(next(iter(frames.values())))
        needed = self.count + number - oldest_needed
        if needed > self.ring_size:
            self._grow(max(needed, self.ring_size + self.ring_size // 8), oldest_needed)
        ids = np.arange(self.count, self.count + number)
        for key, ring in self._rings.items():
            ring[ids % self.ring_size] = frames[key]
        self.count += number
        return ids

    def _grow(self, ring_size: int, oldest_needed: int) -> None:
        alive = np.arange(oldest_needed, self.count)
        for key, ring in self._rings.items():
            larger = np.zeros((ring_size, *ring.shape[1:]), ring.dtype)
            larger[alive % ring_size] = ring[alive % self.ring_size]
            self._rings[key] = larger
        self.ring_size = ring_size
        self._oldest_kept = oldest_needed

    def holds(self, frame: int) -> bool:
        """Whether a frame is still here."""
        return max(self._oldest_kept, self.count - self.ring_size) <= frame < self.count

    def gather(self, ids: np.ndarray, out: Mapping[str, np.ndarray]) -> None:
        """Copy frames into ``out``, by name, each of shape (n, ...)."""
        places = ids % self.ring_size
        for key, ring in self._rings.items():
            np.take(ring, places, axis=0, out=out[key], mode="clip")

    def empty(self, number: int) -> dict[str, np.ndarray]:
        """Uninitialised arrays that take ``number`` frames."""
        return {
            key: np.empty((number, *ring.shape[1:]), ring.dtype)
            for key, ring in self._rings.items()
        }

    def save(self, folder: Path, oldest_needed: int, others: Sequence[Path] = ()) -> None:
        """Write the frames into an empty folder, as one file for each entry and block.

        A full block never changes, and its file has a name of its own: where one of ``others``,
        folders of earlier checkpoints, holds it already, it is hard-linked instead of written.
        """
        folder.mkdir(parents=True)
        first, last = oldest_needed // BLOCK, -(-self.count // BLOCK)
        self._block_names = {
            block: self._block_names.get(block) or f"{block:08d}-{uuid.uuid4().hex}"
            for block in range(first, last)
        }
        earlier = {file.name: file for other in others for file in other.glob("*.npy")}
        for block, name in self._block_names.items():
            ids = np.arange(block * BLOCK, min((block + 1) * BLOCK, self.count))
            for key, ring in self._rings.items():
                file = f"{key}-{name}.npy"
                if not (file in earlier and _linked(earlier[file], folder / file)):
                    np.save(folder / file, ring[ids % self.ring_size], allow_pickle=False)
        manifest = {
            "count": self.count,
            "ring_size": self.ring_size,
            "oldest": oldest_needed,
            "entries": sorted(self._rings),
            "blocks": list(self._block_names.values()),
        }
        (folder / _MANIFEST).write_text(json.dumps(manifest))
        if self.count % BLOCK:
            del self._block_names[last - 1]  # still growing: the next checkpoint writes it anew

    def load(self, folder: Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            ValueError: When the saved frames have other names, shapes or types.
        """
        manifest = json.loads((folder / _MANIFEST).read_text())
        if manifest["entries"] != sorted(self._rings):
            raise ValueError(
                f"{folder}: holds observations {manifest['entries']}, this configuration has "
                f"{sorted(self._rings)}. Resume with the environment it was saved with"
            )
        self.count, self.ring_size = manifest["count"], manifest["ring_size"]
        self._oldest_kept = manifest["oldest"]
        for key, ring in self._rings.items():
            larger = np.zeros((self.ring_size, *ring.shape[1:]), ring.dtype)
            for name in manifest["blocks"]:
                file = folder / f"{key}-{name}.npy"
                frames = np.load(file, allow_pickle=False)
                if frames.shape[1:] != ring.shape[1:] or frames.dtype != ring.dtype:
                    raise ValueError(
                        f"{file}: holds frames {frames.dtype}{frames.shape[1:]}, this "
                        f"configuration has {ring.dtype}{ring.shape[1:]}"
                    )
                ids = int(name.split("-")[0]) * BLOCK + np.arange(len(frames))
                # Of a first block that the ring no longer holds whole, only the younger part.
                young = ids >= self.count - self.ring_size
                larger[ids[young] % self.ring_size] = frames[young]
            self._rings[key] = larger
        self._block_names = {
            int(name.split("-")[0]): name
            for name in manifest["blocks"]
            if (int(name.split("-")[0]) + 1) * BLOCK <= self.count
        }


def _linked(source: Path, target: Path) -> bool:
    """Hard-link a file; false where the file system cannot, or the source has just gone."""
    with contextlib.suppress(OSError):
        os.link(source, target)
        return True
    return False
