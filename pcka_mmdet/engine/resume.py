"""Where an interrupted training goes on."""

import logging
import zipfile
from pathlib import Path

from mmengine.logging import print_log


def checkpoint_to_resume(named: str, work_dir: Path) -> str | None:
    """What `--resume` means: a checkpoint by name, or with `'auto'` the newest of the work directory.

    Raises:
        SystemExit: The file is damaged, or all of the work directory are.
    """
    if named == "auto":
        newest = newest_whole_checkpoint(work_dir)
        return newest and str(newest)
    if Path(named).is_file() and not is_whole(Path(named)):
        raise SystemExit(f"{named!r} is not a whole checkpoint: name another, or none for the newest")
    return named


def newest_whole_checkpoint(work_dir: Path) -> Path | None:
    """The checkpoint that `last_checkpoint` names, or where that is damaged the newest that is whole.

    Args:
        work_dir: Of the training.

    Returns:
        `None` where there is none: the training starts from its beginning.

    Raises:
        SystemExit: There are checkpoints, and none is whole.
    """
    written = [*work_dir.glob("epoch_*.pth"), *work_dir.glob("iter_*.pth")]
    candidates = sorted(written, key=_number, reverse=True)
    pointer = work_dir / "last_checkpoint"
    named = work_dir / Path(pointer.read_text().strip()).name if pointer.is_file() else None
    if named in candidates:
        candidates.remove(named)
        candidates.insert(0, named)
    for path in candidates:
        if is_whole(path):
            return path
        print_log(f"{str(path)!r} is damaged: going back to the one before", "current", level=logging.WARNING)
    if candidates:
        raise SystemExit(
            f"no checkpoint in {str(work_dir)!r} is whole ({', '.join(path.name for path in candidates)}): delete them "
            "to start from the beginning, or name another by --resume CHECKPOINT"
        )
    return None


def _number(path: Path) -> int:
    """Epoch or iteration in a checkpoint's name; 0 where that is something else."""
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else 0


def is_whole(path: Path) -> bool:
    """Whether a checkpoint file is complete, by the checksums that torch writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError):
        return False
