"""Distil from Python, and use the student: `pcka_mmdet.distill(...)`, `pcka_mmdet.load_student(...)`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.config_text import GIVE_CONFIG, read_config
from pcka_mmdet.checkpoints.files import safe_loading
from pcka_mmdet.checkpoints.student import read_student, student_path
from pcka_mmdet.configuration.files import load_config
from pcka_mmdet.configuration.nested import replaced
from pcka_mmdet.engine.cfg_options import apply_common
from pcka_mmdet.engine.recipe import distillation_config
from pcka_mmdet.engine.runner import kept_checkpoints
from pcka_mmdet.engine.training import TrainingOptions, run_training
from pcka_mmdet.report.scalars import read_scalars, validation_records


@dataclass(frozen=True)
class Student:
    """A student that a training kept."""

    checkpoint: Path
    """A plain MMDetection checkpoint."""
    metrics: dict[str, float]
    """Metrics of its validation, by names like `bbox_mAP`; empty if it was not validated."""


@dataclass(frozen=True)
class Distilled:
    """The result of `distill`."""

    work_dir: Path
    best: Student | None
    """The best student on val, if the config has `save_best`."""
    last: Student | None
    """The student at the end; `None` if the config keeps only the best."""
    recipe: str
    """A sentence: which recipe was taken, and why."""

    @property
    def checkpoint(self) -> Path:
        """The file of the best student, or else of the last."""
        return (self.best or self.last).checkpoint

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics of that student."""
        return (self.best or self.last).metrics


def distill(
    student: str | Path,
    teacher: str | Path,
    teacher_ckpt: str | Path,
    work_dir: str | Path,
    recipe: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Distilled:
    """Train a student with a teacher, as `tools/train.py STUDENT --teacher TEACHER --teacher-ckpt FILE` does.

    Args:
        student: Config of the student: a file, or `'mmdet::...'`.
        teacher: Config of the teacher: a file, or `'mmdet::...'`.
        teacher_ckpt: File or URL of the teacher's weights.
        work_dir: Folder for logs and checkpoints.
        recipe: A key of `pcka_mmdet.models.recipes.RECIPES`; `None` chooses by `suitable_recipe` of
            `pcka_mmdet.engine.recipe`.
        cfg_options: Settings of the config: `{'train_cfg.max_epochs': 24}`.
        **options: See `pcka_mmdet.engine.training.TrainingOptions`.

    Raises:
        FileNotFoundError: A config, checkpoint or data file is missing.
        FloatingPointError: The loss is not finite.
        OSError: The work directory is in use or cannot be written to, or a download failed.
        TypeError: An option is none of `TrainingOptions`.
        ValueError: A config, the recipe, a setting or the work directory is refused.
    """
    sides = str(student), str(teacher), str(teacher_ckpt)
    cfg_options = replaced(dict(cfg_options or {}), str, Path)  # MMEngine writes a path as if it were code
    config, choice = distillation_config(*sides, recipe, cfg_options)
    config.launcher = "none"
    if config.get("visualizer"):
        config.visualizer.pop("name", None)  # a second training of that name would log into the first one's files
    apply_common(config, cfg_options, str(work_dir))
    with safe_loading():
        runner = run_training(config, TrainingOptions(**options), [choice])
    return Distilled(Path(work_dir), *_students(runner), choice)


def _students(runner: Runner) -> tuple[Student | None, Student | None]:
    """The best and the last student of a training, each with the metrics of its validation."""
    paths = kept_checkpoints(runner)
    if paths == (None, None):
        raise ValueError(f"{runner.work_dir!r} keeps no checkpoint: set default_hooks.checkpoint (interval, save_best)")
    files = [path and student_path(path) for path in paths]
    if any(file and not file.is_file() for file in files):
        hook = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
        raise ValueError(
            f"the checkpoint hook of {runner.work_dir!r}, {type(hook).__name__}, writes no student: use "
            "pcka_mmdet.StudentCheckpointHook, or `pcka-mmdet export CHECKPOINT`"
        )
    validations = validation_records(read_scalars(Path(runner.work_dir)))

    def student(file: Path | None) -> Student | None:
        step = file and re.search(r"\d+$", file.stem)  # the epoch or iteration
        return file and Student(file, validations.get(step and int(step[0]), {}))

    return student(files[0]), student(files[1])


def load_student(checkpoint: str | Path, config: str | Path | Config | None = None) -> BaseModel:
    """The student of a checkpoint, in evaluation mode: ready for `mmdet.apis.inference_detector(model, image)`.

    Args:
        checkpoint: File or URL of a checkpoint: the student's, a distillation's, or any of MMDetection's.
        config: Its config, or its path, for a checkpoint that holds none.

    Raises:
        FileNotFoundError: The checkpoint or the config is missing.
        ValueError: See `pcka_mmdet.checkpoints.student.read_student`; or the checkpoint holds no config.
    """
    config = load_config(str(config)) if isinstance(config, (str, Path)) else config
    content, model = read_student(str(checkpoint), config)
    if model is None:
        raise ValueError(f"there is no config in {str(checkpoint)!r}; {GIVE_CONFIG}")
    model.cfg = read_config(content["meta"]["cfg"])
    model.dataset_meta = content["meta"].get("dataset_meta", {})
    init_default_scope(model.cfg.get("default_scope") or "mmdet")  # for the pipeline of `inference_detector`
    return model.eval()
