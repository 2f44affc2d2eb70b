"""Gains on test, with 95 % intervals over seeds and images, from the kept detections; see PROTOCOL.md.

`gains.json` holds them: by pair, and by the name of a method. The pages are made from it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcka_mmdet.checkpoints.atomic_write import write_json
from research.trainings.intervals import BySeed, Numbers, Samples, difference, mean
from research.trainings.results import Places, Results

from .choice import RESULT_PAIRS, TEACHER_SEEDS, TEACHERS_PAIR, Choice
from .methods import Setting
from .trials import Trial

ALONE, DEFAULT = "student alone", "default"
"""Names of the tuned student and of the frozen default."""


@dataclass(frozen=True)
class Gain:
    """A method on the test images of a pair. Differences are seed by seed."""

    setting: str
    """Name of the setting."""
    epochs: int
    """Length of the trainings."""
    seeds: int
    ap: Numbers
    """Mean AP."""
    over_student: Numbers | None = None
    """AP minus that of the tuned student."""
    default_over: Numbers | None = None
    """AP of the default minus that of the method."""


@dataclass(frozen=True)
class Gains:
    """The results on the test images of a pair."""

    images: int
    teacher: float
    methods: dict[str, Gain]
    left: list[str]
    """Names of the methods that are not tested with all seeds yet."""


def measure(results: Results, choice: Choice, samples: Samples, places: Places) -> dict[str, Gains]:
    """The gains so far, by pair: of the pairs whose tuned student and default are tested with all seeds."""
    found = {}
    for pair in choice.students:
        of_methods = dict(_trials(choice, pair))
        left = [name for name, trials in of_methods.items() if not all(map(results.has, trials))]
        if ALONE not in left and DEFAULT not in left:
            found[pair] = _of_pair(results, choice, pair, left, samples, places)
    return found


def _of_pair(results: Results, choice: Choice, pair: str, left: list[str], samples: Samples, places: Places) -> Gains:
    config = Trial(pair, Setting(), 0, choice.students[pair]).config(places)
    of_methods = {name: trials for name, trials in _trials(choice, pair) if name not in left}
    samples_of: dict[str, BySeed] = {
        name: {trial.seed: samples.of(trial, config) for trial in trials} for name, trials in of_methods.items()
    }
    alone, default = samples_of[ALONE], samples_of[DEFAULT]
    (teacher,) = results.test([Trial.of_teacher(pair)])
    gains = {}
    for name, (first, *_) in of_methods.items():
        aps = samples_of[name]
        over_student = None if name == ALONE else difference(alone, aps)
        default_over = None if name in (ALONE, DEFAULT) else difference(aps, default)
        gains[name] = Gain(first.setting.name, first.student.epochs, len(aps), mean(aps), over_student, default_over)
    return Gains(samples.images, teacher, gains, left)


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


def write(gains: dict[str, Gains], file: Path) -> None:
    """Write `gains.json`."""
    write_json(file, {pair: _plain(of_pair) for pair, of_pair in gains.items()})


def _plain(gains: Gains) -> dict[str, Any]:
    methods = {
        name: {key: value if isinstance(value, str | int) else _rounded(value) for key, value in vars(gain).items()}
        for name, gain in gains.methods.items()
    }
    return {"images": gains.images, "teacher": gains.teacher, "methods": methods, "left": gains.left}


def _rounded(numbers: Numbers | None) -> list[float] | None:
    return None if numbers is None else [round(number, 5) for number in numbers]


def read(file: Path) -> dict[str, Gains]:
    """Read `gains.json`; empty before test is read."""
    if not file.exists():
        return {}
    return {
        pair: Gains(**of_pair | {"methods": {name: Gain(**gain) for name, gain in of_pair["methods"].items()}})
        for pair, of_pair in json.loads(file.read_text()).items()
    }


def outcomes(gains: dict[str, Gains]) -> list[str]:
    """What follows from the gains by the protocol, in sentences; or what is left before anything follows."""
    left = [pair for pair in RESULT_PAIRS if pair not in gains]
    left += [f"{name} on {pair}" for pair, of_pair in gains.items() for name in of_pair.left]
    if left:
        return [f"The outcome is open. Trainings are left: {', '.join(left)}."]
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
