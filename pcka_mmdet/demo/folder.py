"""Folders that appear only when they are complete, and replace nothing."""

import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

ABANDONED = 3600.0  # seconds after which an unfinished folder belongs to a process that was killed


def write_once(root: str | Path, what: str, is_complete: Callable[[Path], bool], write: Callable[[Path], None]) -> Path:
    """Write a folder, unless it is complete already; return its absolute path. Raises what `write` raises.

    Args:
        root: The folder, which must be complete, empty or missing.
        what: What it should hold, for the message.
        is_complete: Whether a folder is complete.
        write: Writes a new folder, and makes its parents.

    Raises:
        FileExistsError: `root` is a file, or holds anything else. Nothing is changed.
    """
    root = Path(root).expanduser().resolve()
    if is_complete(root):
        return root
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(
            f"{root} is not empty and is no complete {what} of these settings; nothing was changed; give a folder that "
            "does not exist yet, or remove this one yourself"
        )
    for path in root.parent.glob(f".{root.name}.*.partial"):
        if time.time() - path.stat().st_mtime > ABANDONED:
            shutil.rmtree(path, ignore_errors=True)
    new = root.with_name(f".{root.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        write(new)
        if not is_complete(root):  # another process may have been faster
            new.replace(root)  # an empty folder gives way
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return root
