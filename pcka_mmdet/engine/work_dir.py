"""The work directory of a training: writable, used by one run at a time, and not another training's."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from mmengine.config import Config

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.checkpoints.resume import RECORD, check_record, training_record

try:
    import fcntl
except ImportError:  # Windows: no folder is locked
    fcntl = None

PATIENCE = 10.0  # seconds; the data loader workers of a killed run hold the lock for up to 5 more
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of a file system without locks. A run then goes on without one."""

OWNER = ".work_dir"
"""In a checkpoints' folder, the file that names the work directory."""

RANKS = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}
"""The environment variable that holds a process's rank under each launcher, before there is a process group."""


@contextlib.contextmanager
def reserved(config: Config, resumes: bool) -> Iterator[None]:
    """Reserve the work directory of a training while the context lasts; only the first process does so.

    Raises:
        BlockingIOError: Another run uses the folder.
        OSError: The folder cannot be written to.
        ValueError: It holds another training, see `check_record`; or the folder of the checkpoints (`out_dir`) holds
            those of another work directory.
    """
    if os.environ.get(RANKS.get(config.launcher, ""), "0") != "0":
        yield
        return
    work_dir = Path(config.work_dir)
    with exclusive(work_dir), _reserved_checkpoints(config):
        record = training_record(config)
        check_record(record, work_dir, resumes)
        write_json(work_dir / RECORD, record)
        yield


@contextlib.contextmanager
def _reserved_checkpoints(config: Config) -> Iterator[None]:
    """Reserve a local `out_dir`: MMEngine adds only the last part of the work directory's path to it."""
    hook = (config.get("default_hooks") or {}).get("checkpoint") or {}
    out_dir, work_dir = str(hook.get("out_dir") or config.work_dir), Path(config.work_dir).resolve()
    folder = Path(out_dir).resolve() / work_dir.name
    if "://" in out_dir or work_dir in (folder, Path(out_dir).resolve()):
        yield
        return
    with exclusive(folder):
        file = folder / OWNER
        if file.is_file() and (owner := Path(file.read_text())) != work_dir and owner.is_dir():
            raise ValueError(
                f"the checkpoints of {str(owner)!r} are in {str(folder)!r}, and would be overwritten: give another "
                "default_hooks.checkpoint.out_dir, or a --work-dir whose last part is another"
            )
        file.write_text(str(work_dir))
        yield


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[int]:
    """Lock a folder, or raise a BlockingIOError if another run holds it. Yields the lock's descriptor, which child
    processes may inherit and hold. The system frees the lock when its holders end, killed or not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a+")
    except OSError as error:
        reason = f"cannot be written to ({error.strerror}): name another by --work-dir"
        raise OSError(f"the folder {str(folder)!r} {reason}, or by out_dir of the checkpoint hook") from error
    with lock as file:
        deadline = time.monotonic() + PATIENCE
        while not _try_lock(file):
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
            if fcntl is not None:  # closing is not enough where workers of a loader still live, as in a notebook
                with contextlib.suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_UN)


def _try_lock(file: TextIO) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in NO_LOCKS
    return True
