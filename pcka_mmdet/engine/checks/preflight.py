"""Errors that can be found before a training starts, and how to fix them."""

import logging
from math import inf
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from pcka_mmdet.checkpoints.files import SCHEME, is_missing, read_weights, refuse_folder, weights_url
from pcka_mmdet.configuration.data_set import data_set_class, innermost
from pcka_mmdet.configuration.distillation import is_distillation, is_fpn_distill, student_model, teachers_of
from pcka_mmdet.configuration.nested import last_name, walk

from ..cfg_options import doubtful_names
from .annotations import check_annotations, log_doubts

STRATEGIES = ("DDPStrategy", "SingleDeviceStrategy")
"""MMEngine's strategies that do not shard the model."""

START_FROM = (
    "give a file (init_cfg=dict(type='Pretrained', checkpoint=FILE), or --cfg-options "
    "model.backbone.init_cfg.checkpoint=FILE), or start from random weights (model.backbone.init_cfg=None)"
)
"""What to do where initial weights are missing."""


def check_teacher_checkpoint(config: Config) -> None:
    """Refuse a distillation whose teacher would have random weights, or whose checkpoint is missing.

    Raises:
        FileNotFoundError: It names a local file that does not exist.
        ValueError: `teacher_ckpt` is left out.
    """
    if not is_fpn_distill(config):
        return
    for number, (_, path) in enumerate(teachers_of(config.model)):
        option = f"model.teachers.{number}.ckpt" if config.model.get("teachers") else "model.teacher_ckpt"
        if path is None:
            raise ValueError(
                f"{option} is left out, so the teacher would have random weights. Name its checkpoint in the config or "
                f"by --cfg-options {option}=FILE_OR_URL; for random weights write 'random'"
            )
        refuse_folder(path, option)
        if path != "random" and is_missing(path):
            raise FileNotFoundError(
                f"there is no teacher's checkpoint at {path!r} (the current directory is {Path.cwd()}): name a file or "
                f"a URL in {option}, or by --teacher-ckpt"
            )


def check_strategy(config: Config) -> None:
    """Refuse to distil with a strategy that shards the model.

    Raises:
        ValueError: The strategy of a `FlexibleRunner` is not in `STRATEGIES`.
    """
    name = last_name(config.strategy.type) if config.get("strategy") else STRATEGIES[0]
    if is_distillation(config) and name not in STRATEGIES:
        raise ValueError(
            f"{name} does not distil: the teacher is not part of the model that it shards, so it would stay "
            f"on the CPU, and checkpoints would hold only parts of the student. Write {' or '.join(STRATEGIES)}, or "
            "leave out strategy and runner_type"
        )


def counts_iterations(config: Config) -> bool:
    """Whether a training counts iterations, not epochs."""
    loop = config.get("train_cfg") or {}
    return not loop.get("by_epoch", True) or last_name(loop.get("type", "")) == "IterBasedTrainLoop"


def check_hooks(config: Config) -> None:
    """Refuse hooks that are no list, and hooks that would fail late, or do nothing.

    Raises:
        ValueError: `custom_hooks` is no list of dicts; there is a `YOLOXModeSwitchHook`, and the model is neither a
            detector nor an `FPNDistill`; or there is a `StopDistillHook`, and the training counts iterations.
    """
    given = config.get("custom_hooks") or []
    if not isinstance(given, (list, tuple)) or not all(isinstance(hook, dict) and hook.get("type") for hook in given):
        raise ValueError(f"custom_hooks is a list of hooks, such as [dict(type='EMAHook')]; got {given}")
    hooks = [last_name(hook["type"]) for hook in given]
    if "YOLOXModeSwitchHook" in hooks and is_distillation(config) and not is_fpn_distill(config):
        raise ValueError(
            "YOLOXModeSwitchHook looks for the head at model.bbox_head or model.detector.bbox_head, and "
            f"{config.model.type} has neither: the training would fail num_last_epochs before its end. Distil with "
            "pcka_mmdet.FPNDistill, or leave the hook out of custom_hooks"
        )
    if "StopDistillHook" in hooks and counts_iterations(config):
        raise ValueError(
            "StopDistillHook counts epochs, and this training counts iterations, so it would never stop: write "
            "dict(type='pcka_mmdet.LossScheduleHook', stop=ITERATION) in custom_hooks"
        )


def check_optimizer(config: Config) -> None:
    """Refuse to distil with an optimizer constructor that knows a backbone's layers by the names of its parameters.

    Raises:
        ValueError: The constructor decays the learning rate by layers.
    """
    name = last_name((config.get("optim_wrapper") or {}).get("constructor", ""))
    if is_distillation(config) and name.startswith("LearningRateDecay"):
        raise ValueError(
            f"optim_wrapper.constructor: {name} looks for parameters whose names begin with 'backbone', and the "
            "student's begin with 'architecture.backbone': it would decay no learning rate. Train with "
            "optim_wrapper.constructor='DefaultOptimWrapperConstructor', the student alone too"
        )


def check_schedule(config: Config) -> None:
    """Refuse a one-cycle schedule that is shorter than the training: its last step fails.

    Raises:
        ValueError: `total_steps` is below the training's epochs or iterations.
    """
    loop = config.get("train_cfg") or {}
    unit, length = (
        ("iterations", loop.get("max_iters")) if counts_iterations(config) else ("epochs", loop.get("max_epochs"))
    )
    given = config.get("param_scheduler") or []
    for number, scheduler in enumerate(given if isinstance(given, (list, tuple)) else [given]):
        steps, by_epoch = scheduler.get("total_steps"), scheduler.get("by_epoch", True)
        one_cycle = last_name(scheduler.get("type", "")).startswith("OneCycle")
        if not one_cycle or steps is None or length is None or by_epoch != (unit == "epochs"):
            continue
        needed = min(length, scheduler.get("end", inf) - 1) - scheduler.get("begin", 0)
        if steps < needed:
            place = f"param_scheduler.{number}" if isinstance(given, (list, tuple)) else "param_scheduler"
            raise ValueError(
                f"{place}.total_steps is {steps}, and in {length} {unit} this one-cycle schedule would take {needed} "
                f"steps and fail: write --cfg-options {place}.total_steps={needed}"
            )


def check_balance(config: Config) -> None:
    """Refuse ratios of a balance that are no numbers.

    Raises:
        ValueError: A ratio is text, or of another type.
    """
    balance = config.model.get("balance") if is_fpn_distill(config) else None
    ratio = balance.get("ratio") if isinstance(balance, dict) else None
    given = ratio.values() if isinstance(ratio, dict) else [ratio]
    if any(isinstance(value, bool) or not isinstance(value, (int, float, type(None))) for value in given):
        raise ValueError(
            "model.balance.ratio is a number of 0 or more, such as 1.0, or numbers by name of the loss, such as "
            f"dict(head=1.0); got {ratio!r}"
        )


def check_operators(config: Config | None = None) -> None:
    """Refuse to train on a GPU with an MMCV that was built without CUDA, whatever the config.

    Raises:
        ValueError: torch sees a GPU, and mmcv has no CUDA operators.
    """
    if not torch.cuda.is_available():
        return
    from mmcv.ops import get_compiling_cuda_version

    if get_compiling_cuda_version() == "not available":
        raise ValueError(
            "torch sees a GPU but mmcv has no CUDA operators (NMS, RoIAlign ...), so training would fail at the first "
            "of them. Either build mmcv with the CUDA toolkit that matches torch (FORCE_CUDA=1, see "
            "docs/install.md), or train on the CPU by CUDA_VISIBLE_DEVICES=''"
        )


def try_operators(device: str) -> None:
    """Run NMS, and RoIAlign forward and backward, on tiny inputs.

    Raises:
        RuntimeError: The operators do not run on that device.
    """
    from mmcv import ops

    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]], device=device)
    ops.nms(boxes, torch.ones(1, device=device), 0.5)
    maps = torch.ones(1, 1, 4, 4, device=device, requires_grad=True)
    rois = torch.cat([torch.zeros(1, 1, device=device), boxes], 1)
    ops.RoIAlign(2, 1.0)(maps, rois).sum().backward()


def check_pretrained_weights(config: Config) -> None:
    """Refuse initial weights in a missing or damaged file, and `torchvision://` names that are not known.

    Raises:
        FileNotFoundError: The config starts from a missing file, or loads or resumes one.
        ValueError: There is no model of that name in torchvision; `load_from` is a folder, or holds no weights.
    """
    start = str(config.get("load_from") or "")
    refuse_folder(start, "load_from")
    if start and is_missing(start):
        raise FileNotFoundError(f"load_from: there is no file at {start!r} (the current directory is {Path.cwd()})")
    if start and "://" not in start and not config.get("resume"):
        read_weights(start, "load_from")  # MMEngine would load nothing from an empty one without a word
    for weights in (str(value) for key, value in walk(student_model(config)) if key == "checkpoint"):
        if weights.startswith(SCHEME) and weights_url(weights) is None:
            raise ValueError(
                f"the model starts from {weights!r}, which neither an installed torchvision nor MMEngine's list knows: "
                f"install the torchvision that has it, {START_FROM}"
            )
        if is_missing(weights):
            raise FileNotFoundError(
                f"the model starts from {weights!r}, and there is no such file (the current directory is "
                f"{Path.cwd()}): {START_FROM}"
            )


def download_advice(config: Config, reason: object) -> str:
    """What to do without a network: about data that their class would fetch (CIFAR), else about initial weights.

    Args:
        config: The config of the training.
        reason: Why the download failed.
    """
    dataset = innermost(config.train_dataloader.dataset)
    kind, root = data_set_class(dataset, config.get("default_scope")), dataset.get("data_root")
    archive = getattr(kind, "filename", None)
    if archive is None or (Path(root or "") / getattr(kind, "base_folder", "")).is_dir():
        return (
            f"weights that the config names cannot be downloaded ({reason}). Without a network, {START_FROM}; make "
            "demo-bccd takes WEIGHTS=FILE"
        )
    return (
        f"the data set {kind.__name__} is not in {str(root)!r}, and cannot be downloaded ({reason}). Without a "
        f"network, put {archive} there: it is at {kind.url}"
    )


CHECKS = {
    "the teacher's file": check_teacher_checkpoint,
    "strategy": check_strategy,
    "hooks": check_hooks,
    "optimizer": check_optimizer,
    "learning rate schedule": check_schedule,
    "balance": check_balance,
    "operators of mmcv": check_operators,
    "initial weights": check_pretrained_weights,
    "annotations and classes": check_annotations,
}
"""All of them by subject."""


def check_all(config: Config) -> None:
    """Run all checks, and log what is doubtful. Raises what they raise."""
    for check in CHECKS.values():
        check(config)
    for doubt in doubtful_names(config):
        print_log(doubt, "current", logging.WARNING)
    log_doubts(config)
