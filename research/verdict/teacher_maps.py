"""The teacher's neck maps on disk, for pairs whose images come again as they were. Trainings are equal to the bit."""

import hashlib
from collections.abc import Collection
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor

from pcka_mmdet.checkpoints.atomic_write import atomic_save
from pcka_mmdet.models.sources import Record
from pcka_mmdet.models.teacher.neck_forward import NeckForward


class KeptNeckForward(NeckForward):
    """Neck maps of a teacher, computed once for each image.

    Args:
        neck_forward: Whose maps to keep.
        folder: Folder of the maps, one file an image. Several trainings may share it.
    """

    def __init__(self, neck_forward: NeckForward, folder: Path):
        vars(self).update(vars(neck_forward))
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, images: Tensor, wanted: Collection[str] = ("neck",)) -> Record:
        """Maps of normalised images `(B, 3, H, W)`: for each level `(B, C, H / stride, W / stride)`."""
        if list(wanted) != ["neck"]:
            raise ValueError(f"the maps of the neck are kept alone, and a loss reads {list(wanted)}")
        files = [self.folder / f"{hashlib.sha1(image.numpy().tobytes()).hexdigest()}.pt" for image in images]
        new = [number for number, file in enumerate(files) if not file.exists()]
        if new:
            maps = super().__call__(images[new])["neck"]
            for place, number in enumerate(new):
                atomic_save([of_level[place : place + 1].clone() for of_level in maps], files[number])
        of_images = [torch.load(file, weights_only=True) for file in files]
        return {"neck": tuple(torch.cat(of_level) for of_level in zip(*of_images, strict=True))}


@HOOKS.register_module()
class KeptTeacherMapsHook(Hook):
    """Keeps the neck maps of the teachers in files, by the teacher's sha256.

    Args:
        folder: Folder of the maps of all teachers.
    """

    def __init__(self, folder: str):
        self.folder = Path(folder)

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for teacher in model._teachers:
            teacher.neck_forward = KeptNeckForward(teacher.neck_forward, self.folder / teacher.sha256)
