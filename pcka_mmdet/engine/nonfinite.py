"""A batch whose loss is not finite, kept so that the step can be looked at again."""

from pathlib import Path
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes, get_box_tensor
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from pcka_mmdet.checkpoints.atomic_write import atomic_save
from pcka_mmdet.checkpoints.config_text import read_config, refuse_code
from pcka_mmdet.checkpoints.files import load_file
from pcka_mmdet.configuration.detector import self_contained
from pcka_mmdet.registry import HOOKS

from .random_state import RandomState, random_state
from .runner import unwrapped_model


@HOOKS.register_module()
class KeepBatchHook(Hook):
    """Holds the batch of the step that runs, for `keep_batch`."""

    priority = "VERY_HIGH"

    def __init__(self):
        self.batch: dict | None = None
        self.random_state: RandomState | None = None

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        """Hold it, and the random states that the step starts from."""
        self.batch, self.random_state = data_batch, random_state()


def keep_batch(runner: Runner, kept: KeepBatchHook, error: FloatingPointError) -> Path:
    """Write batch, weights and config of a step that failed to `work_dir/nonfinite/`.

    Returns:
        The file, which `replay` takes.
    """
    samples = [_plain_sample(sample) for sample in kept.batch["data_samples"]]
    content = {
        "inputs": list(kept.batch["inputs"]),
        "samples": samples,
        "state_dict": {key: value.cpu() for key, value in unwrapped_model(runner).state_dict().items()},
        "config": self_contained(runner.cfg).pretty_text,
        "random_state": kept.random_state,
        "message": str(error),
    }
    path = Path(runner.work_dir, "nonfinite", f"iter_{runner.iter + 1}_rank_{runner.rank}.pth")
    atomic_save(content, path)
    return path


def read_batch(path: str, config: Config | None = None) -> tuple[Config, dict, dict]:
    """The config, the whole content and the batch of a step that was kept.

    Args:
        path: The file.
        config: What it was trained with. By default the text in the file, of which nothing is run.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read, or its config names what would be run; see `refuse_code`.
    """
    content = load_file(path, "kept batch")
    batch = {"inputs": content["inputs"], "data_samples": [_sample(plain) for plain in content["samples"]]}
    if config is None:
        config = read_config(content["config"])
        refuse_code(config, config.model)
    return config, content, batch


def _plain_sample(sample: DetDataSample) -> dict[str, Any]:
    instances = sample.gt_instances
    ignored = sample.get("ignored_instances", InstanceData(bboxes=torch.zeros(0, 4)))
    plain = {
        "ignored": get_box_tensor(ignored.bboxes).cpu(),
        "metainfo": {k: v for k, v in sample.metainfo.items() if isinstance(v, (str, int, float, bool, tuple, list))},
        "bboxes": get_box_tensor(instances.bboxes).cpu(),
        "labels": instances.labels.cpu(),
    }
    if "masks" in instances:
        plain["masks"] = torch.from_numpy(instances.masks.to_ndarray())
    return plain


def _sample(plain: dict[str, Any]) -> DetDataSample:
    instances = InstanceData(bboxes=HorizontalBoxes(plain["bboxes"]), labels=plain["labels"])
    if "masks" in plain:
        masks = plain["masks"].numpy()
        instances.masks = BitmapMasks(masks, *masks.shape[1:])
    sample = DetDataSample(metainfo=plain["metainfo"])
    sample.gt_instances = instances
    sample.ignored_instances = InstanceData(bboxes=HorizontalBoxes(plain["ignored"]))
    return sample
