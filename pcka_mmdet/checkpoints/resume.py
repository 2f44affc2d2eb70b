"""Find the checkpoint that an interrupted training resumes from."""

import logging
import os
import pickle
import re
import zipfile
from pathlib import Path

import torch
from mmengine.logging import print_log

from .file_kind import trouble_of_file
from .files import is_missing, refuse_folder
from .training_record import has_begun

POINTER = "last_checkpoint"
"""MMEngine's file in a work directory that names the newest checkpoint."""


def checkpoint_to_resume(named: str, work_dir: Path) -> str | None:
    """The checkpoint that `--resume` stands for.

    Args:
        named: A file or URL; `'newest'` for the newest checkpoint of the work directory; or `'auto'`, which begins a
            new training if there is none.
        work_dir: The training's.

    Returns:
        `None` if the training starts from the beginning, for example if it was killed before its first checkpoint.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: It is damaged, all checkpoints of the work directory are damaged, no training began there, or its
            only checkpoint is the best one.
    """
    if named in ("newest", "auto"):
        pointer = _pointed_at(work_dir)
        newest = pointer if "://" in pointer else newest_intact_checkpoint(work_dir)
        if newest is not None:
            return str(newest)
        if named == "newest" and not has_begun(work_dir):
            raise ValueError(
                f"--resume: there is no checkpoint in {str(work_dir)!r}, and no training began there. Name its folder "
                "by --work-dir, or a checkpoint by --resume CHECKPOINT; for a new training leave --resume out, or "
                "write --resume auto, which begins one where there is none"
            )
        best = best_checkpoint(work_dir)
        if named == "newest" and best is not None:
            raise ValueError(
                f"--resume: {best.name!r} is the only checkpoint in {str(work_dir)!r}, and it has no state of "
                "the optimizer to go on from. Train anew without --resume in another --work-dir; "
                "default_hooks.checkpoint.interval=1 keeps checkpoints to resume from"
            )
        print_log(f"no checkpoint in {str(work_dir)!r} yet: starting from the beginning", "current")
        return None
    named = os.path.expanduser(named)
    refuse_folder(named, "--resume")
    if is_missing(named):
        raise FileNotFoundError(
            f"--resume: there is no file {named!r} (the current directory is {Path.cwd()}); name another, or none for "
            "the newest in the work directory"
        )
    if "://" not in named and not is_intact(Path(named)):
        trouble = trouble_of_file(Path(named))
        what = trouble.what if trouble else "damaged"
        raise ValueError(f"--resume: {named!r} is {what}: name another checkpoint, or none for the newest")
    return named


def best_checkpoint(work_dir: Path) -> Path | None:
    """The newest checkpoint that `save_best` kept; `None` if there is none."""
    return max(work_dir.glob("best_*.pth"), key=lambda path: path.stat().st_mtime, default=None)


def newest_intact_checkpoint(work_dir: Path) -> Path | None:
    """The checkpoint that `last_checkpoint` names; if that is damaged or gone, the newest intact one beside it.

    Args:
        work_dir: The training's. Its `last_checkpoint` tells the folder (`out_dir`) and the names (`filename_tmpl`) of
            checkpoints.

    Returns:
        `None` if there is none.

    Raises:
        ValueError: There are checkpoints, or `last_checkpoint` names one, and none is intact.
    """
    pointer, named = work_dir / POINTER, Path(_pointed_at(work_dir))
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
        if is_intact(path):
            return path
        print_log(f"{str(path)!r} is damaged: going back to the one before", "current", level=logging.WARNING)
    if candidates or named.name:
        there_are = ", ".join(path.name for path in candidates) or "there are none"
        raise ValueError(
            f"no checkpoint in {str(folder)!r} is intact ({there_are}): delete them and {str(pointer)!r} to start from "
            "the beginning, or name another by --resume CHECKPOINT"
        )
    return None


def _pointed_at(work_dir: Path) -> str:
    """What `last_checkpoint` says: a file or URL; empty without one, or if it was killed while it was written."""
    pointer = work_dir / POINTER
    return pointer.read_text(errors="replace").strip() if pointer.is_file() else ""


def _number(path: Path) -> int:
    """The epoch or iteration in a checkpoint's name; 0 if there is none."""
    digits = path.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else 0


def is_intact(path: Path) -> bool:
    """Whether a checkpoint file is undamaged: its checksums are right, and torch can open it."""
    try:
        if trouble_of_file(path) is not None or not zipfile.is_zipfile(path):
            return False
        torch.load(str(path), map_location="cpu", mmap=True)  # torch 2.1 takes no Path here
    except pickle.UnpicklingError:
        return True  # undamaged; the loader reports which type torch refuses
    except Exception:  # torch raises many kinds of errors for damaged lengths, names or flags
        return False
    return True
