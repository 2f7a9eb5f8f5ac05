"""A disk under a process that is killed, or a machine that loses its power, at a chosen moment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Killed(BaseException):
    """The process is dead: it is raised by the fatal call and by every one after it.

    A BaseException, because the program must not catch it.
    """


class FragileDisk:
    """Stands between the program and the files below `root`.

    `os.fsync` costs nothing here, and is remembered: what was renamed, deleted or made since a
    folder's last one is undone by a power cut. Renaming a file that was not synced is an error.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[str] = []  # that succeeded
        self._left: int | None = None  # calls until the kill
        self._synced: set[int] = set()
        self._pending: list[tuple[int, Callable[[], Any]]] = []  # folder, how to undo it
        self._patch = pytest.MonkeyPatch()
        self._real = {name: getattr(os, name) for name in ("fsync", "replace", "unlink", "mkdir")}
        for name in self._real:
            self._patch.setattr(os, name, self._guarded(name))

    def close(self) -> None:
        self._patch.undo()

    def kill_after(self, calls: int) -> None:
        """The process survives so many calls from now on."""
        self._left = calls

    def revive(self) -> None:
        self._left = None

    def cut_power(self, lost: int) -> None:
        """Undoes the newest `lost` of the changes that were not synced."""
        self.revive()
        for _, undo in [*reversed(self._pending)][:lost]:
            undo()
        self._pending.clear()

    def _guarded(self, name: str) -> Callable[..., None]:
        def call(target: Any, *args: Any, **kwargs: Any) -> None:
            if name != "fsync" and self.root not in Path(target).parents:
                self._real[name](target, *args, **kwargs)
                return
            if self._left is not None:
                if self._left == 0:
                    raise Killed
                self._left -= 1
            getattr(self, f"_{name}")(target, *args, **kwargs)
            self.calls.append(name)

        return call

    def _fsync(self, handle: int) -> None:
        inode = os.fstat(handle).st_ino
        self._synced.add(inode)
        self._pending = [entry for entry in self._pending if entry[0] != inode]

    def _replace(self, source: Path, target: Path) -> None:
        source, target = Path(source), Path(target)
        assert source.stat().st_ino in self._synced, f"{target} is renamed before it is synced"
        old = target.read_bytes() if target.exists() else None
        self._real["replace"](source, target)
        self._undo_by(target, lambda: target.write_bytes(old) if old is not None else
                      self._real["unlink"](target))  # fmt: skip

    def _unlink(self, path: Path) -> None:
        path = Path(path)
        old = path.read_bytes() if path.exists() else b""
        self._real["unlink"](path)
        self._synced.clear()  # the inode's number may be given to another file
        self._undo_by(path, lambda: path.write_bytes(old))

    def _mkdir(self, path: Path, *args: Any, **kwargs: Any) -> None:
        self._real["mkdir"](path, *args, **kwargs)
        self._undo_by(Path(path), lambda: shutil.rmtree(path))

    def _undo_by(self, path: Path, undo: Callable[[], Any]) -> None:
        self._pending.append((path.parent.stat().st_ino, undo))
