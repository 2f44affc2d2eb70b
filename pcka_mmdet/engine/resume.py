"""Where an interrupted training goes on."""

import logging
import re
import zipfile
from pathlib import Path

from mmengine.logging import print_log


def checkpoint_to_resume(named: str, work_dir: Path) -> str | None:
    """What `--resume` means: a checkpoint by name, or with `'auto'` the newest of the work directory.

    Raises:
        SystemExit: The file is not there or damaged, or all of the work directory are.
    """
    if named == "auto":
        newest = newest_whole_checkpoint(work_dir)
        return newest and str(newest)
    if "://" not in named and not Path(named).is_file():
        raise SystemExit(
            f"--resume: there is no file {named!r} (the current directory is {Path.cwd()}); name another, or none for "
            "the newest in the work directory"
        )
    if "://" not in named and not is_whole(Path(named)):
        raise SystemExit(f"{named!r} is not a whole checkpoint: name another, or none for the newest")
    return named


def newest_whole_checkpoint(work_dir: Path) -> Path | None:
    """The checkpoint that `last_checkpoint` names, or where that is damaged the newest that is whole.

    Args:
        work_dir: Of the training; its checkpoints may lie elsewhere (`out_dir`) and have names of their own
            (`filename_tmpl`), which `last_checkpoint` shows.

    Returns:
        `None` where there is none: the training starts from its beginning.

    Raises:
        SystemExit: There are checkpoints, and none is whole, or that which `last_checkpoint` names is gone.
    """
    patterns, folders = {"epoch_*.pth", "iter_*.pth"}, {work_dir}
    pointer, named = work_dir / "last_checkpoint", None
    if pointer.is_file() and pointer.read_text().strip():  # empty: killed between opening and writing
        named = Path(pointer.read_text().strip())
        if not named.is_file():
            named = work_dir / named.name  # the folder was moved
        folders.add(named.parent)
        patterns.add(re.sub(r"\d+", "*", named.name))
    written = {path for folder in folders for pattern in patterns for path in folder.glob(pattern)}
    candidates = sorted(written, key=lambda path: (path == named, _number(path)), reverse=True)
    for path in candidates:
        if is_whole(path):
            return path
        print_log(f"{str(path)!r} is damaged: going back to the one before", "current", level=logging.WARNING)
    if candidates:
        raise SystemExit(
            f"no checkpoint in {str(candidates[0].parent)!r} is whole ({', '.join(path.name for path in candidates)}): "
            "delete them to start from the beginning, or name another by --resume CHECKPOINT"
        )
    if named is not None:
        raise SystemExit(
            f"{str(pointer)!r} names a checkpoint {named.name!r}, which is not there: name another by --resume "
            "CHECKPOINT, or delete that file to start from the beginning"
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
