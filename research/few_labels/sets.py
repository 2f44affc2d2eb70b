"""Data sets of which a tenth or a quarter of the training images are labelled."""

from dataclasses import dataclass
from pathlib import Path

from pcka_mmdet.demo.digit_scenes import build_digit_scenes
from research.data import few
from research.trainings.students import Student


@dataclass(frozen=True)
class Whole:
    """A data set with all its labels, and its pair of detectors."""

    folder: str
    """Folder of `student.py` and `teacher.py` in `configs`."""
    data: str
    """Folder of the data set in the folder of all data."""
    student: Student
    """The tuned student of all labels."""
    teacher: Student
    """How its teacher trains on all labels."""


WHOLE = {
    "bccd": Whole("bccd/small", "bccd", Student(0.048, 60, 0.1), Student(1e-3, 40)),
    "deeppcb": Whole("deeppcb", "deeppcb", Student(0.012, 18), Student(1e-3, 20)),
    "digits": Whole("demo", "digit_scenes", Student(3e-3, 60), Student(3e-3, 60)),
}

PERCENTS = (25, 10)
"""Shares of the training images that are labelled."""


@dataclass(frozen=True)
class FewLabels:
    """A data set and the share of its labels."""

    name: str
    percent: int
    whole: Whole

    @property
    def passes(self) -> int:
        """Passes over the labelled images that take as many iterations as one over all."""
        return 100 // self.percent

    def data(self, data_root: Path) -> Path:
        """Folder of the data set, which is made if it is missing.

        Raises:
            FileNotFoundError: The data set with all its labels is missing.
        """
        root, source = data_root / f"{self.whole.data}-{self.percent}", data_root / self.whole.data
        if not any(root.rglob(few.REST)):
            if not source.exists() and self.name.startswith("digits"):
                build_digit_scenes(str(source))
            if not source.exists():
                raise FileNotFoundError(f"no data set at {str(source)!r}: fetch it first, see research/data")
            kind = self.name.split("-")[0]
            few.build(root, source, (few.LISTS / f"{kind}_{self.percent}.txt").read_text().split())
        return root


SETS = {
    f"{name}-{percent}": FewLabels(f"{name}-{percent}", percent, whole)
    for percent in PERCENTS
    for name, whole in WHOLE.items()
}
"""By name, such as `bccd-25`."""
