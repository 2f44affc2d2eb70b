"""A training of the ablations: what identifies it, and its config."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from rich.console import Console

from pcka_mmdet.demo.config import ensure_data
from research import pair_folder
from research.trainings.results import Places
from research.trainings.stages import Training
from research.trainings.students import side_config

from .ablations import ALONE, distil, read_ablations, trainings

EPOCHS, TEACHER_EPOCHS = 16, 60
SEEDS = (0, 1, 2)
TEACHER = "teacher"


@cache
def variants() -> dict[str, dict[str, Any]]:
    """Options of all variants by the name of their training."""
    return dict(trainings(read_ablations()).values())


@dataclass(frozen=True)
class Trial:
    """A training with its seed."""

    variant: str
    """A name of `variants`, or `ALONE` or `TEACHER`."""
    seed: int
    pair: str = "digits"
    tested: bool = False

    @property
    def name(self) -> str:
        """Key of the result."""
        return f"{self.variant}_seed{self.seed}"

    @property
    def teacher(self) -> "Trial | None":
        """The training of the teacher that this one needs."""
        return None if self.variant in (ALONE, TEACHER) else Trial(TEACHER, 0)

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> "Trial":
        """The trial of a row of the results."""
        return cls(**row["trial"])

    def training(self, places: Places) -> Training:
        """The training, after its teacher's."""
        role, epochs = ("teacher", TEACHER_EPOCHS) if self.variant == TEACHER else ("student", EPOCHS)
        data_root = places.data_root / "digit_scenes"
        config = side_config(pair_folder("demo"), role, data_root, self.seed, epochs, places.weights)
        ensure_data(config, Console())
        teacher = self.teacher.training(places) if self.teacher else None
        if teacher is not None:
            distil(config, variants()[self.variant], teacher.teacher_options)
        return Training(self.name, places.work_dir / self.name, config, requires=[teacher] if teacher else [])
