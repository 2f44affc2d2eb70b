"""MMEngine's file backend for checkpoints that have a student beside them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from .atomic_write import atomic_write
from .student import student_path

BACKEND = "atomic"
"""The backend in `backend_args` of MMEngine."""


class CheckpointBackend(LocalBackend):
    """Local files with atomic writes. A checkpoint goes with its student, and removals can be delayed."""

    def __init__(self) -> None:
        super().__init__()
        self._pending: list[tuple[Path, int]] | None = None

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; see `atomic_write`."""
        atomic_write(Path(filepath), obj)

    def remove(self, filepath: str | Path) -> None:
        """Remove a checkpoint and its student at once, or within `removals_last` at its end."""
        if self._pending is None:
            super().remove(filepath)
            student_path(filepath).unlink(missing_ok=True)
        else:
            self._pending.append((Path(filepath), os.stat(filepath).st_ino))

    @contextlib.contextmanager
    def removals_last(self) -> Iterator[None]:
        """Delay removals until the context ends without an error; of nested contexts, the outermost one.

        A file that was rewritten in the meantime stays.
        """
        if self._pending is not None:
            yield
            return
        pending: list[tuple[Path, int]] = []
        self._pending = pending
        try:
            yield
        finally:
            self._pending = None
        for path, inode in pending:
            if path.exists() and path.stat().st_ino == inode:
                self.remove(path)


register_backend(BACKEND, CheckpointBackend, force=True)
