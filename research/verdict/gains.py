"""Gains on test, with 95 % intervals over seeds and images, from the kept detections; see PROTOCOL.md.

`gains.json` holds them: by pair, and by the name of a method. The pages are made from it.
"""

import gzip
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcka_mmdet.checkpoints.atomic_write import write_json
from pcka_mmdet.report.matches import Matches, mean_over_classes
from pcka_mmdet.report.page.scores import SAMPLES, Estimate, estimate, sample_images
from pcka_mmdet.report.run import coco_evaluator

from .choice import TEACHER_SEEDS, TEACHERS_PAIR, Choice
from .methods import Setting
from .results import Results
from .trials import Trial

ALONE, DEFAULT = "student alone", "default"
"""Names of the tuned student and of the frozen default."""

Numbers = tuple[float, float, float]
"""A value, and the ends of its interval."""


@dataclass(frozen=True)
class Gain:
    """A method on the test images of a pair. Differences are seed by seed."""

    setting: str
    """Name of the setting."""
    seeds: int
    ap: Numbers
    """Mean AP."""
    over_student: Numbers | None = None
    """AP minus that of the tuned student."""
    default_over: Numbers | None = None
    """AP of the default minus that of the method."""


@dataclass(frozen=True)
class Gains:
    """All results on the test images of a pair."""

    images: int
    teacher: float
    methods: dict[str, Gain]


class Samples:
    """AP of trainings on samples of the test images of a pair, `(1 + S)` each; the first is on all images.

    Args:
        results: Rows and detections.
        data_root: Folder of all data.
        samples: S.
    """

    def __init__(self, results: Results, data_root: Path, samples: int = SAMPLES):
        self.results, self.data_root, self.samples = results, data_root, samples
        self._weights = np.empty((0, 0))

    def of(self, trial: Trial) -> np.ndarray:
        """AP of one training."""
        config = Trial(trial.pair, Setting(), trial.seed, trial.student).config(self.data_root, Path("weights"))
        annotations = Path(coco_evaluator(config)[1]["ann_file"])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "detections.json")
            file.write_bytes(gzip.decompress(self.results.detections(trial).read_bytes()))
            matches = Matches(annotations, file, config.test_dataloader.dataset.metainfo.classes)
        if self._weights.shape[1] != len(matches.images):
            self._weights = sample_images(len(matches.images), self.samples)
        return mean_over_classes(matches.average_precision(self._weights))

    @property
    def images(self) -> int:
        """Number of test images of the last training."""
        return self._weights.shape[1]


def measure(results: Results, choice: Choice, samples: Samples) -> dict[str, Gains]:
    """The gains of all pairs, by pair."""
    return {pair: _of_pair(results, choice, pair, samples) for pair in choice.students}


def _of_pair(results: Results, choice: Choice, pair: str, samples: Samples) -> Gains:
    of_methods: dict[str, tuple[Setting, dict[int, np.ndarray]]] = {}
    for name, trials in _trials(choice, pair):
        of_methods[name] = trials[0].setting, {trial.seed: samples.of(trial) for trial in trials}
    alone, default = (of_methods[name][1] for name in (ALONE, DEFAULT))
    (teacher,) = results.test([Trial(pair, Setting("teacher"), 0)])
    gains = {}
    for name, (setting, aps) in of_methods.items():
        over_student = None if name == ALONE else _difference(alone, aps)
        default_over = None if name in (ALONE, DEFAULT) else _difference(aps, default)
        gains[name] = Gain(setting.name, len(aps), _numbers(estimate([_side(aps, aps)])), over_student, default_over)
    return Gains(samples.images, teacher, gains)


def _trials(choice: Choice, pair: str) -> Iterator[tuple[str, list[Trial]]]:
    """The tested students of each method of a pair."""
    trials = [trial for trial in choice.trials() if trial.pair == pair and trial.student is not None]

    def of(setting: Setting, teacher_seed: int = 0) -> list[Trial]:
        return [one for one in trials if (one.setting, one.teacher_seed) == (setting, teacher_seed)]

    yield ALONE, of(Setting())
    yield DEFAULT, of(choice.default)
    for name, setting in choice.rivals[pair].items():
        yield name, of(setting)
    for seed in TEACHER_SEEDS if pair == TEACHERS_PAIR else ():
        yield f"{DEFAULT}, seed {seed} of the teacher", of(choice.default, seed)


def _side(aps: dict[int, np.ndarray], other: dict[int, np.ndarray]) -> np.ndarray:
    """APs `(1 + S, n)` of the n seeds that both have."""
    return np.stack([aps[seed] for seed in sorted(aps.keys() & other.keys())], axis=1)


def _difference(first: dict[int, np.ndarray], second: dict[int, np.ndarray]) -> Numbers:
    """Second minus first."""
    return _numbers(estimate([_side(first, second), _side(second, first)], paired=True))


def _numbers(found: Estimate) -> Numbers:
    return found.value, found.low, found.high


def write(gains: dict[str, Gains], file: Path) -> None:
    """Write `gains.json`."""
    write_json(file, {pair: _plain(of_pair) for pair, of_pair in gains.items()})


def _plain(gains: Gains) -> dict[str, Any]:
    methods = {
        name: {key: value if isinstance(value, str | int) else _rounded(value) for key, value in vars(gain).items()}
        for name, gain in gains.methods.items()
    }
    return {"images": gains.images, "teacher": gains.teacher, "methods": methods}


def _rounded(numbers: Numbers | None) -> list[float] | None:
    return None if numbers is None else [round(number, 5) for number in numbers]


def read(file: Path) -> dict[str, Gains]:
    """Read `gains.json`; empty before test is read."""
    if not file.exists():
        return {}
    return {
        pair: Gains(of_pair["images"], of_pair["teacher"], {n: Gain(**gain) for n, gain in of_pair["methods"].items()})
        for pair, of_pair in json.loads(file.read_text()).items()
    }


def outcomes(gains: dict[str, Gains]) -> list[str]:
    """What follows from the gains by the protocol, in sentences."""
    over = {pair: of_pair.methods[DEFAULT].over_student for pair, of_pair in gains.items()}
    clear = [pair for pair, (_, low, _) in over.items() if low > 0]
    stands = "stands" if len(clear) >= 3 else f"shrinks to {', '.join(clear) or 'no pair'}"
    return [
        f"The default's lower bound is above 0 on {len(clear)} of {len(over)} pairs ({', '.join(clear) or 'none'}): "
        f"the claim {stands}.",
        *_of_targets(over),
        *_of_rivals(gains),
    ]


def _of_targets(over: dict[str, Numbers]) -> Iterator[str]:
    target = {pair: 0.02 if pair == "deeppcb-imagenet" else 0.03 for pair in over}
    met = [pair for pair, (value, _, _) in over.items() if value >= target[pair]]
    below = [pair for pair, (value, _, _) in over.items() if value < 0]
    others = [pair for pair in met if pair != "deeppcb-imagenet"]
    is_met = len(others) >= 3 and "deeppcb-imagenet" in met and not below
    yield (
        f"The target (+0.03 on three pairs, +0.02 on deeppcb-imagenet, below 0 on none) is "
        f"{'met' if is_met else 'missed'}: met on {', '.join(met) or 'none'}, below 0 on {', '.join(below) or 'none'}."
    )


def _of_rivals(gains: dict[str, Gains]) -> Iterator[str]:
    names = dict.fromkeys(name for of_pair in gains.values() for name in of_pair.methods)
    for name in names:
        leads = [gain.default_over for of_pair in gains.values() if (gain := of_pair.methods.get(name))]
        leads = [lead for lead in leads if lead is not None]
        by_bound = sum(high < 0 for _, _, high in leads)
        by_mean = sum(value < 0 for value, _, _ in leads)
        if by_bound >= 2 or by_mean >= 3:
            yield f"{name} is ahead of the default by its lower bound on {by_bound} pairs, by its mean on {by_mean}."
