"""One run at a time in a work directory."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PATIENCE = 10.0  # seconds; the data loader workers of a killed run hold the lock for up to 5 more
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of a file system without locks. A run then goes on without one."""


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[int]:
    """Lock a folder against other runs; yields the lock's descriptor, for child processes to inherit and hold.

    Raises:
        BlockingIOError: Another run uses the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        deadline = time.monotonic() + PATIENCE
        while not _acquire(file):
            if time.monotonic() > deadline:
                file.seek(0)
                raise BlockingIOError(
                    f"{str(folder)!r} is in use by another run (process {file.read().strip() or 'unknown'}, or a "
                    "training that it left behind): wait until it ends, stop it, or give another --work-dir"
                )
            time.sleep(0.1)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield file.fileno()
        finally:
            _release(file)  # closing is not enough where workers of a loader still live, as in a notebook


def _release(file: TextIO) -> None:
    if fcntl is not None:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)


def _acquire(file: TextIO) -> bool:
    """Take the lock if it is free. The system frees it when its holders end, killed or not."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in NO_LOCKS
    return True
