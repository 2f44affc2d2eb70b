"""Checkpoints that survive a kill, each with its student beside it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.atomic_write import BACKEND, atomic_save, remove_scratch
from pcka_mmdet.checkpoints.files import load_file, load_what_fits, summarise
from pcka_mmdet.checkpoints.resume import is_whole
from pcka_mmdet.checkpoints.student import student_checkpoint, student_config
from pcka_mmdet.configuration.detector import self_contained
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.registry import HOOKS

from ..random_state import RandomState, random_state, set_random_state
from ..runner import forget_initial_weights, resumed_checkpoint, unwrapped_model


@HOOKS.register_module()
class StudentCheckpointHook(CheckpointHook):
    """MMEngine's checkpoint hook, with files that survive a kill and the student of each as a plain checkpoint.

    Besides `epoch_N.pth` (or `best_....pth`), which resumes the distillation, there is `student_epoch_N.pth`: plain
    MMDetection's, with the student's own config (see `pcka_mmdet.checkpoints.student`). A plain detector's checkpoints
    are plain already, so there is no second file. Checkpoints also hold the state of the random number generators and
    the sha256 of the teacher's file.

    Args:
        allow_teacher_change: Resume although the teacher's file is another one than before.
        **options: See `mmengine.hooks.CheckpointHook`; `out_dir` is a local folder.
    """

    def __init__(self, *args, allow_teacher_change: bool = False, **options):
        super().__init__(*args, **{**options, "backend_args": dict(backend=BACKEND)})
        self.allow_teacher_change = allow_teacher_change
        self._resumed_state: RandomState | None = None
        self._state_before_validation: RandomState | None = None
        self._students: list[dict] | None = None
        """Of the checkpoints that this hook is writing; `None` while another one writes."""
        self._config: str | None = None
        """The distillation's, which needs no other file."""
        self._student_config: str | None = None

    def before_run(self, runner: Runner) -> None:
        """A training that resumes needs nothing that its student started from."""
        forget_initial_weights(runner)

    def before_train(self, runner: Runner) -> None:
        """Begin where a killed training may have stopped: between two files, or in the middle of one."""
        super().before_train(runner)
        self._keep_to_own_folder()
        if is_main_process():
            remove_scratch(Path(self.out_dir))
        if isinstance(unwrapped_model(runner), FPNDistill):
            config = self_contained(runner.cfg)
            self._config, self._student_config = config.pretty_text, student_config(config).pretty_text
            if is_main_process():
                self._write_missing_students(resumed_checkpoint(runner))

    def _keep_to_own_folder(self) -> None:
        """Look for the best checkpoints here: the resumed one names them where they were before a copy or a move, and
        MMEngine removes what is no longer the best."""
        for key, path in zip(self.key_indicators if self.save_best else (), self._best()):
            if path is None:
                continue
            path = self.file_backend.join_path(self.out_dir, Path(path).name)
            if len(self.key_indicators) == 1:
                self.best_ckpt_path = path
            else:
                self.best_ckpt_path_dict[key] = path

    def _write_missing_students(self, resumed: str | None) -> None:
        """Write the students that the checkpoints lack with which a training goes on: a kill came between the two."""
        if resumed is None:
            return
        for path in map(Path, filter(None, [resumed, *self._best()])):
            if path.parent.resolve() == Path(self.out_dir).resolve() and _lacks_student(path):
                student = student_path(path)
                atomic_save(student_checkpoint(load_file(str(path)), self._student_config), student)
                print_log(f"{str(student)!r} was missing and has been written", "current", level=logging.WARNING)

    # What goes into a checkpoint, and what is made of it.

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add random states, the whole config and the teacher's sha256, and take the student: under EMAHook, the
        averaged one."""
        checkpoint["random_state"] = self._state_before_validation or random_state()
        model = unwrapped_model(runner)
        if isinstance(model, FPNDistill):
            checkpoint["meta"]["teacher_sha256"] = model.teacher_sha256
            if self._config:
                checkpoint["meta"]["cfg"] = self._config
            if is_main_process() and self._students is not None:
                self._students.append(student_checkpoint(checkpoint, self._student_config))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Where a training resumes: refuse a checkpoint that is not its own.

        Raises:
            ValueError: The teacher is another one, or a key is missing, unexpected or of another shape.
        """
        if not runner._resume:
            return
        checkpoint.get("meta", {}).pop("config", None)  # of MMCV's days: MMEngine would run it as Python
        model = unwrapped_model(runner)
        if isinstance(model, FPNDistill):
            self._check_teacher(model, checkpoint.get("meta", {}))
        _, problems = load_what_fits(model, checkpoint["state_dict"])
        problems = [problem for problem in problems if "num_batches_tracked" not in problem]
        if problems:
            raise ValueError(
                f"the checkpoint is not of this training: {summarise(problems)}. Resume with the config that wrote it; "
                "to start a new training from its weights use --init-student"
            )
        if get_world_size() == 1:  # of several processes only the first one's states are kept
            self._resumed_state = checkpoint.get("random_state")

    def _check_teacher(self, model: FPNDistill, meta: dict) -> None:
        before, now = meta.get("teacher_sha256"), model.teacher_sha256
        if before is not None and before != now and not self.allow_teacher_change:
            raise ValueError(
                f"the teacher's file has the sha256 {now}, and this training began with a teacher of {before}: give "
                "that file as model.teacher_ckpt, or --allow-teacher-change"
            )

    # Random numbers: a resumed training draws what the other would have drawn.

    def before_train_epoch(self, runner: Runner) -> None:
        """Go on with the random states of the checkpoint, which last of all hooks are set."""
        if self._resumed_state is not None:
            set_random_state(self._resumed_state)
            self._resumed_state = None

    def before_val(self, runner: Runner) -> None:
        """A validation, which a resumed training does not repeat, leaves no trace in the random numbers."""
        self._state_before_validation = random_state()

    def after_val(self, runner: Runner) -> None:
        """See `before_val`."""
        if self._state_before_validation is not None:
            set_random_state(self._state_before_validation)
            self._state_before_validation = None

    # The order of things: write, then remove.

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._writing() as students:
            super()._save_checkpoint_with_step(runner, step, meta)
            for student in students:
                atomic_save(student, student_path(self.last_ckpt))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._writing() as students:
            before = self._best()
            super()._save_best_checkpoint(runner, metrics)
            written = [path for path, old in zip(self._best(), before, strict=True) if path != old]
            for path, student in zip(written, students, strict=False):
                atomic_save(student, student_path(path))

    @contextmanager
    def _writing(self) -> Iterator[list[dict]]:
        """Collect the students of the checkpoints that are written within; what they replace is removed at the end."""
        self._students = []
        try:
            with self.file_backend.removals_last() as removed:
                yield self._students
        finally:
            self._students = None
        for path in removed:
            if not path.exists():
                student_path(path).unlink(missing_ok=True)

    def _best(self) -> list[str | None]:
        """The best checkpoint of each metric."""
        if not self.save_best:
            return []
        if len(self.key_indicators) == 1:
            return [self.best_ckpt_path]
        return [self.best_ckpt_path_dict.get(key) for key in self.key_indicators]


def allow_teacher_change(config: Config) -> None:
    """Let a training resume with another teacher's file; where no hook compares the files, say so."""
    hook = config.default_hooks.checkpoint
    kind = HOOKS.get(hook.type) if hook and isinstance(hook.type, str) else hook and hook.type
    if kind and issubclass(kind, StudentCheckpointHook):
        hook.allow_teacher_change = True
        return
    print_log(
        f"--allow-teacher-change changes nothing: default_hooks.checkpoint is {kind and kind.__name__}, and "
        "StudentCheckpointHook alone compares the teacher's file with that of the checkpoint",
        "current",
        level=logging.WARNING,
    )


def student_path(checkpoint: str | Path) -> Path:
    """Where the student of a checkpoint goes: `student_epoch_3.pth` beside `epoch_3.pth`."""
    path = Path(checkpoint)
    return path.with_name(f"student_{path.name}")


def _lacks_student(checkpoint: Path) -> bool:
    """Whether the student of a checkpoint is missing, or is of an older training."""
    student = student_path(checkpoint)
    if not checkpoint.is_file() or (student.exists() and student.stat().st_mtime >= checkpoint.stat().st_mtime):
        return False
    return is_whole(checkpoint)
