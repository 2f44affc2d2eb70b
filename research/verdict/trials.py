"""A training of the benchmark: what identifies it, and its config."""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from pcka_mmdet.configuration.carried import carried
from pcka_mmdet.engine.recipe import make_distillation
from pcka_mmdet.experiments.schedule import training_iterations
from pcka_mmdet.experiments.stage_config import stage_config

from .methods import Setting
from .pairs import PAIRS, Pair

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
"""The augmentation that `affine` adds to a student's pipeline."""

AUGMENTATIONS = ("base", "affine")


def augment(config: Config, augmentation: str) -> None:
    """Add one of `AUGMENTATIONS` to the training pipeline of a config."""
    if augmentation == "affine":
        pipeline = config.train_dataloader.dataset.pipeline
        pipeline.insert(len(pipeline) - 1, copy.deepcopy(AFFINE))


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


@dataclass(frozen=True)
class Trial:
    """A training with its seed."""

    pair: str
    setting: Setting
    seed: int
    student: Student | None = None
    """`None` for a teacher."""
    tested: bool = False
    """Whether the test images are read too."""
    teacher_seed: int = 0

    @property
    def name(self) -> str:
        """Key of the result, within those of the pair."""
        if self.student is None:
            return f"teacher_seed{self.seed}"
        of_teacher = f"_teacher{self.teacher_seed}" if self.teacher_seed else ""
        return f"{self.setting.name}_{self.student.name}_seed{self.seed}{of_teacher}"

    @property
    def teacher(self) -> "Trial | None":
        """The training of the teacher that this one needs."""
        if self.setting.method in ("plain", "teacher"):
            return None
        return Trial(self.pair, Setting("teacher"), self.teacher_seed)

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> "Trial":
        """The trial of a row of the results."""
        fields = dict(row["trial"])
        student = fields.pop("student")
        return cls(setting=Setting(**fields.pop("setting")), student=Student(**student) if student else None, **fields)

    def on_test(self) -> "Trial":
        """The same training, also tested."""
        return replace(self, tested=True)

    def config(
        self, data_root: Path, weights: Path, teacher: dict[str, Any] | None = None, maps: Path = Path("maps")
    ) -> Config:
        """The complete config.

        Args:
            data_root: Folder of all data.
            weights: ImageNet weights of MobileNetV2.
            teacher: `teacher` and `teacher_ckpt` of `FPNDistill`.
            maps: Folder of the teachers' maps; for pairs with `same_pixels`.
        """
        pair: Pair = PAIRS[self.pair]
        epochs = pair.teacher_epochs if self.student is None else self.student.epochs
        role = "teacher" if self.student is None else "student"
        options = {"train_cfg.max_epochs": epochs, **(pair.teacher_options if self.student is None else {})}
        folder = carried("configs") / pair.folder
        config = stage_config(folder, role, str(data_root / pair.data), self.seed, options)
        config.train_cfg.val_interval = max(1, epochs // VALIDATIONS)
        if config.model.backbone.get("init_cfg"):
            config.model.backbone.init_cfg.checkpoint = str(weights)
        if self.student is None:
            augment(config, pair.teacher_augmentation)
            return config
        self.student.apply(config)
        config.default_hooks.checkpoint.interval = config.train_cfg.val_interval
        if self.setting.method == "plain":
            return config
        sides = dict(architecture=config.model, teacher_precision=TEACHER_PRECISION, **teacher)
        distiller = dict(type="pcka_mmdet.FPNDistiller", losses=self.setting.losses())
        make_distillation(config, sides, distiller, self.setting.balance())
        hooks = [*(config.get("custom_hooks") or []), dict(type="pcka_mmdet.SimilarityHook", val_batches=0)]
        if self.setting.stop < 1:
            stop = round(self.setting.stop * training_iterations(config))
            hooks.append(dict(type="pcka_mmdet.LossScheduleHook", stop=stop))
        if pair.same_pixels and self.student.augmentation == "base":
            imports = (config.get("custom_imports") or {}).get("imports", [])
            config.custom_imports = dict(imports=[*imports, "research.verdict.teacher_maps"])
            hooks.append(dict(type="KeptTeacherMapsHook", folder=str(maps)))
        config.custom_hooks = hooks
        return config
