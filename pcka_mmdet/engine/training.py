"""A training from its complete config to its end."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.resume import checkpoint_to_resume
from pcka_mmdet.configuration.distillation import is_fpn_distill
from pcka_mmdet.configuration.installed import releases
from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.configuration.sentence import warn
from pcka_mmdet.models.recipes import write_out_recipe
from pcka_mmdet.registry import HOOKS

from .checks import preflight
from .checks.teacher_check import check_teacher
from .extra_images import add_extra_images
from .hooks.console import FreshMetricsHook, shorten_console_lines
from .hooks.distillation import BalanceAdviceHook, SeparateClippingHook
from .hooks.nonfinite_loss import NonFiniteLossHook
from .hooks.similarity import SimilarityHook
from .hooks.student_checkpoint import StudentCheckpointHook
from .nonfinite import save_step
from .runner import build_runner, build_training_set, on_cpu
from .work_dir import reserved

EVERY_TRAINING = (NonFiniteLossHook, SimilarityHook, BalanceAdviceHook, SeparateClippingHook, FreshMetricsHook)
"""Hooks that `run_training` adds, with their default options, where a config has none of the kind."""


@dataclass(frozen=True)
class TrainingOptions:
    """Options of a training beside its config; each is an option of `tools/train.py`.

    Raises:
        ValueError: An option is of another kind.
    """

    amp: bool = False
    """Train in mixed precision."""
    auto_scale_lr: bool = False
    """Scale the learning rate to the total batch size; needs `auto_scale_lr` in the config."""
    resume: str | Path | None = None
    """A checkpoint; `'newest'` of the work directory; `'auto'`, which is that or a new training. `None` begins anew."""
    init_student: str | Path | None = None
    """Checkpoint that the student starts from."""
    allow_teacher_change: bool = False
    """Resume even if the teacher's file has changed."""
    check_teacher: int | None = None
    """First evaluate the teacher on so many validation images, and stop if its accuracy is too low."""
    extra: str | Path | None = None
    """Extra images: with a teacher's boxes as `FILE.json:FOLDER`, or a folder or list without labels."""
    extra_share: float = 0.5
    """Share of the extra images in each batch."""

    def __post_init__(self):
        if isinstance(self.resume, bool):
            raise ValueError(f"resume is a checkpoint, 'newest' or 'auto'; got {self.resume}: write resume='newest'")
        number = self.check_teacher
        if number is not None and (isinstance(number, bool) or number < 1):
            raise ValueError(f"check_teacher is a number of validation images; got {number}: write check_teacher=500")

    def apply(self, config: Config) -> None:
        """Change the config, in place; a ValueError says which option does not fit it. `extra` is not applied."""
        distils = is_fpn_distill(config)
        if distils:
            write_out_recipe(config.model)
        if self.amp:
            config.optim_wrapper.type = "pcka_mmdet.CpuAmpOptimWrapper" if on_cpu() else "AmpOptimWrapper"
            config.optim_wrapper.setdefault("loss_scale", "dynamic")
        if self.auto_scale_lr:
            if "base_batch_size" not in (config.get("auto_scale_lr") or {}):
                raise ValueError("--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config")
            config.auto_scale_lr.enable = True
        if self.init_student:
            if not distils:
                raise ValueError(
                    "--init-student is for distillations by FPNDistill. For a plain training write --cfg-options "
                    "load_from=FILE; for an algorithm of MMRazor set init_cfg of its architecture"
                )
            config.model.init_student = str(self.init_student)
        if distils:
            _drop_load_from(config)
        _log_to_files(config)
        _use_student_checkpoints(config, self.allow_teacher_change)
        if preflight.counts_iterations(config):
            _count_iterations(config)
        if distils and last_name(config.model.distiller.type) == "FPNDistiller":
            if config.model.get("balance") is None:
                config.model.balance = dict(ratio=None)  # constant weights: measured for the log and its warnings
            shorten_console_lines(config)


def _drop_load_from(config: Config) -> None:
    """Drop `load_from`: it would overwrite `init_student` and `inherit`."""
    given = [name for name in ("init_student", "inherit") if config.model.get(name)]
    if given and config.get("load_from") and not config.get("resume"):
        warn(f"load_from={config.load_from!r} is left out: it would be loaded over the weights of model.{given[0]}")
        config.load_from = None


def _log_to_files(config: Config) -> None:
    """Log into the work directory too, where the report, `--baseline` and `distill` read the log."""
    visualizer = config.get("visualizer") or {}
    backends = list(visualizer.get("vis_backends") or [])
    if visualizer and "LocalVisBackend" not in [last_name(backend["type"]) for backend in backends]:
        visualizer.vis_backends = [*backends, dict(type="LocalVisBackend")]


def _use_student_checkpoints(config: Config, allow_teacher_change: bool) -> None:
    """Replace MMEngine's checkpoint hook, unless it writes to a remote place; a hook of another class stays."""
    if config.get("default_hooks") is None:
        config.default_hooks = ConfigDict()
    hook, kind = config.default_hooks.setdefault("checkpoint", ConfigDict(type="CheckpointHook", interval=1)), None
    if hook:
        hook.setdefault("type", "CheckpointHook")
        remote = "://" in str(hook.get("out_dir")) or hook.get("backend_args") or hook.get("file_client_args")
        if not remote and last_name(hook.type) == "CheckpointHook":
            hook.type = "pcka_mmdet.StudentCheckpointHook"
        kind = HOOKS.get(hook.type) if isinstance(hook.type, str) else hook.type
    if allow_teacher_change and kind is not None and issubclass(kind, StudentCheckpointHook):
        hook.allow_teacher_change = True
    elif allow_teacher_change:
        warn(
            f"--allow-teacher-change changes nothing: default_hooks.checkpoint is {kind and kind.__name__}, and only "
            "StudentCheckpointHook compares the teacher's file with that of the checkpoint"
        )


def _count_iterations(config: Config) -> None:
    """Save checkpoints and log by iteration: MMEngine would save none before the end, and note epoch 0 or 1."""
    hooks = config.default_hooks
    logger = hooks.setdefault("logger", ConfigDict(type="LoggerHook"))
    if logger:
        logger.setdefault("log_metric_by_epoch", False)
    hook = hooks.checkpoint
    if hook and "by_epoch" not in hook:
        hook.by_epoch = False
        if hook.get("interval") == 1:  # MMDetection's default, an epoch; it would be every iteration
            hook.interval = config.train_cfg.get("val_interval", 1000)
    config.log_processor = {**(config.get("log_processor") or {}), "by_epoch": False}


def run_training(
    config: Config, options: TrainingOptions, notes: Sequence[str] = (), hooks: Sequence[Hook] = ()
) -> Runner:
    """Apply the options to a complete config, check it, and train. Log the notes; add the hooks to the config's.

    Raises:
        ConnectionError: Initial weights or data could not be downloaded.
        FloatingPointError: The loss is not finite. The step is saved.
        OSError: The work directory is in use or cannot be written to; a file is missing.
        ValueError: A check before the training fails.
    """
    options.apply(config)
    extra = add_extra_images(config, options.extra, options.extra_share)
    start = None if config.get("resume") else config.get("load_from")
    if options.resume:
        checkpoint = checkpoint_to_resume(str(options.resume), Path(config.work_dir))
        config.resume, config.load_from = checkpoint is not None, checkpoint or config.get("load_from")
    doubts = [*extra.doubts, *preflight.check_all(config)]
    preflight.log_doubts(doubts)
    with reserved(config, resumes=bool(config.get("resume"))):
        if options.check_teacher:
            check_teacher(config, options.check_teacher)
        try:
            return _train(config, [*notes, *extra.notes], doubts, hooks, start)
        except URLError as error:
            raise ConnectionError(preflight.download_advice(config, error.reason)) from error


def _train(config: Config, notes: Sequence[str], doubts: list[str], hooks: Sequence[Hook], start: str | None) -> Runner:
    """Train; a step whose loss is not finite is saved."""
    runner = build_runner(config)
    preflight.log_doubts(doubts)  # once more: now there is a log file
    if config.get("resume"):  # the config in the work directory begins a training, also after this one went on
        runner.cfg.update(resume=False, load_from=start)
        runner.dump_config()
    for note in (*notes, f"versions: {releases()}"):
        runner.logger.info(note)
    for kind in EVERY_TRAINING:
        if not any(isinstance(hook, kind) for hook in runner.hooks):
            runner.register_hook(kind())
    for hook in hooks:
        runner.register_hook(hook)
    build_training_set(runner)
    try:
        runner.train()
    except FloatingPointError as error:
        failed = next(hook for hook in runner.hooks if isinstance(hook, NonFiniteLossHook)).failed_step(runner)
        if failed is None:  # another process failed, and saves its step
            raise
        path = save_step(runner, failed)
        saved = f"Batch and weights are in {path}; `pcka-mmdet replay {path}` repeats the step"
        raise FloatingPointError(f"{error}. {saved}") from error
    return runner
