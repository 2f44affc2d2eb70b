"""The record of a work directory's training: its config, in a hidden file beside the checkpoints."""

import json
import logging
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from pcka_mmdet.configuration.distillation import teachers_of, write_out_sides
from pcka_mmdet.configuration.nested import leaves

from .atomic_write import write_json
from .matching import summarise

RECORD = ".training.json"

MAY_DIFFER = ("work_dir", "resume", "launcher")
"""Settings that may differ between two starts of one training."""


def training_record(config: Config) -> dict:
    """A training's config in JSON types, with the model dicts of its detectors in place of files.

    Raises:
        FileNotFoundError: A detector's config does not exist.
        KeyError: The config has no model.
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


def write_record(record: dict, work_dir: Path) -> None:
    """Write a training's record into its work directory."""
    write_json(work_dir / RECORD, record)


def check_record(record: dict, work_dir: Path, resumes: bool) -> None:
    """Refuse to overwrite a training's checkpoints, or to resume from another's.

    A new training overwrites no checkpoints, not even those of the same config. A resumed one may change its length,
    data paths, hooks and numbers, but not the types of model, detectors and losses, and not the classes. Weights of
    other shapes are refused when they are loaded.

    Args:
        record: The record of the training that is about to start.
        work_dir: Its work directory. One without checkpoints, or one that MMDetection's own tools wrote, is accepted.
        resumes: Whether it resumes from a checkpoint.

    Raises:
        ValueError: The folder belongs to another training, or a new one would overwrite its checkpoints.
    """
    if not has_begun(work_dir) or not ((work_dir / "last_checkpoint").exists() or any(work_dir.glob("*.pth"))):
        return
    before = json.loads((work_dir / RECORD).read_text())
    if resumes:
        _warn_of_what_stays(before, record)
    view = _identity if resumes else leaves
    old, new = view(before), view(record)
    differing = _differing(old, new)
    if resumes and not differing:
        return
    if not differing:
        raise ValueError(
            f"the work directory {str(work_dir)!r} holds checkpoints of this training, which would be overwritten: to "
            "go on from them write --resume, to train anew give another --work-dir, or delete that one"
        )
    if resumes:
        changes = summarise([f"{key} was {old.get(key)!r} and is {new.get(key)!r}" for key in differing])
        raise ValueError(
            f"--resume: the work directory {str(work_dir)!r} holds another training: {changes}. Resume with the config "
            "that is kept there, or give this training a --work-dir of its own"
        )
    raise ValueError(
        f"the work directory {str(work_dir)!r} holds checkpoints of another config, which would be overwritten; what "
        f"differs: {summarise(differing)}. Give another --work-dir, or delete that one; to go on from its checkpoints "
        "write --resume"
    )


def _warn_of_what_stays(before: dict, record: dict) -> None:
    """Name the settings that a resumed training takes from its checkpoint, though they have changed."""
    if changed := _differing(_optimisation(before), _optimisation(record)):
        print_log(
            "optimizer and schedules of a resumed training are those of its checkpoint, so these changes do nothing: "
            f"{', '.join(changed)}",
            "current",
            level=logging.WARNING,
        )


def _differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The names of settings that are not the same in both."""
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
