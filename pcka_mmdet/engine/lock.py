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

PATIENCE = 10.0  # seconds: the data loaders of a run that was killed hold the lock until they miss it, within 5
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of a file system without locks: there it goes on without."""


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[int]:
    """Keep other runs out of a folder; yields the descriptor that children inherit, since they hold it too.

    Raises:
        SystemExit: Another run uses the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        patience = time.monotonic() + PATIENCE
        while not _acquire(file):
            if time.monotonic() > patience:
                file.seek(0)
                raise SystemExit(
                    f"{str(folder)!r} is in use by another run (process {file.read().strip() or 'unknown'}, or a "
                    "training that it left behind): wait for its end, stop it, or give another --work-dir"
                )
            time.sleep(0.1)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file.fileno()


def _acquire(file: TextIO) -> bool:
    """Take the lock if it is free. However its holders end, the system then frees it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in NO_LOCKS
    return True
