"""One run at a time in a work directory."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[int]:
    """Keep other runs out of a folder; yields the descriptor that children inherit, since they hold it too.

    Raises:
        SystemExit: Another run uses the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise SystemExit(
                f"{str(folder)!r} is in use by another run (process {file.read().strip() or 'unknown'}, or a training "
                "that it left behind): wait for its end, stop it, or give another --work-dir"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file.fileno()
