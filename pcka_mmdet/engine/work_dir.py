"""The work directory of a training: it is writable, one training uses it at a time, and no other training owns it."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from pcka_mmdet.checkpoints.training_record import check_record, training_record, write_record

from .lock import exclusive

RANKS = {"pytorch": "RANK", "slurm": "SLURM_PROCID", "mpi": "OMPI_COMM_WORLD_RANK"}
"""The environment variable that holds a process's rank under each launcher, before there is a process group."""


def check_work_dir(config: Config) -> None:
    """Refuse a work directory that cannot be written to.

    Raises:
        OSError: The folder, or a file in it, cannot be made.
    """
    try:
        Path(config.work_dir).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=config.work_dir):
            pass
    except OSError as error:
        raise OSError(
            f"the work directory {config.work_dir!r} cannot be written to ({error.strerror}): name another by "
            "--work-dir"
        ) from error


@contextlib.contextmanager
def reserved(config: Config, resumes: bool) -> Iterator[None]:
    """Reserve a work directory for a training while the context lasts; only the first process does so.

    Args:
        config: The training's.
        resumes: Whether it resumes from a checkpoint.

    Raises:
        BlockingIOError: Another run uses the folder.
        ValueError: It holds another training; see `check_record`.
    """
    if os.environ.get(RANKS.get(config.launcher, ""), "0") != "0":
        yield
        return
    work_dir = Path(config.work_dir)
    with exclusive(work_dir):
        record = training_record(config)
        check_record(record, work_dir, resumes)
        write_record(record, work_dir)
        yield
