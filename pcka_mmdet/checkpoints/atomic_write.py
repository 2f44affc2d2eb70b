"""Atomic writes of local files."""

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.fileio import LocalBackend, register_backend

BACKEND = "atomic"
"""The name of the file backend, for `backend_args` of MMEngine."""


def atomic_write(path: Path, content: bytes) -> None:
    """Write a file atomically: write a scratch file, flush it to the disk, rename it.

    Raises:
        OSError: It could not be written; the file that was at `path` is unchanged.
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
    """Do what `torch.save` does, atomically; see `atomic_write`."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    atomic_write(path, buffer.getvalue())


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    atomic_write(path, (json.dumps(content, indent=2) + "\n").encode())


def remove_scratch(folder: Path) -> None:
    """Remove the scratch files of killed processes."""
    for scratch in folder.glob(".*.part"):
        scratch.unlink(missing_ok=True)


class AtomicBackend(LocalBackend):
    """MMEngine's backend for local files, with atomic writes and removals that can be delayed."""

    def __init__(self):
        super().__init__()
        self._pending: list[tuple[Path, int]] | None = None

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes; see `atomic_write`."""
        atomic_write(Path(filepath), obj)

    def remove(self, filepath: str | Path) -> None:
        """Remove a file at once, or within `removals_last` at its end."""
        if self._pending is None:
            super().remove(filepath)
        else:
            self._pending.append((Path(filepath), os.stat(filepath).st_ino))

    @contextlib.contextmanager
    def removals_last(self) -> Iterator[list[Path]]:
        """Delay removals until the context ends without an error; of nested contexts, the outermost one.

        A file that was rewritten in the meantime stays. The yielded list of files to remove is filled at the end.
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
