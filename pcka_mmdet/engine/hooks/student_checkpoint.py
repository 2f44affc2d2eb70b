"""Checkpoints that survive a kill, each with its student beside it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner, find_latest_checkpoint

from pcka_mmdet.checkpoints.atomic_write import BACKEND, atomic_save, remove_scratch
from pcka_mmdet.checkpoints.files import load_what_fits, summarise
from pcka_mmdet.checkpoints.student import student_checkpoint, student_config
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.registry import HOOKS

from ..random_state import RandomState, random_state, set_random_state
from ..runner import unwrapped_model


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

    def before_run(self, runner: Runner) -> None:
        """A training that resumes needs nothing that its student started from."""
        model = unwrapped_model(runner)
        resumes = runner._resume and (runner._load_from or find_latest_checkpoint(runner.work_dir))
        if resumes and isinstance(model, FPNDistill):
            model.init_student, model.inherit = None, []

    def before_train(self, runner: Runner) -> None:
        """Begin where a killed training may have stopped in the middle of a file."""
        super().before_train(runner)
        if is_main_process():
            remove_scratch(Path(self.out_dir))
        if isinstance(unwrapped_model(runner), FPNDistill):
            self._config = student_config(runner.cfg).pretty_text

    # What goes into a checkpoint, and what is made of it.

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add random states and the teacher's sha256, and take the student: of an average, what was averaged."""
        checkpoint["random_state"] = self._state_before_validation or random_state()
        model = unwrapped_model(runner)
        if isinstance(model, FPNDistill):
            checkpoint["meta"]["teacher_sha256"] = model.teacher_sha256
            if is_main_process() and self._students is not None:
                self._students.append(student_checkpoint(checkpoint, self._config))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Where a training resumes: refuse a checkpoint that is not its own.

        Raises:
            ValueError: The teacher is another one, or a key is missing, unexpected or of another shape.
        """
        if not runner._resume:
            return
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


def student_path(checkpoint: str | Path) -> Path:
    """Where the student of a checkpoint goes: `student_epoch_3.pth` beside `epoch_3.pth`."""
    path = Path(checkpoint)
    return path.with_name(f"student_{path.name}")
