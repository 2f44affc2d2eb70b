"""Local files that are there whole or not at all."""

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.fileio import LocalBackend, register_backend

BACKEND = "whole_files"
"""The name of the file backend, for `backend_args` of MMEngine."""


def atomic_write(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, rename.

    Raises:
        OSError: It could not be written; what was at `path` is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise OSError(
            error.errno, f"{str(path)!r} could not be written ({error.strerror}); what was there before still is"
        ) from error


def atomic_save(content: Any, path: Path) -> None:
    """Save as `torch.save` does; see `atomic_write`."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    atomic_write(path, buffer.getvalue())


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all."""
    atomic_write(path, (json.dumps(content, indent=2) + "\n").encode())


def remove_scratch(folder: Path) -> None:
    """Remove what killed processes had begun to write."""
    for scratch in folder.glob(".*.part"):
        scratch.unlink(missing_ok=True)


class AtomicBackend(LocalBackend):
    """MMEngine's backend for local files, with writes that a kill cannot cut, and removals that come last."""

    def __init__(self):
        super().__init__()
        self._pending: list[tuple[Path, int]] | None = None

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; see `atomic_write`."""
        atomic_write(Path(filepath), obj)

    def remove(self, filepath: str | Path) -> None:
        """Remove a file: at once, or at the end of `removals_last`."""
        if self._pending is None:
            super().remove(filepath)
        else:
            self._pending.append((Path(filepath), os.stat(filepath).st_ino))

    @contextlib.contextmanager
    def removals_last(self) -> Iterator[list[Path]]:
        """Within, files are noted for removal; they go when all within has succeeded. The outermost one decides.

        What was written anew by the same name meanwhile stays. The list, of what was noted, is filled at the end.
        """
        noted: list[Path] = []
        if self._pending is not None:
            yield noted
            return
        self._pending = []
        try:
            yield noted
            for path, inode in self._pending:
                noted.append(path)
                if path.exists() and path.stat().st_ino == inode:
                    path.unlink()
        finally:
            self._pending = None


register_backend(BACKEND, AtomicBackend, force=True)
