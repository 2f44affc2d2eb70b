"""A training of a pair: what identifies it, and its stages."""

from dataclasses import dataclass, replace
from typing import Any

from mmengine.config import Config

from pcka_mmdet.configuration.pipeline_size import enlarge_images
from research import pair_folder
from research.trainings.results import Places
from research.trainings.stages import Training
from research.trainings.students import TEACHER_PRECISION, Student, augment, import_too, side_config, start_from_file

from .pairs import METHODS, PAIRS


@dataclass(frozen=True)
class Trial:
    """A training with its seed."""

    pair: str
    method: str
    """One of `METHODS`, `alone` or `teacher`."""
    seed: int
    student: Student | None = None
    """`None` for a teacher."""
    tested: bool = False

    @property
    def name(self) -> str:
        """Key of the result, within those of the pair."""
        return f"{self.method}{f'_{self.student.name}' if self.student else ''}_seed{self.seed}"

    @property
    def teacher(self) -> "Trial | None":
        """The training of the teacher that this one needs."""
        return Trial(self.pair, "teacher", 0) if self.method in METHODS else None

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> "Trial":
        """The trial of a row of the results."""
        fields = dict(row["trial"])
        student = fields.pop("student")
        return cls(student=student and Student(**student), **fields)

    def on_test(self) -> "Trial":
        """The same training, also tested."""
        return replace(self, tested=True)

    def training(self, places: Places) -> Training:
        """The training, after its teacher's."""
        teacher = self.teacher.training(places) if self.teacher else None
        config = self.config(places)
        if teacher is not None:
            METHODS[self.method].apply(
                config,
                teacher_precision=TEACHER_PRECISION,
                teacher_scale=PAIRS[self.pair].teacher_scale,
                **teacher.teacher_options,
            )
        name = f"{self._owner} {self.name}"
        folder = places.work_dir / self._owner.replace("/", "-") / self.name
        return Training(name, folder, config, requires=[teacher] if teacher else [])

    @property
    def _owner(self) -> str:
        """The pair, or the config of a detector that trains alone: pairs that share it share its training."""
        pair = PAIRS[self.pair]
        folder = {"teacher": pair.teacher, "alone": pair.student}.get(self.method)
        if folder is None:
            return self.pair
        head = f"-{pair.head or pair.detectors}" if pair.head or pair.detectors else ""
        large = "-large" if self.method == "teacher" and pair.teacher_scale > 1 else ""
        return f"{folder}{head}{large}"

    def config(self, places: Places) -> Config:
        """The config without a teacher."""
        pair = PAIRS[self.pair]
        role, folder, epochs = "teacher", pair.teacher, pair.teacher_epochs
        if self.student:
            role, folder, epochs = "student", pair.student, self.student.epochs
        data_root = places.data_root / pair.data
        config = side_config(pair_folder(folder), role, data_root, self.seed, epochs, places.weights)
        if pair.detectors:
            _replace_detector(config, Config.fromfile(pair_folder(pair.detectors) / f"{role}.py"))
            start_from_file(config, places.weights)
        if pair.head:
            _replace_head(config, Config.fromfile(pair_folder(pair.head) / "student.py"))
        if self.student:
            self.student.apply(config)
        else:
            augment(config, pair.teacher_augmentation)
            if pair.teacher_scale > 1:
                _enlarge(config, pair.teacher_scale)
        return config


def _replace_detector(config: Config, other: Config) -> None:
    """Give a config the detector and the learning rate of another one, in place: it keeps the number of classes."""
    other.model.bbox_head.num_classes = config.model.bbox_head.num_classes
    config.model = other.model
    config.optim_wrapper.optimizer.lr = config.param_scheduler[0].eta_max = other.optim_wrapper.optimizer.lr
    for module in other.custom_imports.imports:
        import_too(config, module)


def _replace_head(config: Config, other: Config) -> None:
    """Give a detector the type, the head and the assigner of another one, in place: it keeps the size of its head."""
    sizes = ("num_classes", "in_channels", "feat_channels", "stacked_convs")
    other.model.bbox_head.update({name: config.model.bbox_head[name] for name in sizes})
    for name in ("type", "bbox_head", "train_cfg", "test_cfg"):
        config.model[name] = other.model[name]


def _enlarge(config: Config, scale: int) -> None:
    """Let a RetinaNet see images of twice the size, in place, with a level for each of the student's."""
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        enlarge_images(config[loader].dataset, scale)
    strides = config.model.bbox_head.anchor_generator.strides
    strides.append(2 * strides[-1])
    config.model.neck.num_outs = config.model.bbox_head.num_ins = len(strides)
