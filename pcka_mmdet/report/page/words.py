"""The sentences of the page: what the sides are called, what came out, and what it means."""

import re
from collections.abc import Mapping, Sequence

from pcka_mmdet.configuration.distillation import is_distillation
from pcka_mmdet.configuration.nested import without

from ..bootstrap import Estimate
from ..run import Run
from ..trials import Interval
from .scores import Scores, are_unlike

Sides = Mapping[str, Sequence[Run]]
"""Trainings by the name of their side, as it stands in a sentence; the baseline comes first."""

FEW_IMAGES = 20
"""Fewer test images get no verdict: an interval over so few says little."""

TEACHER, STUDENT, DISTILLED = "the teacher", "the student alone", "the distilled student"


NOT_OF_THE_NETWORK = ("_scope_", "data_preprocessor", "init_cfg", "pretrained", "test_cfg", "train_cfg")
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
    """The heading of the page."""
    if len(sides) == 1:
        return "What the training did"
    return "What distillation did" if _of_a_student(sides) else "Two trainings compared"


def headline(sides: Sides, scores: Scores, teacher: Run | None) -> str:
    """The result in one sentence or two."""
    whole, (name, runs) = scores.whole, list(sides.items())[-1]
    over = f", the mean over {len(runs)} {'seeds' if scores.by_seed else 'trainings'}" if len(runs) > 1 else ""
    text = f"{_begin(name)} reaches AP {whole.sides[-1].value:.3f}{over}"
    if whole.difference is None:
        text += f" ({interval(whole.shown, '{:.3f}')} over samples of the images)."
    else:
        text += f", {next(iter(sides))} {whole.sides[0].value:.3f}: {rounded(whole.difference.value):+.3f} "
        text += f"({interval(whole.difference)} over samples of the images"
        if scores.seeds is not None:
            over = "seeds" if scores.paired else "trainings, which have no common seeds to be paired by"
            text += f", {interval(scores.seeds)} over {over}"
        text += ")."
    return text if teacher is None else f"{text} {_begin(TEACHER)} reaches {teacher.average_precision:.3f}."


def notes(sides: Sides, left_out: Sequence[int]) -> list[str]:
    """What a reader has to know of the mean of a side: seeds that were left out, and trainings that are unlike."""
    found = [f"Seeds of one side only are left out: {', '.join(map(str, left_out))}."] if left_out else []
    for name, runs in sides.items():
        if are_unlike(runs):
            folders = ", ".join(str(run.folder) for run in runs)
            found.append(f"A mean over {name} says little: these differ in more than their seeds: {folders}.")
    return found


def apart(sides: Sides) -> Sides:
    """The sides for curves: of trainings that differ in more than their seeds each is one, named by its folder."""
    found: dict[str, Sequence[Run]] = {}
    for name, runs in sides.items():
        found |= {str(run.folder): [run] for run in runs} if are_unlike(runs) else {name: runs}
    return found


def judge(sides: Sides, scores: Scores) -> tuple[str, str]:
    """What the difference means, by all intervals that there are, and the class of the text's colour; empty without
    a difference."""
    if scores.whole.difference is None:
        return "", ""
    if scores.images < FEW_IMAGES:
        few = f"Too few test images ({scores.images}) to tell a gain from chance"
        return f"{few}: test on {FEW_IMAGES} or more.", "note"
    several = "the seeds" if scores.paired else "the trainings"
    intervals = {"these images": scores.whole.difference, several: scores.seeds}
    signs = {what: _sign(found) for what, found in intervals.items() if found is not None}
    both, name = " and ".join(signs), _begin(list(sides)[-1])
    if set(signs.values()) == {1}:
        text = "Distillation helped" if _of_a_student(sides) else f"{name} is better"
        return f"{text}: the gain is larger than chance among {both} explains.", "good"
    if set(signs.values()) == {-1}:
        text = "Distillation did harm" if _of_a_student(sides) else f"{name} is worse"
        return f"{text}: the loss is larger than chance among {both} explains.", "bad"
    parts = [
        f"the {'gain' if sign > 0 else 'loss'} is larger than chance among {what} explains"
        for what, sign in signs.items()
        if sign
    ]
    if unclear := " and ".join(what for what, sign in signs.items() if not sign):
        parts.append(f"{unclear} allow for a gain as well as for a loss")
    return f"No clear difference: {', but '.join(parts)}.", "note"


def interval(found: Estimate | Interval, form: str = "{:+.3f}") -> str:
    """Both ends of an interval."""
    return f"{form.format(rounded(found.low))} to {form.format(rounded(found.high))}"


def rounded(value: float) -> float:
    """A value as it is shown, without the sign of -0.000."""
    return round(value, 3) + 0.0


def _sign(found: Estimate | Interval) -> int:
    """1 for a gain, -1 for a loss, 0 for an interval that holds 0."""
    return int(found.low > 0) - int(found.high < 0)


def _of_a_student(sides: Sides) -> bool:
    return list(sides) == [STUDENT, DISTILLED]


def _distils(run: Run) -> bool:
    return is_distillation(run.config)


def _is_student_of(run: Run, distillation: Run) -> bool:
    """Whether a training is the student alone of a distillation. A student that is named by its file counts as such."""
    if _distils(run) or not _distils(distillation):
        return False
    student = distillation.config.model.architecture
    if isinstance(student, str) or "cfg_path" in student:
        return True
    alone, architecture = (without(model.to_dict(), NOT_OF_THE_NETWORK) for model in (run.config.model, student))
    return alone == architecture


def _folders(runs: Sequence[Run]) -> str:
    """The first folder's name; of several without the seed at its end."""
    name = runs[0].folder.resolve().name
    return (re.sub(r"[\W_]*seed[\W_]*\d+$", "", name) if len(runs) > 1 else "") or name


def _begin(name: str) -> str:
    return re.sub("^the ", "The ", name)
