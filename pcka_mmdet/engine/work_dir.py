"""The work directory of a training: it is writable, one training uses it at a time, and no other training owns it."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from pcka_mmdet.checkpoints.resume import check_record, training_record, write_record

from .lock import exclusive

OWNER = ".work_dir"
"""In a checkpoints' folder, the file that names the work directory."""

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
        ValueError: It holds another training, see `check_record`; or its checkpoints go to a folder (`out_dir`) that
            another work directory's go to.
    """
    if os.environ.get(RANKS.get(config.launcher, ""), "0") != "0":
        yield
        return
    work_dir = Path(config.work_dir)
    with exclusive(work_dir), _reserved_checkpoints(config):
        record = training_record(config)
        check_record(record, work_dir, resumes)
        write_record(record, work_dir)
        yield


@contextlib.contextmanager
def _reserved_checkpoints(config: Config) -> Iterator[None]:
    """Reserve the checkpoints' folder, if it is a local one of its own: MMEngine adds only the last part of the work
    directory's path to `out_dir`, which others may have too."""
    hook = (config.get("default_hooks") or {}).get("checkpoint") or {}
    out_dir, work_dir = str(hook.get("out_dir") or config.work_dir), Path(config.work_dir).resolve()
    folder = Path(out_dir).resolve() / work_dir.name
    if "://" in out_dir or work_dir in (folder, Path(out_dir).resolve()):
        yield
        return
    with exclusive(folder):
        owner = folder / OWNER
        if owner.is_file() and (other := Path(owner.read_text())) != work_dir and other.is_dir():
            raise ValueError(
                f"the checkpoints of {str(other)!r} are in {str(folder)!r}, and would be overwritten: give another "
                "default_hooks.checkpoint.out_dir, or a --work-dir whose last part is another"
            )
        owner.write_text(str(work_dir))
        yield
