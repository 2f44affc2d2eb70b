"""A training with few labels: what identifies it, and its stages."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from pcka_mmdet.configuration.data_set import annotation_file
from research import pair_folder
from research.data.few import REST
from research.trainings.results import Places
from research.trainings.stages import Labelling, Stage, Training
from research.trainings.students import TEACHER_PRECISION, Student, side_config

from .sets import SETS
from .soft_teacher import soft_teacher

RECIPE = "both-heads"
"""Of every distillation."""

METHODS = {
    "alone": "the labelled images alone",
    "boxes": "boxes of the teacher on the other images, no teacher",
    "distilled": "distilled, the labelled images alone",
    "distilled-images": "distilled, the other images without boxes",
    "distilled-boxes": "distilled, the other images with boxes of the teacher",
    "soft-teacher": "MMDetection's SoftTeacher, the other images without boxes",
}
"""Ways to train a student, with what they use besides the labelled images."""


@dataclass(frozen=True)
class Trial:
    """A training with its seed."""

    pair: str
    """Name in `SETS`."""
    method: str
    """One of `METHODS`, or `teacher`."""
    seed: int
    setting: Student
    """How it trains."""
    teacher_setting: Student | None = None
    """How its teacher trains; `None` for methods without one."""
    share: float = 0.5
    """Share of the extra images in a batch, for methods that read them."""
    momentum: float = 0.0
    """Of SoftTeacher's averaged model."""
    tested: bool = False

    @property
    def name(self) -> str:
        """Key of the result, within those of the pair."""
        share = f"_share{self.share:g}" if self.reads_extra else ""
        share += f"_momentum{self.momentum:g}" if self.momentum else ""
        of_teacher = f"_of_{self.teacher_setting.name}" if self.teacher_setting else ""
        return f"{self.method}{share}_{self.setting.name}{of_teacher}_seed{self.seed}"

    @property
    def reads_extra(self) -> bool:
        """Whether images without labels are in its batches."""
        return self.method in ("boxes", "distilled-images", "distilled-boxes", "soft-teacher")

    @property
    def teacher(self) -> "Trial | None":
        """The training of the teacher that this one needs."""
        return self.teacher_setting and Trial(self.pair, "teacher", 0, self.teacher_setting)

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> "Trial":
        """The trial of a row of the results."""
        fields = dict(row["trial"])
        teacher = fields.pop("teacher_setting")
        setting = Student(**fields.pop("setting"))
        return cls(setting=setting, teacher_setting=teacher and Student(**teacher), **fields)

    def on_test(self) -> "Trial":
        """The same training, also tested."""
        return replace(self, tested=True)

    def training(self, places: Places) -> Training:
        """The training, after its teacher's and the teacher's boxes."""
        teacher = self.teacher.training(places) if self.teacher else None
        config = self.config(places)
        options, requires, images = [], [], _other_images(config)
        if self.method == "soft-teacher":
            soft_teacher(config, images, self.share, self.momentum)
        if teacher is not None:
            boxes = Labelling(teacher, images)
            requires: list[Stage] = [boxes if self.method.endswith("boxes") else teacher]
            if self.method.endswith("boxes"):
                images = f"{boxes.file}:{images.rpartition(':')[2]}"
            if self.reads_extra:
                options = ["--extra", images, "--extra-share", f"{self.share:g}"]
            if self.method.startswith("distilled"):
                _distil(config, teacher)
        folder = places.work_dir / self.pair / self.name
        return Training(f"{self.pair} {self.name}", folder, config, requires=requires, options=options)

    def config(self, places: Places) -> Config:
        """The config without a teacher and extra images."""
        of_set = SETS[self.pair]
        role, folder = "student", of_set.whole.folder
        if self.method == "teacher":
            role, folder = "teacher", of_set.whole.teacher_folder or folder
        root = of_set.data(places.data_root)
        config = side_config(pair_folder(folder), role, root, self.seed, self.setting.epochs, places.weights)
        self.setting.apply(config)
        return config


def _other_images(config: Config) -> str:
    """The training images without labels, as `FILE:FOLDER`."""
    dataset = config.train_dataloader.dataset
    return f"{annotation_file(dataset).with_name(REST)}:{Path(dataset.data_root, dataset.data_prefix['img'])}"


def _distil(config: Config, teacher: Training) -> None:
    """Turn a student's config into its distillation's, in place."""
    config.model = dict(
        type="pcka_mmdet.FPNDistill",
        architecture=config.model,
        teacher_precision=TEACHER_PRECISION,
        recipe=RECIPE,
        **teacher.teacher_options,
    )
