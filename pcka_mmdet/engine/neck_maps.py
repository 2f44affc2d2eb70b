"""Neck maps of trained detectors, for pictures and comparisons."""

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor

from pcka_mmdet.checkpoints.files import read_weights
from pcka_mmdet.checkpoints.matching import load_what_fits, of_part, summarise
from pcka_mmdet.checkpoints.student import student_weights
from pcka_mmdet.configuration.data_set import innermost
from pcka_mmdet.configuration.detector import build_detector, model_of
from pcka_mmdet.configuration.distillation import is_fpn_distill
from pcka_mmdet.functional.map_similarity import LevelMatrix
from pcka_mmdet.models import FPNDistill
from pcka_mmdet.models.levels import neck_levels, pair_levels
from pcka_mmdet.models.sources import MAP_SOURCES, listed
from pcka_mmdet.models.teacher import Normalisation, Teacher
from pcka_mmdet.models.teacher.images import crop_to_image

TEACHER = "teacher"


@torch.no_grad()
def maps_of_image(config: Config, checkpoints: Mapping[str, str], image: Path) -> dict[str, dict[str, Tensor]]:
    """Neck maps of a distillation's teacher and of students for one image, at the levels that both necks have.

    Args:
        config: The distillation's; its test pipeline reads the image.
        checkpoints: Checkpoints of the student by name: plain ones or a distillation's.
        image: The image's file.

    Returns:
        By name of the level, the maps `(1, C, H, W)` of `'teacher'` and of each student, without the padding.

    Raises:
        FileNotFoundError: There is no such image.
        ValueError: The config is no distillation's, or a checkpoint is not of its student.
    """
    if not is_fpn_distill(config):
        raise ValueError("the maps are compared with a teacher's: give the config of a distillation")
    if not config.get("test_dataloader"):
        raise ValueError("the test pipeline reads the image, and this config has no test_dataloader")
    if not image.is_file():
        raise FileNotFoundError(f"there is no image at {str(image)!r}")
    DefaultScope.get_instance("maps", scope_name=config.get("default_scope", "mmdet"))
    model: FPNDistill = build_detector(model_of(config, str(config.filename))).eval()
    data = Compose(innermost(config.test_dataloader.dataset).pipeline)(dict(img_path=str(image), img_id=0))
    batch = model.data_preprocessor(pseudo_collate([data]), False)
    images, samples = batch["inputs"], batch["data_samples"]
    maps = {TEACHER: model.teacher_maps(images, samples)}
    for name, checkpoint in checkpoints.items():
        _load_to_neck(model.student, checkpoint)
        maps[name] = listed(model.student.eval().extract_feat(images))
    height, width = samples[0].img_shape
    image = images[:, :, :height, :width]
    pairs = pair_levels(neck_levels(model.student), neck_levels(model.teacher))
    return {
        pair.name: {
            name: crop_to_image(levels[(pair.teacher if name == TEACHER else pair.student).index], image, images)
            for name, levels in maps.items()
        }
        for pair in pairs
    }


def _load_to_neck(student: BaseModel, checkpoint: str) -> None:
    """Load the student's weights; all of backbone and neck must fit.

    Raises:
        ValueError: They do not.
    """
    weights, _ = read_weights(checkpoint, "the checkpoint")
    _, problems = load_what_fits(student, student_weights(weights))
    problems = [problem for part in MAP_SOURCES for problem in of_part(problems, part)]
    if problems:
        raise ValueError(f"{checkpoint!r} is not of this config's student: {summarise(problems)}")


@torch.no_grad()
def compare_levels(
    first: BaseModel, second: BaseModel, config: Config, images: int
) -> tuple[Tensor, list[str], list[str]]:
    """Debiased CKA of each level of one detector with each of another, over the test images of a config.

    Args:
        first: A detector; images are read and normalised as it expects.
        second: Another; images are normalised and padded anew for it.
        config: A config with `test_dataloader`.
        images: After how many images to stop, in whole batches.

    Returns:
        CKA `(levels of first, levels of second)`, and the names of both sides' levels.
    """
    DefaultScope.get_instance("levels", scope_name=config.get("default_scope", "mmdet"))
    loader = copy.deepcopy(config.test_dataloader)
    loader.update(num_workers=0, persistent_workers=False)
    names = [[level.name for level in neck_levels(detector)] for detector in (first, second)]
    other, normalisation = Teacher(second, "random"), Normalisation.of(first.data_preprocessor)
    total = LevelMatrix((len(names[0]), len(names[1])))
    for data in _until(Runner.build_dataloader(loader), images):
        batch = first.data_preprocessor(data, False)
        maps = other(batch["inputs"], batch["data_samples"], normalisation)["neck"]
        total.add(listed(first.eval().extract_feat(batch["inputs"])), maps)
    return total.values(), *names


def _until(loader: Any, images: int) -> Iterator[Any]:
    seen = 0
    for data in loader:
        if seen >= images:
            return
        seen += len(data["inputs"])
        yield data
