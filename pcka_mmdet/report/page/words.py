"""The sentences of the page: what the sides are called, what came out, and what it means."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from mmengine.config import Config

from pcka_mmdet.configuration.data_set import annotation_path, innermost, mixes_extra
from pcka_mmdet.configuration.detector import model_config
from pcka_mmdet.configuration.distillation import is_distillation, teachers_of
from pcka_mmdet.configuration.nested import last_name, without

from ..run import Run
from ..scalars import training_records
from .scores import SIGNED, Scores, Sides, are_unlike

FEW_IMAGES = 20  # fewer test images get no verdict: an interval over so few says little
FEW_SEEDS = 3  # advised on each side
LEARNED = 0.02  # a side with a lower AP has not learned
TEACHER, STUDENT, DISTILLED = "the teacher", "the student alone", "the distilled student"

OUTSIDE_NETWORK = ("_scope_", "data_preprocessor", "init_cfg", "pretrained", "test_cfg", "train_cfg")
"""Settings in which a student alone may differ from the student of a distillation."""


def named(plain: Sequence[Run], distilled: Sequence[Run]) -> Sides:
    """The sides by name: `STUDENT` and `DISTILLED` for a student and its distillations, else by their folders."""
    if not plain:
        distils = all(is_distillation(run.config) for run in distilled)
        return {DISTILLED if distils else "the detector": distilled}
    if all(_is_student_of(run.config, distillation.config) for run in plain for distillation in distilled):
        return {STUDENT: plain, DISTILLED: distilled}
    baseline, name = _folder_name(plain), _folder_name(distilled)
    return {f"{baseline} (baseline)" if baseline == name else baseline: plain, name: distilled}


def _is_student_of(config: Config, distillation: Config) -> bool:
    """Whether a config trains the student of a distillation; so it seems if the distillation names a student's file."""
    if is_distillation(config) or not is_distillation(distillation):
        return False
    student = distillation.model.architecture
    if isinstance(student, str) or "cfg_path" in student:
        return True
    return without(config.model.to_dict(), OUTSIDE_NETWORK) == without(student.to_dict(), OUTSIDE_NETWORK)


def _folder_name(runs: Sequence[Run]) -> str:
    """The first folder's name; of several seeds without the seed at its end."""
    name = runs[0].folder.resolve().name
    return (re.sub(r"[\W_]*seed[\W_]*\d+$", "", name) if len(runs) > 1 else "") or name


def titles(sides: Sides) -> dict[str, Run]:
    """Each training by its name in tables: its side's, with its seed where there are several."""
    runs_by_title: dict[str, Run] = {}
    for name, runs in sides.items():
        for number, run in enumerate(runs, start=1):
            which = f", training {number}" if run.seed is None else f", seed {run.seed}"
            title = short(name) + (which if len(runs) > 1 else "")
            runs_by_title[f"{title} ({run.folder})" if title in runs_by_title else title] = run
    return runs_by_title


def short(name: str) -> str:
    """The name of a side in tables and charts."""
    return name.removeprefix("the ")


def _begin(name: str) -> str:
    return re.sub("^the ", "The ", name)


def title(sides: Sides) -> str:
    """The heading of the page, with the names of detectors and data."""
    config = list(sides.values())[-1][0].config
    dataset = innermost(config.test_dataloader.dataset)
    data = Path(dataset.get("data_root") or Path(annotation_path(dataset)).stem).name
    distils = is_distillation(config)
    if len(sides) == 2 and list(sides) != [STUDENT, DISTILLED]:
        return f"Two trainings compared on {data}"
    what = "distillation" if len(sides) == 2 else "the training"
    student = detector_name(config.model.architecture if distils else config.model)
    teachers = [detector_name(spec) for spec, _ in teachers_of(config.model) if spec] if distils else []
    taught = f", taught by {' and '.join(teachers)}" if teachers else ""
    return f"What {what} did: {student}{taught}, on {data}"


def detector_name(model: Any) -> str:
    """Detector and backbone, such as `RetinaNet (ResNet-18, 12 channels)`; the name of a missing file."""
    try:
        model = model_config(model)
    except (FileNotFoundError, ValueError):
        return Path(str(model.get("cfg_path") if isinstance(model, Mapping) else model)).stem
    backbone, name = model.get("backbone") or {}, last_name(model.get("type"))
    numbers = [backbone.get(key) for key in ("depth", "widen_factor")]
    size = next((f"-{number:g}" for number in numbers if isinstance(number, int | float)), "")
    if backbone.get("base_channels", 64) != 64:
        size += f", {backbone['base_channels']} channels"
    return f"{name} ({last_name(backbone.get('type'))}{size})" if backbone else name


def headline(sides: Sides, scores: Scores) -> str:
    """The result in one sentence or two."""
    whole, (name, runs) = scores.whole, list(sides.items())[-1]
    over = f", the mean over {len(runs)} {scores.repeats}" if len(runs) > 1 else ""
    value, interval = whole.sides[-1].written()
    text = f"{_begin(name)} reaches AP {value}{over}"
    if whole.difference is None:
        text += f" ({interval} over {scores.over})."
    else:
        difference, interval = whole.difference.written(SIGNED)
        unpaired = ", which have no common seeds to be paired by" if scores.trainings > 1 and not scores.paired else ""
        baseline = f"{next(iter(sides))} {whole.sides[0].written()[0]}"
        text += f", {baseline}: {difference} ({interval} over {scores.over}{unpaired})."
    return f"{text} {_begin(TEACHER)} reaches {scores.teacher.written()[0]}." if scores.teacher else text


def notes(sides: Sides, left_out: Sequence[int]) -> list[str]:
    """What limits or explains the result: seeds that were left out, trainings of unlike settings or lengths, extra
    images, a test on val."""
    sentences = [f"Seeds of one side only are left out: {', '.join(map(str, left_out))}."] if left_out else []
    for name, runs in sides.items():
        if are_unlike(runs):
            folders = ", ".join(str(run.folder) for run in runs)
            sentences.append(f"A mean over {name} says little: these differ in more than their seeds: {folders}.")
    lengths = sorted({length for run in chain(*sides.values()) if (length := _length(run))})
    if len(lengths) > 1:
        sentences.append(f"The trainings differ in length ({', '.join(lengths)}), which changes the AP too.")
    for name, runs in sides.items():
        sentences += dict.fromkeys(f"{name}: {text}" for run in runs if (text := _extra_images(run)))
    loaders = [(run.config.get("val_dataloader"), run.config.get("test_dataloader")) for run in chain(*sides.values())]
    if any(val and test and annotation_path(val.dataset) == annotation_path(test.dataset) for val, test in loaders):
        of_val = "where they chose a setting or a checkpoint, AP and gain are too high"
        sentences.append(f"The test images are those of val: {of_val}.")
    return sentences


def _extra_images(run: Run) -> str:
    """The extra images of a training; empty without them."""
    loader: dict = run.config.get("train_dataloader") or {}
    if not mixes_extra(loader):
        return ""
    folder = innermost(loader["dataset"]["datasets"][1])["data_prefix"]["img"]
    number, batch = loader["sampler"]["extra"], loader["batch_size"]
    return f"{number} of {batch} images in a batch are extra images of {folder}."


def _length(run: Run) -> str:
    """How far a training came, by its log; empty without one."""
    last = (training_records(run.records) or [{}])[-1]
    return f"{last['epoch']} epochs" if last.get("epoch") else f"{last['iter']} iterations" if last else ""


def apart(sides: Sides) -> Sides:
    """The sides for curves: a side whose trainings differ in more than their seeds becomes one side a folder."""
    separate: dict[str, Sequence[Run]] = {}
    for name, runs in sides.items():
        separate |= {str(run.folder): [run] for run in runs} if are_unlike(runs) else {name: runs}
    return separate


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
        chance = "Other test images alone could turn it around"
        if sign:
            chance = f"Other test images would hardly turn this {change} around, but other seeds may"
        advice = f"compare {FEW_SEEDS} seeds a side or more"
        return f"One training a side gives no verdict. {chance}: {advice}.", "note"
    if not sign:
        return f"No clear difference: {scores.over} allow for a gain as well as for a loss.", "note"
    if list(sides) == [STUDENT, DISTILLED]:
        result = "Distillation helped" if sign > 0 else "Distillation did harm"
    else:
        result = f"{_begin(list(sides)[-1])} is {'better' if sign > 0 else 'worse'}"
    reason = f"the {change} is larger than chance among {scores.over} explains"
    return f"{result}: {reason}.", "good" if sign > 0 else "bad"
