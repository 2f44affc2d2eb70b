"""Checks of a config that `train` makes before it builds anything."""

from collections.abc import Iterable
from math import inf
from pathlib import Path

from mmengine.config import Config

from pcka_mmdet.checkpoints.files import SCHEME, is_missing, read_weights, refuse_folder, weights_url
from pcka_mmdet.configuration.data_set import by_place, data_set_class, innermost
from pcka_mmdet.configuration.distillation import is_distillation, is_fpn_distill, student_model, teachers_of
from pcka_mmdet.configuration.nested import last_name, walk
from pcka_mmdet.configuration.sentence import warn

from ..cfg_options import doubtful_names
from .annotations import check_annotations
from .installation import check_operators

STRATEGIES = ("DDPStrategy", "SingleDeviceStrategy")
"""MMEngine's strategies that do not shard the model."""

START_FROM = (
    "give a file (--cfg-options model.backbone.init_cfg.checkpoint=FILE), or start from random weights "
    "(--cfg-options model.backbone.init_cfg=None)"
)


def check_weights(config: Config) -> None:
    """Refuse missing checkpoints (teachers, `load_from`, `init_cfg`), and a `load_from` that is damaged or empty."""
    for number, (_, path) in enumerate(teachers_of(config.model) if is_fpn_distill(config) else ()):
        option = f"model.teachers.{number}.ckpt" if config.model.get("teachers") else "model.teacher_ckpt"
        if path is None:
            raise ValueError(
                f"{option} is left out: name the teacher's checkpoint in the config or by --cfg-options "
                f"{option}=FILE_OR_URL; for random weights write 'random'"
            )
        if path != "random":
            _refuse_missing(path, option, f"name a file or a URL in {option}, or by --teacher-ckpt")
    start = str(config.get("load_from") or "")
    if start:
        _refuse_missing(start, "load_from", "give a file or a URL")
        if "://" not in start and not config.get("resume"):
            read_weights(start, "load_from")  # MMEngine would load nothing from an empty one without a word
    for key, value in walk(student_model(config)):
        if key == "checkpoint":
            _refuse_missing(str(value), "the checkpoint of init_cfg", START_FROM)
            if str(value).startswith(SCHEME):
                weights_url(value)


def _refuse_missing(path: str, option: str, advice: str) -> None:
    refuse_folder(path, option)
    if is_missing(path):
        raise FileNotFoundError(f"{option} {path!r} does not exist (the current directory is {Path.cwd()}): {advice}")


def check_settings(config: Config) -> None:
    """Refuse a strategy, an optimizer's constructor and hooks that would fail late or do nothing."""
    strategy = last_name(config.strategy.type) if config.get("strategy") else STRATEGIES[0]
    if is_distillation(config) and strategy not in STRATEGIES:
        raise ValueError(
            f"{strategy} does not distil: it shards the model, and the teacher is not part of it. Write "
            f"{' or '.join(STRATEGIES)}, or leave out strategy and runner_type"
        )
    constructor = last_name((config.get("optim_wrapper") or {}).get("constructor", ""))
    if is_distillation(config) and constructor.startswith("LearningRateDecay"):
        raise ValueError(
            f"optim_wrapper.constructor: {constructor} looks for names that begin with 'backbone', and the student's "
            "begin with 'architecture.backbone': it would decay no learning rate. Write "
            "optim_wrapper.constructor='DefaultOptimWrapperConstructor', also for the student without a teacher"
        )
    given = config.get("custom_hooks") or []
    if not isinstance(given, (list, tuple)) or not all(isinstance(hook, dict) and hook.get("type") for hook in given):
        raise ValueError(f"custom_hooks is a list of hooks, such as [dict(type='EMAHook')]; got {given}")
    hooks = [last_name(hook["type"]) for hook in given]
    if "YOLOXModeSwitchHook" in hooks and is_distillation(config) and not is_fpn_distill(config):
        raise ValueError(
            f"YOLOXModeSwitchHook does not find the head of a {config.model.type}: the training would fail "
            "num_last_epochs before its end. Distil by pcka_mmdet.FPNDistill, or leave the hook out of custom_hooks"
        )
    if "StopDistillHook" in hooks and counts_iterations(config):
        raise ValueError(
            "StopDistillHook counts epochs, and this training counts iterations, so it would never stop: write "
            "dict(type='pcka_mmdet.LossScheduleHook', stop=ITERATION) in custom_hooks"
        )


def check_schedule(config: Config) -> None:
    """Refuse a one-cycle schedule that is shorter than the training: its last step fails."""
    loop, by_epoch = config.get("train_cfg") or {}, not counts_iterations(config)
    unit, length = ("epochs", loop.get("max_epochs")) if by_epoch else ("iterations", loop.get("max_iters"))
    for place, scheduler in by_place(config, "param_scheduler").items():
        steps = scheduler.get("total_steps")
        is_one_cycle = last_name(scheduler.get("type", "")).startswith("OneCycle")
        if not is_one_cycle or steps is None or length is None or scheduler.get("by_epoch", True) != by_epoch:
            continue
        needed = min(length, scheduler.get("end", inf) - 1) - scheduler.get("begin", 0)
        if steps < needed:
            raise ValueError(
                f"{place}.total_steps is {steps}, and in {length} {unit} this one-cycle schedule would take {needed} "
                f"steps and fail: write --cfg-options {place}.total_steps={needed}"
            )


def counts_iterations(config: Config) -> bool:
    """Whether a training counts iterations, not epochs."""
    loop = config.get("train_cfg") or {}
    return not loop.get("by_epoch", True) or last_name(loop.get("type", "")) == "IterBasedTrainLoop"


def download_advice(config: Config, reason: object) -> str:
    """What to do if `reason` stopped a download: of data that their class downloads (CIFAR), or of initial weights."""
    dataset = innermost(config.train_dataloader.dataset)
    kind, root = data_set_class(dataset, config.get("default_scope")), dataset.get("data_root")
    archive = getattr(kind, "filename", None)
    if archive is None or (Path(root or "") / getattr(kind, "base_folder", "")).is_dir():
        text = f"weights that the config names cannot be downloaded ({reason}). Without a network, {START_FROM}"
        return f"{text}; make demo-bccd takes WEIGHTS=FILE"
    text = f"the data set {kind.__name__} is not in {str(root)!r}, and cannot be downloaded ({reason})"
    return f"{text}. Without a network, put {archive} there: it is at {kind.url}"


CHECKS = {
    "weights": check_weights,
    "strategy, optimizer and hooks": check_settings,
    "learning rate schedule": check_schedule,
    "annotations and classes": check_annotations,
    "names of settings": doubtful_names,
}
"""Checks by subject. They return a list of doubts or `None`, and raise `ValueError` or `FileNotFoundError`."""


def check_all(config: Config) -> list[str]:
    """The doubts of `CHECKS`. Raises what they and `check_operators` raise."""
    check_operators()
    return [doubt for check in CHECKS.values() for doubt in check(config) or []]


def log_doubts(doubts: Iterable[str]) -> None:
    """Log each doubt as a warning."""
    for doubt in doubts:
        warn(doubt)
