"""The sentences of the page: what the sides are called, what came out, and what it means."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from pcka_mmdet.configuration.data_set import annotation_path, innermost
from pcka_mmdet.configuration.detector import model_config
from pcka_mmdet.configuration.distillation import is_distillation, teachers_of
from pcka_mmdet.configuration.nested import last_name, without

from ..estimate import Estimate
from ..run import Run
from .scores import Scores, are_unlike

Sides = Mapping[str, Sequence[Run]]
"""Trainings by the name of their side, as it stands in a sentence; the baseline comes first."""

FEW_IMAGES = 20
"""Fewer test images get no verdict: an interval over so few says little."""

FEW_SEEDS = 3
"""Seeds a side that the page advises."""

LEARNED = 0.02
"""A lower AP on all sides says that none has learned."""

TEACHER, STUDENT, DISTILLED = "the teacher", "the student alone", "the distilled student"

OUTSIDE_NETWORK = ("_scope_", "data_preprocessor", "init_cfg", "pretrained", "test_cfg", "train_cfg")
"""Settings in which a student alone may differ from the student of a distillation."""


def named(plain: Sequence[Run], distilled: Sequence[Run]) -> Sides:
    """The sides by what they are.

    Args:
        plain: The baseline; may be empty.
        distilled: The trainings that the page is about.

    Returns:
        `STUDENT` and `DISTILLED` for plain trainings of a student and its distillations; of two others, the names of
        their folders.
    """
    if not plain:
        return {DISTILLED if all(map(_distils, distilled)) else "the detector": distilled}
    if all(_is_student_of(run, distillation) for run in plain for distillation in distilled):
        return {STUDENT: plain, DISTILLED: distilled}
    names = [_folders(plain), _folders(distilled)]
    if names[0] == names[1]:
        names[0] += " (baseline)"
    return dict(zip(names, (plain, distilled), strict=True))


def titles(sides: Sides) -> dict[str, Run]:
    """Each training by its name in tables: its side's, with its seed where there are several."""
    found: dict[str, Run] = {}
    for name, runs in sides.items():
        for number, run in enumerate(runs, start=1):
            which = f", training {number}" if run.seed is None else f", seed {run.seed}"
            title = short(name) + (which if len(runs) > 1 else "")
            found[title if title not in found else f"{title} ({run.folder})"] = run
    return found


def short(name: str) -> str:
    """The name of a side in tables and charts."""
    return name.removeprefix("the ")


def title(sides: Sides) -> str:
    """The heading of the page, with the names of detectors and data."""
    config = list(sides.values())[-1][0].config
    data, distils = data_name(config), is_distillation(config)
    if len(sides) == 2 and not _is_student_and_distilled(sides):
        return f"Two trainings compared on {data}"
    what = "distillation" if len(sides) == 2 else "the training"
    student = detector_name(config.model.architecture if distils else config.model)
    specs = [spec for spec, _ in teachers_of(config.model) if spec] if distils else []
    taught = f", taught by {' and '.join(map(detector_name, specs))}" if specs else ""
    return f"What {what} did: {student}{taught}, on {data}"


def detector_name(model: Any) -> str:
    """Detector and backbone, such as `RetinaNet (ResNet-18, 12 channels)`; the name of a file that is gone."""
    try:
        model = model_config(model)
    except (FileNotFoundError, ValueError):
        return Path(str(model.get("cfg_path") if isinstance(model, Mapping) else model)).stem
    backbone, name = model.get("backbone") or {}, last_name(model.get("type"))
    size = next((f"-{backbone[key]:g}" for key in ("depth", "widen_factor") if _is_number(backbone.get(key))), "")
    if backbone.get("base_channels", 64) != 64:
        size += f", {backbone['base_channels']} channels"
    return f"{name} ({last_name(backbone.get('type'))}{size})" if backbone else str(name)


def data_name(config: Config) -> str:
    """The folder of the test images, or else the name of their annotation file."""
    dataset = innermost(config.test_dataloader.dataset)
    return Path(dataset.get("data_root") or Path(annotation_path(dataset)).stem).name


def headline(sides: Sides, scores: Scores) -> str:
    """The result in one sentence or two."""
    whole, (name, runs) = scores.whole, list(sides.items())[-1]
    over = f", the mean over {len(runs)} {'seeds' if scores.by_seed else 'trainings'}" if len(runs) > 1 else ""
    text = f"{_begin(name)} reaches AP {whole.sides[-1].value:.3f}{over}"
    if whole.difference is None:
        text += f" ({interval(whole.shown, '{:.3f}')} over {scores.over})."
    else:
        text += f", {next(iter(sides))} {whole.sides[0].value:.3f}: {rounded(whole.difference.value):+.3f} "
        unpaired = ", which have no common seeds to be paired by" if scores.trainings > 1 and not scores.paired else ""
        text += f"({interval(whole.difference)} over {scores.over}{unpaired})."
    teacher = scores.teacher
    return text if teacher is None else f"{text} {_begin(TEACHER)} reaches {teacher.value:.3f}."


def notes(sides: Sides, left_out: Sequence[int]) -> list[str]:
    """What limits the result: seeds that were left out, trainings that are unlike, a test on the validation set."""
    found = [f"Seeds of one side only are left out: {', '.join(map(str, left_out))}."] if left_out else []
    for name, runs in sides.items():
        if are_unlike(runs):
            folders = ", ".join(str(run.folder) for run in runs)
            found.append(f"A mean over {name} says little: these differ in more than their seeds: {folders}.")
    if any(_tests_on_val(run.config) for runs in sides.values() for run in runs):
        found.append(
            "The test images are those of val: where they chose a setting or a checkpoint, AP and gain are too high."
        )
    return found


def apart(sides: Sides) -> Sides:
    """The sides for curves: of trainings that differ in more than their seeds each is one, named by its folder."""
    found: dict[str, Sequence[Run]] = {}
    for name, runs in sides.items():
        found |= {str(run.folder): [run] for run in runs} if are_unlike(runs) else {name: runs}
    return found


def judge(sides: Sides, scores: Scores) -> tuple[str, str]:
    """What the difference means, and the class of the text's colour; empty without a difference."""
    whole = scores.whole
    if all(side.value < LEARNED for side in whole.sides):
        who = "Neither has" if len(whole.sides) == 2 else "The detector has not"
        return f"{who} learned (AP below {LEARNED}): train longer.", "note"
    if whole.difference is None:
        return "", ""
    if scores.images < FEW_IMAGES:
        few = f"Too few test images ({scores.images}) to tell a gain from chance"
        return f"{few}: test on {FEW_IMAGES} or more.", "note"
    sign = int(whole.difference.low > 0) - int(whole.difference.high < 0)
    change = "gain" if whole.difference.value > 0 else "loss"
    if scores.trainings == 1:
        return (
            "One training a side gives no verdict. "
            + (
                f"Other test images would hardly turn this {change} around, but other seeds may"
                if sign
                else "Other test images alone could turn it around"
            )
            + f": compare {FEW_SEEDS} seeds a side or more.",
            "note",
        )
    name = _begin(list(sides)[-1])
    if not sign:
        return f"No clear difference: {scores.over} allow for a gain as well as for a loss.", "note"
    helped, harmed = ("Distillation helped", "Distillation did harm")
    if not _is_student_and_distilled(sides):
        helped, harmed = (f"{name} is better", f"{name} is worse")
    return (
        f"{helped if sign > 0 else harmed}: the {change} is larger than chance among {scores.over} explains.",
        "good" if sign > 0 else "bad",
    )


def interval(found: Estimate, form: str = "{:+.3f}") -> str:
    """Both ends of an interval."""
    return f"{form.format(rounded(found.low))} to {form.format(rounded(found.high))}"


def rounded(value: float) -> float:
    """A value as it is shown, without the sign of -0.000."""
    return round(value, 3) + 0.0


def _is_student_and_distilled(sides: Sides) -> bool:
    return list(sides) == [STUDENT, DISTILLED]


def _tests_on_val(config: Config) -> bool:
    """Whether a config tests on the annotations that it validates on."""
    loaders = [config.get(f"{split}_dataloader") for split in ("val", "test")]
    if not all(loaders):
        return False
    val, test = (annotation_path(loader.dataset) for loader in loaders)
    return val == test


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _distils(run: Run) -> bool:
    return is_distillation(run.config)


def _is_student_of(run: Run, distillation: Run) -> bool:
    """Whether a training is the student alone of a distillation. A student that is named by its file counts as such."""
    if _distils(run) or not _distils(distillation):
        return False
    student = distillation.config.model.architecture
    if isinstance(student, str) or "cfg_path" in student:
        return True
    alone, architecture = (without(model.to_dict(), OUTSIDE_NETWORK) for model in (run.config.model, student))
    return alone == architecture


def _folders(runs: Sequence[Run]) -> str:
    """The first folder's name; of several without the seed at its end."""
    name = runs[0].folder.resolve().name
    return (re.sub(r"[\W_]*seed[\W_]*\d+$", "", name) if len(runs) > 1 else "") or name


def _begin(name: str) -> str:
    return re.sub("^the ", "The ", name)
