"""Write checkpoints that survive a kill, each with its student beside it, and load a student from any checkpoint."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.atomic_write import atomic_save, atomic_write, remove_scratch
from pcka_mmdet.checkpoints.backend import BACKEND
from pcka_mmdet.checkpoints.files import load_file
from pcka_mmdet.checkpoints.matching import load_what_fits, summarise
from pcka_mmdet.checkpoints.resume import is_intact
from pcka_mmdet.checkpoints.student import student_checkpoint, student_config, student_path, student_weights
from pcka_mmdet.configuration.distillation import STUDENT_CONFIG, self_contained
from pcka_mmdet.configuration.sentence import warn
from pcka_mmdet.registry import HOOKS

from ..runner import (
    RandomState,
    best_checkpoints,
    forget_initial_weights,
    fpn_distill,
    log_finished_training,
    random_state,
    resumed_checkpoint,
    set_random_state,
    unwrapped_model,
)


@HOOKS.register_module()
class StudentCheckpointHook(CheckpointHook):
    """MMEngine's checkpoint hook; its files survive a kill, and each has the student beside it as a plain checkpoint.

    `epoch_N.pth` resumes the distillation. `student_epoch_N.pth` is a plain MMDetection checkpoint with the student's
    config (see `pcka_mmdet.checkpoints.student`), which is also written to `student_config.py`. A plain detector has
    neither. Checkpoints hold the states of the random number generators, so that a resumed training draws the same
    numbers as an uninterrupted one, and the sha256 of the teacher's file.

    Args:
        allow_teacher_change: Resume even if the teacher's file has changed.
        **options: See `mmengine.hooks.CheckpointHook`; `out_dir` is a local folder.

    Raises:
        ValueError: An option is unknown. MMEngine's hook would raise when it saves the first checkpoint.
    """

    def __init__(self, *args: Any, allow_teacher_change: bool = False, **options: Any):
        known = {*signature(CheckpointHook).parameters, *signature(Runner.save_checkpoint).parameters}
        for name in options.keys() - known:
            close = difflib.get_close_matches(name, known, n=1)
            advice = f": did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"the checkpoint hook has no option {name!r}{advice}")
        super().__init__(*args, **{**options, "backend_args": dict(backend=BACKEND)})
        self.allow_teacher_change = allow_teacher_change
        self._resumed_state: RandomState | None = None
        self._state_before_validation: RandomState | None = None
        self._students: list[dict] | None = None  # of the checkpoints that this hook writes; None while another writes
        self._config: str | None = None  # the distillation's config as text, with the detectors' configs written out
        self._student_config: str | None = None

    def before_run(self, runner: Runner) -> None:
        forget_initial_weights(runner)

    def before_train(self, runner: Runner) -> None:
        """Remove partly written files, and write students that a kill prevented."""
        super().before_train(runner)
        log_finished_training(runner)
        self._keep_to_own_folder()
        if is_main_process():
            remove_scratch(Path(self.out_dir))
        if fpn_distill(runner) is not None:
            config = self_contained(runner.cfg)
            self._config, self._student_config = config.pretty_text, student_config(config).pretty_text
            if is_main_process():
                atomic_write(Path(self.out_dir) / STUDENT_CONFIG, self._student_config.encode())
                self._write_missing_students(resumed_checkpoint(runner))

    def _keep_to_own_folder(self) -> None:
        """Point MMEngine's record of the best checkpoints to this folder. After a copy or a move, the resumed
        checkpoint still names the old folder, and MMEngine would delete files there."""
        for key, path in best_checkpoints(self).items():
            path = str(Path(self.out_dir, Path(path).name))
            if len(self.key_indicators) == 1:
                self.best_ckpt_path = path
            else:
                self.best_ckpt_path_dict[key] = path

    def _write_missing_students(self, resumed: str | None) -> None:
        """Write missing students of the resumed and the best checkpoints; a kill may have come before them."""
        paths = map(Path, [resumed, *best_checkpoints(self).values()] if resumed else [])
        for path in paths:
            student = student_path(path)
            if path.parent.resolve() != Path(self.out_dir).resolve() or not path.is_file():
                continue
            is_stale = not student.exists() or student.stat().st_mtime < path.stat().st_mtime
            if is_stale and is_intact(path):
                atomic_save(student_checkpoint(load_file(str(path)), self._student_config), student)
                warn(f"{str(student)!r} was missing and has been written")

    # The content of a checkpoint, and its student.

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add random states, the whole config and the teacher's sha256; keep the student (EMAHook: its average)."""
        checkpoint["random_state"] = self._state_before_validation or random_state()
        model = fpn_distill(runner)
        if model is not None:
            checkpoint["meta"]["teacher_sha256"] = model.teacher_sha256
            if self._config:
                checkpoint["meta"]["cfg"] = self._config
            if is_main_process() and self._students is not None:
                self._students.append(student_checkpoint(checkpoint, self._student_config))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """When resuming, refuse a checkpoint that lacks training state, or is of another teacher or model."""
        if not runner._resume:
            return
        needed = ["message_hub", "optimizer", *(["param_schedulers"] if runner.param_schedulers else [])]
        lacking = [name for name in needed if name not in checkpoint]
        if lacking:
            raise ValueError(
                f"--resume: this checkpoint holds no {' and no '.join(lacking)}: resume from an epoch_N.pth, neither "
                "the best nor a student's, and leave save_optimizer and save_param_scheduler of the checkpoint hook on"
            )
        meta, model = checkpoint.get("meta", {}), unwrapped_model(runner)
        meta.pop("config", None)  # written by old MMCV; MMEngine would run it as Python
        before, now = meta.get("teacher_sha256"), getattr(model, "teacher_sha256", None)
        if before not in (None, now) and fpn_distill(runner) is not None and not self.allow_teacher_change:
            raise ValueError(
                f"the teacher's file has the sha256 {now}, but this training began with a teacher of {before}: give "
                "that file as model.teacher_ckpt, or --allow-teacher-change"
            )
        _, problems = load_what_fits(model, checkpoint["state_dict"])
        if problems:
            raise ValueError(
                f"the checkpoint is not of this training: {summarise(problems)}. Resume with the config that wrote it; "
                "to start a new training from its weights use --init-student"
            )
        if get_world_size() == 1:  # with several processes, only the first one's states are saved
            self._resumed_state = checkpoint.get("random_state")

    # Random numbers.

    def before_train_epoch(self, runner: Runner) -> None:
        """Restore the checkpoint's random states; hooks of higher priority have run."""
        if self._resumed_state is not None:
            set_random_state(self._resumed_state)
            self._resumed_state = None

    def before_val(self, runner: Runner) -> None:
        """Hold the random states: a resumed training does not repeat a validation, so none may change them."""
        self._state_before_validation = random_state()

    def after_val(self, runner: Runner) -> None:
        if self._state_before_validation is not None:
            set_random_state(self._state_before_validation)
            self._state_before_validation = None

    # The order of writing and removing files.

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._writing() as students:
            super()._save_checkpoint_with_step(runner, step, meta)
            for student in students:
                atomic_save(student, student_path(self.last_ckpt))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        wanted = self.key_indicators if self.save_best and metrics else ()
        absent = [name for name in wanted if name != "auto" and name not in metrics]
        if absent:
            evaluator, slash, _ = absent[0].rpartition("/")
            if slash and evaluator not in {name.rpartition("/")[0] for name in metrics}:
                warn(f"no best checkpoint is saved: the validation gives no {absent[0]}, as if nothing were detected")
                return
            raise ValueError(
                f"save_best={absent[0]!r} of the checkpoint hook: the validation gives {sorted(metrics)}. Write one of "
                "these, or 'auto', and go on by --resume"
            )
        with self._writing() as students:
            before = {_identity(path) for path in best_checkpoints(self).values()}
            super()._save_best_checkpoint(runner, metrics)
            written = [path for path in best_checkpoints(self).values() if _identity(path) not in before]
            for path, student in zip(written, students, strict=False):
                atomic_save(student, student_path(path))

    @contextmanager
    def _writing(self) -> Iterator[list[dict]]:
        """Collect the students of the checkpoints that are written in the context; remove replaced files at its end."""
        self._students = []
        try:
            with self.file_backend.removals_last():
                yield self._students
        finally:
            self._students = None


def _identity(path: str) -> tuple[str, int] | None:
    """A file and its inode, which an atomic write changes; `None` if it is not there."""
    return (path, Path(path).stat().st_ino) if Path(path).is_file() else None


@HOOKS.register_module()
class StudentWeightsHook(Hook):
    """Takes the student's weights from any checkpoint, and refuses one that does not hold them in full.

    MMEngine would load what fits, even if that is nothing, and only warn.
    """

    priority = "VERY_HIGH"  # before EMAHook reads the checkpoint

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model = runner.model
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        weights = student_weights(checkpoint.get("state_dict", checkpoint))
        _, problems = load_what_fits(model, weights)
        if problems:
            raise ValueError(
                f"the checkpoint is not of this config's {type(model).__name__}: {summarise(problems)}. Give the "
                "checkpoint of this config, of its student, or of its distillation"
            )
        checkpoint["state_dict"] = weights
