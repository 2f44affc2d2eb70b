"""The data sets and pairs of `research/methods/__main__.py`, and how long their trainings are."""

from collections.abc import Sequence
from dataclasses import dataclass

from .methods import HALF_MORE, HEADS_HALF_MORE, LONGER, METHODS


@dataclass(frozen=True)
class DataSet:
    """A data set of the benchmark: a folder of `student.py` and `teacher.py`, and two lengths of training."""

    folder: str
    """In `configs`."""
    data: str
    """Name of its folder in the folder of all data."""
    epochs: dict[str, int]
    """By regime: `short`, and `converged` (1.5 times as many add less than 0.01 to the plain student)."""
    teacher_epochs: int
    longer: float
    """A distilled training's time over the plain student's, rounded up to a half, on two cores: `plain-longer` has as
    many times more epochs. An estimate for pairs that have not been trained yet; `seconds` of the results tell."""
    misfits: tuple[str, ...] = ()
    """Losses that do not fit the pair, by their names in `Method.losses`."""
    recipe: str = "both-heads+balance"
    """The method that the default recipe is for the pair, always at the ratio `MIDDLE`."""

    def fitting(self, methods: Sequence[str]) -> list[str]:
        """Those of the methods whose losses all fit the pair."""
        return [name for name in methods if not METHODS[name].losses.keys() & self.misfits]

    def num_epochs(self, regime: str, method: str) -> int:
        """Epochs of a training of the student."""
        times = {LONGER: self.longer, HALF_MORE: 1.5, HEADS_HALF_MORE: 1.5}
        return round(self.epochs[regime] * times.get(method, 1))


DATA_SETS: dict[str, DataSet] = {
    "digits": DataSet("demo", "digit_scenes", dict(short=16, converged=90), teacher_epochs=60, longer=2.0),
    "bccd": DataSet("bccd/small", "bccd", dict(short=30, converged=60), teacher_epochs=40, longer=3.0),
    "deeppcb": DataSet("deeppcb", "deeppcb", dict(short=6, converged=36), teacher_epochs=20, longer=2.0),
    "bccd-two-families": DataSet(
        "bccd/two_families",
        "bccd",
        dict(short=30, converged=60),
        teacher_epochs=40,
        longer=3.0,
        misfits=("own", "dist"),
        recipe="teacher-head+balance",
    ),
    "bccd-rtmdet": DataSet(
        "bccd/rtmdet",
        "bccd",
        dict(short=30, converged=60),
        teacher_epochs=40,
        longer=2.5,
        recipe="teacher-head+balance",
    ),
    "bccd-two-stage": DataSet(
        "bccd/two_stage",
        "bccd",
        dict(short=30, converged=60),
        teacher_epochs=40,
        longer=4.0,
        misfits=("dist",),  # an RPN scores one class
    ),
    "bccd-equal": DataSet("bccd", "bccd", dict(short=15, converged=30), teacher_epochs=20, longer=3.0),
    "bccd-imagenet": DataSet("bccd/imagenet", "bccd", dict(short=10, converged=40), teacher_epochs=40, longer=2.0),
}
