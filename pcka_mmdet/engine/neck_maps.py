"""Neck maps of trained detectors, for pictures and comparisons."""

import copy
from collections.abc import Mapping
from pathlib import Path

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
from pcka_mmdet.models.sources import PARTS, listed
from pcka_mmdet.models.teacher.images import Normalisation, crop_to_image
from pcka_mmdet.models.teacher.teacher import Teacher

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
        FileNotFoundError: The image is missing.
        ValueError: The config is no distillation's, or backbone and neck of a checkpoint are not its student's.
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
        weights, _ = read_weights(checkpoint, "the checkpoint")
        _, problems = load_what_fits(model.student, student_weights(weights))
        problems = [problem for part in PARTS for problem in of_part(problems, part)]
        if problems:
            raise ValueError(f"{checkpoint!r} is not of this config's student: {summarise(problems)}")
        maps[name] = listed(model.student.eval().extract_feat(images))
    height, width = samples[0].img_shape
    unpadded = images[:, :, :height, :width]
    levels: dict[str, dict[str, Tensor]] = {}
    for pair in pair_levels(neck_levels(model.student), neck_levels(model.teacher, model.teacher_scale)):
        index = dict.fromkeys(maps, pair.student.index) | {TEACHER: pair.teacher.index}
        levels[pair.name] = {name: crop_to_image(maps[name][index[name]], unpadded, images) for name in maps}
    return levels


@torch.no_grad()
def compare_levels(
    first: BaseModel, second: BaseModel, config: Config, images: int
) -> tuple[Tensor, list[str], list[str]]:
    """Debiased CKA of each level of one detector with each of another, over the test images of a config.

    Args:
        first: A detector; images are read and normalised as it expects.
        second: A detector; images are normalised and padded anew for it.
        config: A config with `test_dataloader`.
        images: Images to compare, rounded up to whole batches.

    Returns:
        CKA `(levels of first, levels of second)`, and the names of both sides' levels.
    """
    DefaultScope.get_instance("levels", scope_name=config.get("default_scope", "mmdet"))
    loader = copy.deepcopy(config.test_dataloader)
    loader.update(num_workers=0, persistent_workers=False)
    names = [[level.name for level in neck_levels(detector)] for detector in (first, second)]
    teacher, normalisation = Teacher(second, "random"), Normalisation.of(first.data_preprocessor)
    matrix, compared = LevelMatrix((len(names[0]), len(names[1]))), 0
    for data in Runner.build_dataloader(loader):
        if compared >= images:
            break
        compared += len(data["inputs"])
        batch = first.data_preprocessor(data, False)
        maps = teacher(batch["inputs"], batch["data_samples"], normalisation)["neck"]
        matrix.add(listed(first.eval().extract_feat(batch["inputs"])), maps)
    return matrix.values(), *names
