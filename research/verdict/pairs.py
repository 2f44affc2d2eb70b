"""The teacher-student pairs of the benchmark."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Pair:
    """A data set with a student, a teacher, and the grid of the student's tuning."""

    folder: str
    """Folder of `student.py` and `teacher.py` in `research/configs`."""
    data: str
    """Folder of the images and annotations in the folder of all data."""
    epochs: int
    """Length of a training before the tuning; the tuning also tries half of it and twice of it."""
    longest: int = 0
    """Longest training of the results: the student alone takes at most half an hour of a core."""
    teacher_folder: str = ""
    """Folder of `teacher.py`, if it is another one."""
    teacher_epochs: int = 0
    """Length of the teacher's training."""
    short_epochs: int = 0
    """Length of the short trainings that compare settings; 0 on pairs that take the choice of others over."""
    learning_rates: tuple[float, ...] = (1e-3, 3e-3, 6e-3, 1.2e-2)
    decays: tuple[float, ...] = (1e-2, 1e-1)
    """Weight decays; the first is that of the other steps of the tuning."""
    teacher_augmentation: str = "base"
    """One of `AUGMENTATIONS`; further than that of the teacher's config."""
    teacher_options: dict[str, Any] = field(default_factory=dict)
    """Settings of the teacher's config, as in `--cfg-options`."""
    student_of: str | None = None
    """Name of the pair whose tuned setting the student takes over; `None` tunes it."""
    own_head: bool = True
    """Whether the heads have the same outputs."""
    teacher_head: bool = True
    """Whether the teacher's head has the student's classes."""
    same_pixels: bool = False
    """Whether the pipeline flips images and changes nothing else, so that the teacher's maps can be kept."""


PAIRS = {
    "bccd": Pair(
        "bccd/small", "bccd", epochs=60, longest=240, short_epochs=30, teacher_epochs=80, teacher_augmentation="affine"
    ),
    "deeppcb": Pair(
        "deeppcb",
        "deeppcb",
        epochs=18,
        longest=72,
        short_epochs=12,
        teacher_folder="deeppcb/imagenet",
        teacher_epochs=40,
        teacher_augmentation="affine",
        same_pixels=True,
    ),
    "deeppcb-imagenet": Pair(
        "deeppcb/imagenet",
        "deeppcb",
        epochs=9,
        longest=36,
        teacher_epochs=40,
        teacher_options={
            "optim_wrapper.optimizer.weight_decay": 0.3,
        },
        learning_rates=(3e-4, 1e-3, 2e-3, 4e-3),
        same_pixels=True,
    ),
    "digits": Pair(
        "demo",
        "digit_scenes",
        epochs=60,
        longest=120,
        teacher_epochs=120,
        teacher_augmentation="affine",
        teacher_options={
            "optim_wrapper.optimizer.lr": 6e-3,
            "optim_wrapper.optimizer.weight_decay": 0.1,
            "param_scheduler.0.eta_max": 6e-3,
        },
    ),
    "bccd-families": Pair(
        "bccd/two_families",
        "bccd",
        epochs=60,
        short_epochs=30,
        teacher_epochs=40,
        student_of="bccd",
        own_head=False,
    ),
    "bccd-classes": Pair(
        "bccd/small",
        "bccd",
        epochs=60,
        short_epochs=30,
        teacher_epochs=40,
        # the red cells alone: annotations of other classes are left out
        teacher_options={
            "model.bbox_head.num_classes": 1,
            **{f"{split}_dataloader.dataset.metainfo.classes": ("RBC",) for split in ("train", "val", "test")},
        },
        student_of="bccd",
        own_head=False,
        teacher_head=False,
    ),
}
"""`bccd-families` and `bccd-classes` are for the first look alone: a teacher of another family, and one of other
classes."""
