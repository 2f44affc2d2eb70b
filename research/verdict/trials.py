"""A training of the benchmark: what identifies it, and its config."""

from dataclasses import dataclass, replace
from typing import Any

from mmengine.config import Config
from rich.console import Console

from pcka_mmdet.configuration.schedule import training_iterations
from pcka_mmdet.demo.config import ensure_data
from pcka_mmdet.engine.recipe import make_distillation
from research import pair_folder
from research.trainings.results import Places
from research.trainings.stages import Training
from research.trainings.students import TEACHER_PRECISION, Student, augment, import_too, side_config

from .methods import Setting
from .pairs import PAIRS, Pair


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
        return Trial.of_teacher(self.pair, self.teacher_seed)

    @classmethod
    def of_teacher(cls, pair: str, seed: int = 0) -> "Trial":
        """The training of a pair's teacher."""
        return cls(pair, Setting("teacher"), seed)

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> "Trial":
        """The trial of a row of the results."""
        fields = dict(row["trial"])
        student = fields.pop("student")
        return cls(setting=Setting(**fields.pop("setting")), student=Student(**student) if student else None, **fields)

    def on_test(self) -> "Trial":
        """The same training, also tested."""
        return replace(self, tested=True)

    def training(self, places: Places) -> Training:
        """The training, after its teacher's."""
        teacher = self.teacher.training(places) if self.teacher else None
        config = self.config(places, teacher and teacher.teacher_options)
        ensure_data(config, Console())
        folder = places.work_dir / self.pair / self.name
        return Training(f"{self.pair} {self.name}", folder, config, requires=[teacher] if teacher else [])

    def config(self, places: Places, teacher: dict[str, Any] | None = None) -> Config:
        """The complete config; `teacher` has `teacher` and `teacher_ckpt` of `FPNDistill`."""
        pair: Pair = PAIRS[self.pair]
        folder, role, epochs, options = pair.folder, "teacher", pair.teacher_epochs, pair.teacher_options
        if self.student is not None:
            role, epochs, options = "student", self.student.epochs, {}
        elif pair.teacher_folder:
            folder = pair.teacher_folder
        data_root = places.data_root / pair.data
        config = side_config(pair_folder(folder), role, data_root, self.seed, epochs, places.weights, options)
        if self.student is None:
            augment(config, pair.teacher_augmentation)
            return config
        self.student.apply(config)
        if self.setting.method == "plain":
            return config
        sides = dict(architecture=config.model, teacher_precision=TEACHER_PRECISION, **teacher)
        distiller = dict(type="pcka_mmdet.FPNDistiller", losses=self.setting.losses())
        make_distillation(config, sides, distiller, self.setting.balance())
        hooks = config.custom_hooks
        if self.setting.stop < 1:
            stop = round(self.setting.stop * training_iterations(config))
            hooks.append(dict(type="pcka_mmdet.LossScheduleHook", stop=stop))
        if pair.same_pixels and self.student.augmentation == "base":
            import_too(config, "research.verdict.teacher_maps")
            hooks.append(dict(type="KeptTeacherMapsHook", folder=str(places.work_dir / self.pair / "maps")))
        return config
