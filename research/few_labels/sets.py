"""Data sets of which a tenth or a quarter of the training images are labelled."""

from dataclasses import dataclass, replace
from pathlib import Path

from pcka_mmdet.demo.digit_scenes import SIZES, build_digit_scenes
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
    teacher_folder: str = ""
    """Folder of `teacher.py`, if it is another one."""


WHOLE = {
    "bccd": Whole("bccd/small", "bccd", Student(0.048, 60, 0.1), Student(1e-3, 80)),
    "deeppcb": Whole("deeppcb", "deeppcb", Student(0.012, 36, 0.1), Student(3e-3, 20, 0.3), "deeppcb/imagenet"),
    "digits": Whole("demo", "digit_scenes", Student(0.012, 120, 0.1), Student(6e-3, 120, 0.1)),
}
"""Students are those of the tuned benchmark; a test compares them once they are tuned there."""

SHORTER_DIGITS = replace(
    WHOLE["digits"],
    student=replace(WHOLE["digits"].student, epochs=WHOLE["digits"].student.epochs // 2),
    teacher=replace(WHOLE["digits"].teacher, epochs=WHOLE["digits"].teacher.epochs // 2),
)
"""Of few labels: half as long. The digits have the most images, and would take half of the benchmark's time."""

TWO_STAGES = Whole("bccd/two_stage", "bccd", Student(0.024, 60, 0.1), Student(1e-3, 80))
"""Its student is that of `retinanet-faster` in the benchmark of families."""

ALL = ("alone", "boxes", "distilled", "distilled-images", "distilled-boxes")
"""Methods that are compared at a quarter of the labels of BCCD and DeepPCB."""

MORE_SCENES = SIZES | {"train": 3 * SIZES["train"]}
"""Scenes of the digits with two thirds that are not labelled; the others are all of the demo's."""


@dataclass(frozen=True)
class FewLabels:
    """A data set and the share of its labels."""

    name: str
    percent: int
    whole: Whole
    methods: tuple[str, ...] = ("alone", "distilled", "distilled-boxes")
    """Of the results."""
    seeds: int = 3
    """Of the results."""

    @property
    def kind(self) -> str:
        """Name of the images, such as `bccd`."""
        return self.name.partition("-")[0]

    @property
    def quarter(self) -> str:
        """The set of a quarter of the labels, whose choices this one takes over."""
        return self.name if self.percent == 25 else f"{self.kind}-25"

    @property
    def passes(self) -> int:
        """Passes over the labelled images that take as many iterations as one over all."""
        return 100 // self.percent

    @property
    def teacher_epochs(self) -> int:
        """Longest training of the teacher."""
        return self.whole.teacher.epochs * self.passes

    @property
    def sizes(self) -> dict[str, int]:
        """Scenes of the digits by split."""
        return MORE_SCENES if self.percent == 100 else SIZES

    def labelled(self) -> list[str]:
        """File names of the labelled images."""
        if self.percent == 100:  # the others are drawn besides
            return [f"{number:06d}.png" for number in range(SIZES["train"])]
        return (few.LISTS / f"{self.kind}_{self.percent}.txt").read_text().split()

    def data(self, data_root: Path) -> Path:
        """Folder of the data set, which is made if it is missing.

        Raises:
            FileNotFoundError: The data set with all its labels is missing.
        """
        root, source = data_root / f"{self.whole.data}-{self.percent}", data_root / self.whole.data
        if self.percent == 100:
            source = source.with_name(f"{source.name}-more")
        if not any(root.rglob(few.REST)):
            if not source.exists() and self.kind == "digits":
                build_digit_scenes(str(source), self.sizes)
            if not source.exists():
                raise FileNotFoundError(f"no data set at {str(source)!r}: fetch it first, see research/data")
            few.build(root, source, self.labelled())
        return root


SETS = {
    of_set.name: of_set
    for of_set in (
        FewLabels("bccd-25", 25, WHOLE["bccd"], ALL, seeds=5),
        FewLabels("deeppcb-25", 25, WHOLE["deeppcb"], ALL, seeds=5),
        FewLabels("digits-25", 25, SHORTER_DIGITS),
        FewLabels("bccd-10", 10, WHOLE["bccd"]),
        FewLabels("deeppcb-10", 10, WHOLE["deeppcb"]),
        FewLabels("digits-10", 10, SHORTER_DIGITS),
        FewLabels("digits-100", 100, WHOLE["digits"]),
        FewLabels("bccd-two-stages-25", 25, TWO_STAGES, ("alone", "distilled-boxes", "soft-teacher")),
    )
}
"""By name, such as `bccd-25`."""
