"""Where an interrupted training goes on."""

import logging
import os
import pickle
import re
import zipfile
from pathlib import Path

import torch
from mmengine.logging import print_log

from .training_record import has_begun


def checkpoint_to_resume(named: str, work_dir: Path) -> str | None:
    """The checkpoint that `--resume` means.

    Args:
        named: A file or URL; or for the newest of the work directory `'newest'`, or `'auto'`, which begins a new
            training where there is none.
        work_dir: Of the training.

    Returns:
        `None` where the training starts from its beginning: one that was stopped before its first checkpoint too.

    Raises:
        SystemExit: The file is not there or damaged, or all of the work directory are; or no training began there.
    """
    if named in ("newest", "auto"):
        newest = newest_whole_checkpoint(work_dir)
        if newest is not None:
            return str(newest)
        if named == "newest" and not has_begun(work_dir):
            raise SystemExit(
                f"--resume: there is no checkpoint in {str(work_dir)!r}, and no training began there. Name its folder "
                "by --work-dir, or a checkpoint by --resume CHECKPOINT; for a new training leave --resume out, or "
                "write --resume auto, which begins one where there is none"
            )
        print_log(f"no checkpoint in {str(work_dir)!r} yet: starting from the beginning", "current")
        return None
    named = os.path.expanduser(named)
    if "://" not in named and not Path(named).is_file():
        raise SystemExit(
            f"--resume: there is no file {named!r} (the current directory is {Path.cwd()}); name another, or none for "
            "the newest in the work directory"
        )
    if "://" not in named and not is_whole(Path(named)):
        raise SystemExit(f"{named!r} is not a whole checkpoint: name another, or none for the newest")
    return named


def newest_whole_checkpoint(work_dir: Path) -> Path | None:
    """The checkpoint that `last_checkpoint` names, or where that is damaged or gone the newest beside it that is whole.

    Args:
        work_dir: Of the training; its checkpoints may lie elsewhere (`out_dir`) and have names of their own
            (`filename_tmpl`), which `last_checkpoint` shows.

    Returns:
        `None` where there is none: the training starts from its beginning.

    Raises:
        SystemExit: There are checkpoints, or there were, and none is whole.
    """
    pointer = work_dir / "last_checkpoint"
    text = pointer.read_text(errors="replace") if pointer.is_file() else ""  # also empty: killed while it was written
    named = Path(text.strip())
    folder, names = work_dir, [r"(epoch|iter)_\d+\.pth"]
    if named.name:
        names.append(re.sub(r"\d+", r"\\d+", re.escape(named.name)))
        moved = (work_dir / named.name).is_file() or not named.parent.is_dir()
        folder = work_dir if moved else named.parent
    written = [path for path in folder.glob("*") if re.fullmatch("|".join(names), path.name)]
    candidates = sorted(written, key=lambda path: (path.name == named.name, _number(path)), reverse=True)
    if named.name and not (folder / named.name).is_file():
        print_log(f"{str(pointer)!r} names {named.name!r}, which is gone", "current", level=logging.WARNING)
    for path in candidates:
        if is_whole(path):
            return path
        print_log(f"{str(path)!r} is damaged: going back to the one before", "current", level=logging.WARNING)
    if candidates or named.name:
        there_are = ", ".join(path.name for path in candidates) or "there are none"
        raise SystemExit(
            f"no checkpoint in {str(folder)!r} is whole ({there_are}): delete them and {str(pointer)!r} to start from "
            "the beginning, or name another by --resume CHECKPOINT"
        )
    return None


def _number(path: Path) -> int:
    """Epoch or iteration in a checkpoint's name; 0 where that is something else."""
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else 0


def is_whole(path: Path) -> bool:
    """Whether a checkpoint file is as it was written: its checksums are right, and torch can open it."""
    try:
        with zipfile.ZipFile(path) as archive:
            # torch writes no folders; where a damaged attribute says folder, it reads no array
            if archive.testzip() is not None or any(record.external_attr for record in archive.infolist()):
                return False
        torch.load(path, map_location="cpu", mmap=True)
    except pickle.UnpicklingError:
        return True  # as it was written, and whoever loads it is told which type torch refuses
    except Exception:  # zipfile and torch raise whatever a damaged length, name or flag leads to
        return False
    return True
