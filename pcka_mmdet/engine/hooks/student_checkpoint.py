"""Checkpoints that survive a kill, each with its student beside it."""

import difflib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.atomic_write import atomic_save, atomic_write, remove_scratch
from pcka_mmdet.checkpoints.backend import BACKEND
from pcka_mmdet.checkpoints.files import load_file
from pcka_mmdet.checkpoints.matching import load_what_fits, summarise
from pcka_mmdet.checkpoints.resume import is_intact
from pcka_mmdet.checkpoints.student import student_checkpoint, student_config, student_path
from pcka_mmdet.configuration.distillation import STUDENT_CONFIG, self_contained
from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.registry import HOOKS

from ..runner import (
    RandomState,
    forget_initial_weights,
    random_state,
    resumed_checkpoint,
    say_what_is_done,
    set_random_state,
    unwrapped_model,
)


@HOOKS.register_module()
class StudentCheckpointHook(CheckpointHook):
    """MMEngine's checkpoint hook; its files survive a kill, and each has the student beside it as a plain checkpoint.

    `epoch_N.pth` (or `best_....pth`) resumes the distillation. `student_epoch_N.pth` is a plain MMDetection checkpoint
    with the student's own config (see `pcka_mmdet.checkpoints.student`), and `student_config.py` is that config, for
    tools that want a file. Neither is written for a plain detector.
    Checkpoints also hold the states of the random number generators and the sha256 of the teacher's file.

    Args:
        allow_teacher_change: Resume even if the teacher's file has changed.
        **options: See `mmengine.hooks.CheckpointHook`; `out_dir` is a local folder.

    Raises:
        ValueError: There is no such option. MMEngine's hook would find that out when it saves the first checkpoint.
    """

    def __init__(self, *args: Any, allow_teacher_change: bool = False, **options: Any):
        known = [
            name for function in (CheckpointHook, Runner.save_checkpoint) for name in signature(function).parameters
        ]
        for name in options.keys() - known:
            close = difflib.get_close_matches(name, known, n=1)
            advice = f": did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"the checkpoint hook has no option {name!r}{advice}")
        super().__init__(*args, **{**options, "backend_args": dict(backend=BACKEND)})
        self.allow_teacher_change = allow_teacher_change
        self._resumed_state: RandomState | None = None
        self._state_before_validation: RandomState | None = None
        self._students: list[dict] | None = None
        """Students of the checkpoints that this hook is writing; `None` while another hook writes."""
        self._config: str | None = None
        """The distillation's config as text; it needs no other file."""
        self._student_config: str | None = None

    def before_run(self, runner: Runner) -> None:
        """A resumed training does not load the student's initial weights."""
        forget_initial_weights(runner)

    def before_train(self, runner: Runner) -> None:
        """Remove partly written files, and write students that a kill prevented."""
        super().before_train(runner)
        say_what_is_done(runner)
        self._keep_to_own_folder()
        if is_main_process():
            remove_scratch(Path(self.out_dir))
        if isinstance(unwrapped_model(runner), FPNDistill):
            config = self_contained(runner.cfg)
            self._config, self._student_config = config.pretty_text, student_config(config).pretty_text
            if is_main_process():
                atomic_write(Path(self.out_dir) / STUDENT_CONFIG, self._student_config.encode())
                self._write_missing_students(resumed_checkpoint(runner))

    def _keep_to_own_folder(self) -> None:
        """Point MMEngine's record of the best checkpoints to this folder. After a copy or a move, the resumed
        checkpoint still names the old folder, and MMEngine would delete files there."""
        for key, path in zip(self.key_indicators if self.save_best else (), self._best()):
            if path is None:
                continue
            path = self.file_backend.join_path(self.out_dir, Path(path).name)
            if len(self.key_indicators) == 1:
                self.best_ckpt_path = path
            else:
                self.best_ckpt_path_dict[key] = path

    def _write_missing_students(self, resumed: str | None) -> None:
        """Write missing students of the resumed and the best checkpoints; a kill may have come before them."""
        if resumed is None:
            return
        for path in map(Path, filter(None, [resumed, *self._best()])):
            if path.parent.resolve() == Path(self.out_dir).resolve() and _lacks_student(path):
                student = student_path(path)
                atomic_save(student_checkpoint(load_file(str(path)), self._student_config), student)
                print_log(f"{str(student)!r} was missing and has been written", "current", level=logging.WARNING)

    # The content of a checkpoint, and its student.

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add random states, the whole config and the teacher's sha256; keep the student's weights (under EMAHook, the
        averaged ones)."""
        checkpoint["random_state"] = self._state_before_validation or random_state()
        model = unwrapped_model(runner)
        if isinstance(model, FPNDistill):
            checkpoint["meta"]["teacher_sha256"] = model.teacher_sha256
            if self._config:
                checkpoint["meta"]["cfg"] = self._config
            if is_main_process() and self._students is not None:
                self._students.append(student_checkpoint(checkpoint, self._student_config))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """When resuming, refuse another training's checkpoint, and one that no training can go on from.

        Raises:
            ValueError: The teacher's file differs; a key is missing, unexpected or of another shape; or there is no
                state of the optimizer, the schedules or the log.
        """
        if not runner._resume:
            return
        needed = ["message_hub", "optimizer", *(["param_schedulers"] if runner.param_schedulers else [])]
        lacking = [name for name in needed if name not in checkpoint]
        if lacking:
            raise ValueError(
                f"--resume: this checkpoint holds no {' and no '.join(lacking)} to go on from: resume from an "
                "epoch_N.pth. The best one and a student's never hold them; others do by default "
                "(default_hooks.checkpoint.save_optimizer, save_param_scheduler)"
            )
        checkpoint.get("meta", {}).pop("config", None)  # written by old MMCV; MMEngine would run it as Python
        model = unwrapped_model(runner)
        if isinstance(model, FPNDistill):
            self._check_teacher(model, checkpoint.get("meta", {}))
        _, problems = load_what_fits(model, checkpoint["state_dict"])
        if problems:
            raise ValueError(
                f"the checkpoint is not of this training: {summarise(problems)}. Resume with the config that wrote it; "
                "to start a new training from its weights use --init-student"
            )
        if get_world_size() == 1:  # with several processes, only the first one's states are saved
            self._resumed_state = checkpoint.get("random_state")

    def _check_teacher(self, model: FPNDistill, meta: dict) -> None:
        before, now = meta.get("teacher_sha256"), model.teacher_sha256
        if before is not None and before != now and not self.allow_teacher_change:
            raise ValueError(
                f"the teacher's file has the sha256 {now}, but this training began with a teacher of {before}: give "
                "that file as model.teacher_ckpt, or --allow-teacher-change"
            )

    # Random numbers: a resumed training draws the same ones as an uninterrupted one.

    def before_train_epoch(self, runner: Runner) -> None:
        """Restore the checkpoint's random states, after all other hooks have run."""
        if self._resumed_state is not None:
            set_random_state(self._resumed_state)
            self._resumed_state = None

    def before_val(self, runner: Runner) -> None:
        """Hold the random states: a resumed training does not repeat a validation, so none may change them."""
        self._state_before_validation = random_state()

    def after_val(self, runner: Runner) -> None:
        """See `before_val`."""
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
                message = f"no best checkpoint is saved: the validation gives no {absent[0]}"
                print_log(f"{message}, as if nothing were detected", "current", level=logging.WARNING)
                return
            raise ValueError(
                f"save_best={absent[0]!r} of the checkpoint hook: the validation gives {sorted(metrics)}. Write one of "
                "these, or 'auto', and go on by --resume"
            )
        with self._writing() as students:
            before = {_identity(path) for path in self._best()}
            super()._save_best_checkpoint(runner, metrics)
            written = [path for path in self._best() if _identity(path) not in before]
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

    def _best(self) -> list[str | None]:
        """The best checkpoint of each metric."""
        if not self.save_best:
            return []
        if len(self.key_indicators) == 1:
            return [self.best_ckpt_path]
        return [self.best_ckpt_path_dict.get(key) for key in self.key_indicators]


def use_student_checkpoints(config: Config, allow_teacher_change: bool = False) -> None:
    """Replace MMEngine's checkpoint hook by `StudentCheckpointHook`, in place.

    A hook that writes to a remote place, and a hook of the user's own, stay.

    Args:
        config: Of a training.
        allow_teacher_change: Whether the training may resume with another teacher's file. Where no hook compares the
            files, a warning says so.
    """
    if config.get("default_hooks") is None:
        config.default_hooks = ConfigDict()
    hook = config.default_hooks.setdefault("checkpoint", ConfigDict(type="CheckpointHook"))
    kind = None
    if hook:
        hook.setdefault("type", "CheckpointHook")
        remote = "://" in str(hook.get("out_dir")) or hook.get("backend_args") or hook.get("file_client_args")
        if not remote and last_name(hook.type) == "CheckpointHook":
            hook.type = "pcka_mmdet.StudentCheckpointHook"
        kind = HOOKS.get(hook.type) if isinstance(hook.type, str) else hook.type
    if not allow_teacher_change:
        return
    if kind is not None and issubclass(kind, StudentCheckpointHook):
        hook.allow_teacher_change = True
        return
    print_log(
        f"--allow-teacher-change changes nothing: default_hooks.checkpoint is {kind and kind.__name__}, and "
        "StudentCheckpointHook alone compares the teacher's file with that of the checkpoint",
        "current",
        level=logging.WARNING,
    )


def _identity(path: str | None) -> tuple[str, int] | None:
    """A file and its inode, which an atomic write changes; `None` if it is not there."""
    return (path, Path(path).stat().st_ino) if path is not None and Path(path).is_file() else None


def _lacks_student(checkpoint: Path) -> bool:
    """Whether a checkpoint's student is missing, or older than the checkpoint."""
    student = student_path(checkpoint)
    if not checkpoint.is_file() or (student.exists() and student.stat().st_mtime >= checkpoint.stat().st_mtime):
        return False
    return is_intact(checkpoint)
