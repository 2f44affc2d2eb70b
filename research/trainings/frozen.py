"""The trainings of a protocol's results: chosen on val, frozen in a file that is committed, then tested once."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple, Protocol

from mmengine.config import Config

from pcka_mmdet.checkpoints.atomic_write import write_json
from research.trials import markdown_table

from . import intervals
from .intervals import BySeed, Samples
from .results import Places, Results, Trial


class MethodTrial(Trial, Protocol):
    """A training of a student by a method, or of a teacher, whose method is `teacher`."""

    method: str
    seed: int

    def on_test(self) -> "MethodTrial":
        """The same training, also tested."""

    def config(self, places: Places) -> Config:
        """The config without a teacher; it has the test images."""


class OnTest(NamedTuple):
    """AP of a pair on its test images."""

    images: int
    teacher: float
    methods: dict[str, BySeed]
    """By method, without the teacher."""


class Frozen:
    """The frozen trainings.

    Args:
        file: Where they are kept.
        choose: The trainings that the results on val choose; raises `Missing` while these are not complete.
        of_row: The trial of a row of results.
    """

    def __init__(
        self, file: Path, choose: Callable[[Results], list[MethodTrial]], of_row: Callable[[dict], MethodTrial]
    ):
        self.file, self.choose, self.of_row = file, choose, of_row

    def freeze(self, results: Results) -> None:
        """Write the file. It is to be committed before test is read.

        Raises:
            Missing: Trainings are left.
        """
        write_json(self.file, [asdict(trial) for trial in self.choose(results)])

    def trials(self) -> list[MethodTrial]:
        """The frozen trainings; none before they are frozen."""
        rows = json.loads(self.file.read_text()) if self.file.exists() else []
        return [self.of_row(dict(trial=row)) for row in rows]

    def test(self, results: Results) -> None:
        """The step that reads test; nothing while nothing is frozen.

        Raises:
            Missing: Tests are left.
            ValueError: The frozen trainings are not those that the results on val choose.
        """
        if not (trials := self.trials()):
            return
        if trials != self.choose(results):
            raise ValueError(f"{self.file.name} is not what the results on val choose: freeze the choice again")
        results.test([trial.on_test() for trial in trials])

    def on_test(self, results: Results, places: Places) -> dict[str, OnTest]:
        """What each pair has on test, from the kept detections; empty before the trainings are frozen."""
        samples, of_pairs = Samples(results), defaultdict(list)
        for trial in self.trials():
            of_pairs[trial.pair].append(trial)
        found = {}
        for pair, trials in of_pairs.items():
            config = trials[0].config(places)
            of_methods: dict[str, BySeed] = defaultdict(dict)
            for trial in trials:
                of_methods[trial.method][trial.seed] = samples.of(trial, config)
            (teacher,) = of_methods.pop("teacher").values()
            found[pair] = OnTest(samples.images, teacher[0], dict(of_methods))
        return found


def tables(
    of_pairs: Mapping[str, OnTest], names: Mapping[str, str], alone: str, reference: str | None = None
) -> Iterator[str]:
    """A section with a table of each pair on test; nothing without pairs.

    Args:
        of_pairs: What they have, by pair.
        names: Names of the methods on the page, by method.
        alone: The method that the others are compared with.
        reference: A further one, of which the others are subtracted.
    """
    if of_pairs:
        yield "## On test\n\nDifferences are seed by seed, with 95 % intervals over seeds and test images.\n"
    for pair, (images, teacher, methods) in of_pairs.items():
        rows = []
        for method, aps in methods.items():
            value, low, high = intervals.mean(aps)
            row = [names[method], str(len(aps)), f"{value:.3f} ({low:.3f} to {high:.3f})"]
            row.append("" if method == alone else difference(methods[alone], aps))
            if reference:
                row.append("" if method in (alone, reference) else difference(aps, methods[reference]))
            rows.append(row)
        yield f"{pair}, {images} images, AP of the teacher {teacher:.3f}:\n"
        subtracted = [f"{names[reference]}, minus this"] if reference else []
        yield markdown_table(["student", "seeds", "AP", "minus the student alone", *subtracted], rows)


def difference(first: BySeed, second: BySeed) -> str:
    """Second minus first, with its interval."""
    return intervals.written(intervals.difference(first, second))


def choices(
    results: Results, pair: str, columns: Sequence[str], key: Callable[[dict[str, Any]], tuple[str, ...] | None]
) -> Iterator[str]:
    """A section with the mean AP on val over the seeds of the trainings that choose; none without results.

    Args:
        results: Rows.
        pair: Name of the pair.
        columns: Names of the parts of `key`.
        key: What a row is a training of; `None` for those that do not choose.
    """
    aps: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for row in results.rows(pair).values():
        if (of_row := key(row)) is not None:
            aps[of_row].append(row["val"])
    if aps:
        rows = [[*of_row, str(len(values)), f"{mean(values):.3f}"] for of_row, values in sorted(aps.items())]
        yield f"## Choices on {pair}, on val\n"
        yield markdown_table([*columns, "seeds", "AP"], rows)
