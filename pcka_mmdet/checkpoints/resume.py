"""Resuming: the record of a work directory's training, and the checkpoint that a training goes on from."""

import json
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from pcka_mmdet.configuration.distillation import teachers_of, write_out_sides
from pcka_mmdet.configuration.nested import leaves
from pcka_mmdet.configuration.sentence import warn

from .file_kind import trouble_of_file
from .files import is_missing, refuse_folder
from .matching import summarise

POINTER = "last_checkpoint"
"""MMEngine's file in a work directory that names the newest checkpoint."""

RECORD = ".training.json"
"""The file in a work directory with its training's config."""

MAY_DIFFER = ("work_dir", "resume", "launcher")
"""Settings that may differ between two starts of one training."""


def checkpoint_to_resume(named: str, work_dir: Path) -> str | None:
    """The checkpoint that `--resume` stands for; `None` if the training was killed before its first one.

    Args:
        named: A file or URL; `'newest'` for the newest checkpoint of the work directory; or `'auto'`, which begins a
            new training if there is none.

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
        if named == "newest":
            _refuse_lost_start(work_dir)
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


def _refuse_lost_start(work_dir: Path) -> None:
    """Refuse to begin a training in a folder where none began, or where the best checkpoint is left."""
    if not has_begun(work_dir):
        raise ValueError(
            f"--resume: there is no checkpoint in {str(work_dir)!r}, and no training began there. Name its folder "
            "by --work-dir, or a checkpoint by --resume CHECKPOINT; for a new training leave --resume out, or "
            "write --resume auto, which begins one where there is none"
        )
    if best := best_checkpoint(work_dir):
        raise ValueError(
            f"--resume: {best.name!r} is the only checkpoint in {str(work_dir)!r}, and it has no state of "
            "the optimizer to go on from. Train anew without --resume in another --work-dir; "
            "default_hooks.checkpoint.interval=1 keeps checkpoints to resume from"
        )


def best_checkpoint(work_dir: Path) -> Path | None:
    """The newest checkpoint that `save_best` kept; `None` if there is none."""
    return max(work_dir.glob("best_*.pth"), key=lambda path: path.stat().st_mtime, default=None)


def newest_intact_checkpoint(work_dir: Path) -> Path | None:
    """The checkpoint that `last_checkpoint` names; if that is damaged or gone, the newest intact one beside it.

    It is `None` if there is none. `last_checkpoint` also gives the folder (`out_dir`) and the names (`filename_tmpl`).

    Raises:
        ValueError: There are checkpoints, or `last_checkpoint` names one, and none is intact.
    """
    pointer, named = work_dir / POINTER, Path(_pointed_at(work_dir))
    folder, names = work_dir, [r"(epoch|iter)_\d+\.pth"]
    if named.name:
        names.append(re.sub(r"\d+", r"\\d+", re.escape(named.name)))
        was_moved = (work_dir / named.name).is_file() or not named.parent.is_dir()
        folder = work_dir if was_moved else named.parent
    written = [path for path in folder.glob("*") if re.fullmatch("|".join(names), path.name)]
    candidates = sorted(written, key=lambda path: (path.name == named.name, _number(path)), reverse=True)
    if named.name and not (folder / named.name).is_file():
        warn(f"{str(pointer)!r} names {named.name!r}, which is gone")
    for path in candidates:
        if is_intact(path):
            return path
        warn(f"{str(path)!r} is damaged: going back to the one before")
    if candidates or named.name:
        there_are = ", ".join(path.name for path in candidates) or "there are none"
        raise ValueError(
            f"no checkpoint in {str(folder)!r} is intact ({there_are}): delete them and {str(pointer)!r} to start from "
            "the beginning, or name another by --resume CHECKPOINT"
        )
    return None


def _pointed_at(work_dir: Path) -> str:
    """The file or URL in `last_checkpoint`; empty without one, or if MMEngine was killed while it wrote it."""
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


def training_record(config: Config) -> dict:
    """A training's config in JSON types, with the model dicts of its detectors in place of files.

    Raises:
        FileNotFoundError: A detector's config does not exist.
        ValueError: The config of a detector has no model.
    """
    content = {key: value for key, value in config.to_dict().items() if key not in MAY_DIFFER}
    if config.get("resume"):
        content.pop("load_from", None)  # the checkpoint to resume, not the initial weights
    write_out_sides(content["model"])
    # through JSON text, so that it equals the record that is read back: lists for tuples, strings as keys
    return json.loads(json.dumps(content, default=lambda value: getattr(value, "__qualname__", type(value).__name__)))


def has_begun(work_dir: Path) -> bool:
    """Whether a training began in a folder, with or without a checkpoint."""
    return (work_dir / RECORD).is_file()


def check_record(record: dict, work_dir: Path, resumes: bool) -> None:
    """Refuse to overwrite a training's checkpoints, or to resume from another's.

    A new training overwrites no checkpoints, not even those of the same config. A resumed one may change its length,
    data paths, hooks and numbers, but not the types of model, detectors and losses, and not the classes. Loading
    refuses weights whose shapes differ.

    A folder without checkpoints, or one that MMDetection's tools wrote, is accepted. `record` is of the training that
    is about to start.

    Raises:
        ValueError: The folder belongs to another training, or a new one would overwrite its checkpoints.
    """
    if not has_begun(work_dir) or not ((work_dir / POINTER).exists() or any(work_dir.glob("*.pth"))):
        return
    before, folder = json.loads((work_dir / RECORD).read_text()), str(work_dir)
    if resumes:
        _check_resumed(before, record, folder)
    elif names := differing(leaves(before), leaves(record)):
        raise ValueError(
            f"the work directory {folder!r} holds checkpoints of another config, which would be overwritten; what "
            f"differs: {summarise(names)}. Give another --work-dir, or delete that one; to go on from its checkpoints "
            "write --resume"
        )
    else:
        raise ValueError(
            f"the work directory {folder!r} holds checkpoints of this training, which would be overwritten: to "
            "go on from them write --resume, to train anew give another --work-dir, or delete that one"
        )


def _check_resumed(before: dict, record: dict, work_dir: str) -> None:
    """Refuse to resume another training, and warn of changes that do nothing."""
    if names := differing(_optimisation(before), _optimisation(record)):
        warn(
            "optimizer and schedules of a resumed training are those of its checkpoint, so these changes do nothing: "
            f"{', '.join(names)}"
        )
    old, new = _identity(before), _identity(record)
    if names := differing(old, new):
        changes = summarise([f"{name} was {old.get(name)!r} and is {new.get(name)!r}" for name in names])
        raise ValueError(
            f"--resume: the work directory {work_dir!r} holds another training: {changes}. Resume with the config "
            "that is kept there, or give this training another --work-dir"
        )


def differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The names of settings that differ."""
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _optimisation(record: dict) -> dict[str, Any]:
    """The settings of optimizer and schedules."""
    optimizer = (record.get("optim_wrapper") or {}).get("optimizer")
    return leaves({"optimizer": optimizer, "param_scheduler": record.get("param_scheduler")})


def _identity(record: dict) -> dict[str, Any]:
    """The settings that identify a training; see `check_record`."""
    model = record["model"]
    distiller = model.get("distiller") or {}
    losses = distiller.get("losses") or distiller.get("distill_losses") or {}
    data = leaves(record.get("train_dataloader") or {})
    return {
        **{f"model.{part}.type": model[part].get("type") for part in ("architecture", "teacher") if model.get(part)},
        "teachers": [teacher["type"] for teacher, _ in teachers_of(model)] if model.get("teachers") else None,
        **{f"model.distiller.losses.{name}.type": loss.get("type") for name, loss in losses.items() if loss},
        "model.type": model.get("type"),
        "classes": [value for key, value in data.items() if key.endswith("metainfo.classes")],
    }
