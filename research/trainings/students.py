"""The setting by which a student or a teacher of a benchmark trains, and the config of either alone."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from pcka_mmdet.demo.config import demo_config

TEACHER_PRECISION = "bf16"
"""Of every teacher in every method."""

VALIDATIONS = 8
"""Validations in a training, at least."""

AFFINE = dict(
    type="RandomAffine",
    max_rotate_degree=5.0,
    max_translate_ratio=0.1,
    scaling_ratio_range=(0.8, 1.25),
    max_shear_degree=0.0,
    border_val=(114, 114, 114),
)
"""The augmentation that `affine` adds to a pipeline."""

AUGMENTATIONS = ("base", "affine")


def augment(config: Config, augmentation: str) -> None:
    """Add one of `AUGMENTATIONS` to the training pipeline of a config."""
    if augmentation == "affine":
        pipeline = config.train_dataloader.dataset.pipeline
        pipeline.insert(len(pipeline) - 1, copy.deepcopy(AFFINE))


def import_too(config: Config, module: str) -> None:
    """Let a training import a module, whose hooks are registered then."""
    imports = (config.get("custom_imports") or {}).get("imports", [])
    config.custom_imports = dict(imports=[*imports, module])


@dataclass(frozen=True)
class Student:
    """How a student trains, distilled or alone."""

    learning_rate: float
    """Peak of the one-cycle schedule."""
    epochs: int
    decay: float = 1e-2
    augmentation: str = "base"
    """One of `AUGMENTATIONS`."""

    @property
    def name(self) -> str:
        """The setting as a part of a file name."""
        return f"lr{self.learning_rate:g}_e{self.epochs}_wd{self.decay:g}_{self.augmentation}"

    def apply(self, config: Config) -> None:
        """Set learning rate, decay and augmentation of a config; its epochs are set already."""
        config.optim_wrapper.optimizer.update(lr=self.learning_rate, weight_decay=self.decay)
        config.param_scheduler[0].eta_max = self.learning_rate
        augment(config, self.augmentation)


def side_config(
    folder: Path,
    role: str,
    data_root: Path,
    seed: int,
    epochs: int,
    weights: Path,
    options: Mapping[str, Any] | None = None,
) -> Config:
    """The config of a student or teacher without the other side.

    Args:
        folder: Folder of the pair's configs.
        role: `student` or `teacher`.
        data_root: Folder of the data set.
        seed: Of the training.
        epochs: Length of the training. It has `VALIDATIONS` validations, and a checkpoint at each.
        weights: ImageNet weights, for a side that starts from such.
        options: Further options of the config.
    """
    config = demo_config(folder, role, str(data_root), seed, {"train_cfg.max_epochs": epochs, **(options or {})})
    # writing a checkpoint, and the similarity of the maps on val, would take a tenth of a training
    config.train_cfg.val_interval = config.default_hooks.checkpoint.interval = max(1, epochs // VALIDATIONS)
    similarity = dict(type="pcka_mmdet.SimilarityHook", val_batches=0)
    config.custom_hooks = [*(config.get("custom_hooks") or []), similarity]
    if role == "student":
        import_too(config, "research.trainings.channels_last")
        config.custom_hooks.append(dict(type="ChannelsLastHook"))
    start_from_file(config, weights)
    return config


def start_from_file(config: Config, weights: Path) -> None:
    """Let a backbone that starts from ImageNet weights read them from a file, in place."""
    if config.model.backbone.get("init_cfg"):
        config.model.backbone.init_cfg.checkpoint = str(weights)
