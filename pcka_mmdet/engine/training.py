"""A training from its complete config to its end."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from pcka_mmdet.checkpoints.resume import checkpoint_to_resume
from pcka_mmdet.configuration.distillation import is_fpn_distill
from pcka_mmdet.configuration.installed import releases
from pcka_mmdet.configuration.nested import last_name
from pcka_mmdet.models.recipes import write_out_recipe

from .checks import preflight
from .checks.teacher_check import check_teacher
from .hooks import BalanceAdviceHook, FreshMetricsHook, NonFiniteLossHook, SeparateClippingHook, SimilarityHook
from .hooks.student_checkpoint import use_student_checkpoints
from .log_processor import shorten_console_lines
from .nonfinite import save_step
from .runner import build_runner, build_training_set, on_cpu
from .work_dir import check_work_dir, reserved


@dataclass(frozen=True)
class TrainingOptions:
    """Options of a training besides its config; each is an option of `tools/train.py`.

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

    def __post_init__(self):
        if isinstance(self.resume, bool):
            raise ValueError(f"resume is a checkpoint, 'newest' or 'auto'; got {self.resume}: write resume='newest'")
        number = self.check_teacher
        if number is not None and (isinstance(number, bool) or number < 1):
            raise ValueError(f"check_teacher is a number of validation images; got {number}: write check_teacher=500")

    def apply(self, config: Config) -> None:
        """Change the config, in place.

        Raises:
            ValueError: An option does not fit the config.
        """
        if is_fpn_distill(config):
            write_out_recipe(config.model)
        if self.amp:
            config.optim_wrapper.type = "pcka_mmdet.CpuAmpOptimWrapper" if on_cpu() else "AmpOptimWrapper"
            config.optim_wrapper.setdefault("loss_scale", "dynamic")
        if self.auto_scale_lr:
            if "base_batch_size" not in (config.get("auto_scale_lr") or {}):
                raise ValueError("--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config")
            config.auto_scale_lr.enable = True
        if self.init_student:
            if not is_fpn_distill(config):
                raise ValueError(
                    "--init-student is for distillations by FPNDistill. For a plain training write --cfg-options "
                    "load_from=FILE; for an algorithm of MMRazor set init_cfg of its architecture"
                )
            config.model.init_student = str(self.init_student)
        _drop_weights_that_would_be_loaded_over(config)
        _log_to_files(config)
        use_student_checkpoints(config, self.allow_teacher_change)
        _count_iterations(config)
        if is_fpn_distill(config) and last_name(config.model.distiller.type) == "FPNDistiller":
            if config.model.get("balance") is None:
                config.model.balance = dict(ratio=None)  # constant weights: measured for the log and its warnings
            shorten_console_lines(config)


def _drop_weights_that_would_be_loaded_over(config: Config) -> None:
    """MMEngine loads `load_from` when the student has the weights that it was to start from."""
    given = [name for name in ("init_student", "inherit") if is_fpn_distill(config) and config.model.get(name)]
    if given and config.get("load_from") and not config.get("resume"):
        print_log(
            f"load_from={config.load_from!r} is left out: it would be loaded over the weights of model.{given[0]}",
            "current",
            level=logging.WARNING,
        )
        config.load_from = None


def _count_iterations(config: Config) -> None:
    """In a training by iterations, save checkpoints and log by iteration, too: MMEngine would save none before the
    end, and note epoch 0 or 1."""
    if not preflight.counts_iterations(config):
        return
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


def _log_to_files(config: Config) -> None:
    """Log into the work directory, too, where the config names other backends alone: the report, `--baseline` and
    `distill` read the log there."""
    visualizer = config.get("visualizer") or {}
    backends = list(visualizer.get("vis_backends") or [])
    if visualizer and "LocalVisBackend" not in [last_name(backend["type"]) for backend in backends]:
        visualizer.vis_backends = [*backends, dict(type="LocalVisBackend")]


def run_training(
    config: Config, options: TrainingOptions, notes: Sequence[str] = (), hooks: Sequence[Hook] = ()
) -> Runner:
    """Check the config, and train.

    Args:
        config: The complete config; it is changed.
        options: Options.
        notes: Lines for the log.
        hooks: Hooks besides the config's.

    Returns:
        The runner, after the training.

    Raises:
        ConnectionError: Initial weights or data could not be downloaded.
        FloatingPointError: The loss is not finite. The step is saved.
        OSError: The work directory is in use or cannot be written to; a file is missing.
        ValueError: What is wrong, and what to do. Other errors are raised as they are.
    """
    options.apply(config)
    start = None if config.get("resume") else config.get("load_from")
    if options.resume:
        checkpoint = checkpoint_to_resume(str(options.resume), Path(config.work_dir))
        config.resume, config.load_from = checkpoint is not None, checkpoint or config.get("load_from")
    preflight.check_all(config)
    check_work_dir(config)
    with reserved(config, resumes=bool(config.get("resume"))):
        if options.check_teacher:
            check_teacher(config, options.check_teacher)
        return _train(config, notes, hooks, start)


def _train(config: Config, notes: Sequence[str], hooks: Sequence[Hook], start: str | None) -> Runner:
    try:
        runner = build_runner(config)
        if config.get("resume"):  # the config in the work directory begins a training, also after this one went on
            runner.cfg.update(resume=False, load_from=start)
            runner.dump_config()
        for note in (*notes, f"versions: {releases()}"):
            runner.logger.info(note)
        hook = _registered(runner, NonFiniteLossHook)
        for kind in (SimilarityHook, BalanceAdviceHook, SeparateClippingHook, FreshMetricsHook):
            _registered(runner, kind)
        for more in hooks:
            runner.register_hook(more)
        build_training_set(runner)
        _run(runner, hook)
    except URLError as error:
        raise ConnectionError(preflight.download_advice(config, error.reason)) from error
    return runner


def _run(runner: Runner, hook: NonFiniteLossHook) -> None:
    """Train, and save the step whose loss is not finite."""
    try:
        runner.train()
    except FloatingPointError as error:
        failed = hook.failed_step(runner)
        if failed is None:  # another process failed, and saves its step
            raise
        path = save_step(runner, failed)
        raise FloatingPointError(
            f"{error}. Batch and weights are in {path}; `pcka-mmdet replay {path}` (tools/replay_nonfinite.py) "
            "repeats the step"
        ) from error


def _registered(runner: Runner, kind: type[Hook]) -> Hook:
    """The runner's hook of that kind: the config's, else one with its default options."""
    hook = next((hook for hook in runner.hooks if isinstance(hook, kind)), None)
    if hook is None:
        hook = kind()
        runner.register_hook(hook)
    return hook
