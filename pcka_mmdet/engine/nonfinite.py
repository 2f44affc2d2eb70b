"""Save a step whose loss is not finite, and repeat it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor

from pcka_mmdet.checkpoints.atomic_write import atomic_save
from pcka_mmdet.checkpoints.config_text import read_config, refuse_code
from pcka_mmdet.checkpoints.files import load_file
from pcka_mmdet.configuration.detector import build_detector, model_of
from pcka_mmdet.configuration.distillation import self_contained
from pcka_mmdet.configuration.sentence import warn
from pcka_mmdet.models.outputs import box_tensor

from .hooks.nonfinite_loss import FailedStep, batch_augments
from .runner import set_random_state, unwrapped_model


def save_step(runner: Runner, step: FailedStep) -> Path:
    """Save what the losses of a failed step depend on, for `replay`. Returns the file, in `work_dir/nonfinite/`."""
    model = unwrapped_model(runner)
    content = {
        "inputs": list(step.batch["inputs"]),
        "samples": [_plain_sample(sample) for sample in step.batch["data_samples"]],
        "state_dict": {key: value.cpu() for key, value in model.state_dict().items()},
        "config": self_contained(runner.cfg).pretty_text,
        "random_state": step.random_state,
        "augments": step.augments,
        "distillation": step.distillation,
        "precision": autocast_dtype(runner),
        "teacher_sha256": model.teacher_sha256,
        "message": step.problem,
    }
    path = Path(runner.work_dir, "nonfinite", f"iter_{runner.iter + 1}_rank_{runner.rank}.pth")
    atomic_save(content, path)
    return path


def autocast_dtype(runner: Runner) -> str | None:
    """The autocast dtype of the optimizer wrapper: `'float16'` or `'bfloat16'`; `None` without mixed precision."""
    probe = torch.ones(1, 1, device=next(runner.model.parameters()).device)
    with runner.optim_wrapper.optim_context(runner.model):
        dtype = (probe @ probe).dtype
    return None if dtype == probe.dtype else str(dtype).removeprefix("torch.")


@dataclass(frozen=True)
class Replay:
    """The result of a repeated step."""

    losses: dict[str, float]
    problem: str | None  # which losses are not finite, and where that begins
    weights: list[str]  # names of the parameters and buffers that were not finite before the step


def replay(path: str, config: Config | None = None) -> Replay:
    """Repeat the forward of a saved step, on the CPU. See `read_batch` for arguments and errors."""
    config, content, batch = read_batch(path, config)
    init_default_scope(config.get("default_scope", "mmdet"))
    model = build_detector(model_of(config, path)).train()
    model.load_state_dict(content["state_dict"])
    before, now = content["teacher_sha256"], model.teacher_sha256
    if before is None or before != now:
        warn(
            f"the teacher's file had the sha256 {before} in the training and has {now} here: its maps, and so the "
            "distillation losses, may differ (None: random weights, or a file that is not on this machine)"
        )
    distillation, precision = content["distillation"], content["precision"]
    MessageHub.get_current_instance().update_info_dict(
        {key: distillation[key] for key in ("epoch", "iter", "max_iters", "seed") if key in distillation}
    )
    model.distillation_stopped = distillation["stopped"]
    model.distiller.factor = distillation["factor"]
    model.skips_nonfinite = True
    for augment, state in zip(batch_augments(model), content["augments"], strict=True):
        vars(augment).update(state)
    set_random_state(content["random_state"])
    with torch.autocast("cpu", precision and getattr(torch, precision), enabled=precision is not None):
        losses = model(**model.data_preprocessor(batch, True), mode="loss")
    losses = {name: value.item() for name, value in model.parse_losses(losses)[1].items()}
    weights = [key for key, value in content["state_dict"].items() if not torch.isfinite(value).all()]
    return Replay(losses, model.nonfinite, weights)


def read_batch(path: str, config: Config | None = None) -> tuple[Config, dict, dict]:
    """The config, the whole content and the batch of a saved step. By default the config is the text in the file.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: The file is no saved step, or its config names code to run (see `refuse_code`).
    """
    content = load_file(path, "saved step")
    if not isinstance(content, dict) or not {"inputs", "samples", "config"} <= content.keys():
        raise ValueError(f"{path!r} is no saved step: give a file of WORK_DIR/nonfinite")
    batch = {"inputs": content["inputs"], "data_samples": [_sample(plain) for plain in content["samples"]]}
    if config is None:
        config = read_config(content["config"])
        refuse_code(config, config.model)
    return config, content, batch


def _plain_sample(sample: BaseDataElement) -> dict[str, Any]:
    metainfo = {k: v for k, v in sample.metainfo.items() if isinstance(v, (str, int, float, bool, tuple, list))}
    if "gt_instances" not in sample:  # the sample of a classifier
        return {"metainfo": metainfo, "tensors": {k: v.cpu() for k, v in sample.items() if isinstance(v, Tensor)}}
    instances = sample.gt_instances
    ignored = sample.get("ignored_instances", InstanceData(bboxes=torch.zeros(0, 4)))
    plain = {
        "metainfo": metainfo,
        "ignored": box_tensor(ignored.bboxes).cpu(),
        "bboxes": box_tensor(instances.bboxes).cpu(),
        "labels": instances.labels.cpu(),
    }
    if "masks" in instances:
        plain["masks"] = torch.from_numpy(instances.masks.to_ndarray())
    return plain


def _sample(plain: dict[str, Any]) -> BaseDataElement:
    if "tensors" in plain:
        return BaseDataElement(metainfo=plain["metainfo"], **plain["tensors"])
    from mmdet.structures import DetDataSample
    from mmdet.structures.bbox import HorizontalBoxes
    from mmdet.structures.mask import BitmapMasks

    instances = InstanceData(bboxes=HorizontalBoxes(plain["bboxes"]), labels=plain["labels"])
    if "masks" in plain:
        masks = plain["masks"].numpy()
        instances.masks = BitmapMasks(masks, *masks.shape[1:])
    sample = DetDataSample(metainfo=plain["metainfo"])
    sample.gt_instances = instances
    sample.ignored_instances = InstanceData(bboxes=HorizontalBoxes(plain["ignored"]))
    return sample
