"""Folders that appear only when they are complete, and replace nothing before that."""

import contextlib
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

ABANDONED = 3600.0  # seconds after which an unfinished folder belongs to a process that was killed


@contextlib.contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """Yield a new path beside ``root``, to fill and to give to `put_in_place`; afterwards it is deleted.

    Old scratch folders of killed processes are deleted too.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    for path in root.parent.glob(f".{root.name}.*.partial"):
        if time.time() - path.stat().st_mtime > ABANDONED:
            shutil.rmtree(path, ignore_errors=True)
    scratch = _sibling(root)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def put_in_place(root: Path, scratch: Path) -> None:
    """Rename ``scratch`` to ``root``. What was there is moved aside first, and deleted when the new one is in place."""
    old = _sibling(root)
    if root.exists():
        root.rename(old)
    try:
        scratch.rename(root)
    except OSError:
        if old.exists() and not root.exists():
            old.rename(root)
        raise
    shutil.rmtree(old, ignore_errors=True)


def is_missing_or_empty(root: Path) -> bool:
    """Whether a folder can be put at ``root`` without a loss."""
    return not root.exists() or (root.is_dir() and not any(root.iterdir()))


def _sibling(root: Path) -> Path:
    """Return a new path beside ``root``: in the same file system, where renaming is atomic."""
    return root.with_name(f".{root.name}.{uuid.uuid4().hex[:8]}.partial")
