"""From which score a detection is taken for an object: chosen by class on labelled images."""

import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcka_mmdet.report.matches import Matches, mean_over_classes

from .detections import Detections, write_results

UNSURE_BETA = 2.0
"""Weight of recall against precision for the lower threshold."""


@dataclass(frozen=True)
class Threshold:
    """From which scores boxes of a class are sure, and unsure."""

    name: str
    """Of the class."""
    sure: float
    """`inf` where no score is good enough."""
    unsure: float
    """At most `sure`."""
    precision: float
    """Of sure boxes on the labelled images, at an IoU of 0.5; NaN without any."""
    recall: float
    """Likewise; NaN without an object."""
    objects: int
    """Number of objects in the labelled images."""


@dataclass(frozen=True)
class Quality:
    """A teacher on the labelled images."""

    ap: float | None
    """Of the classes that the teacher knows; `None` without labelled images."""
    thresholds: list[Threshold]
    lacking: list[str]
    """Classes of the labelled images that the teacher does not know."""
    left_out: list[str]
    """Classes of the teacher that the labelled images do not know."""


def fixed(names: Sequence[str], score: float) -> list[Threshold]:
    """One threshold for all classes, and no unsure boxes."""
    return [Threshold(name, score, score, math.nan, math.nan, 0) for name in names]


def choose(
    annotations: Path,
    detections: Detections,
    category_ids: dict[str, int],
    known: Sequence[str],
    precision: float | None,
) -> Quality:
    """Thresholds with the best F1 on labelled images, or the lowest with a wanted precision.

    A class without objects there has the median of the other thresholds. Unsure boxes begin at the best F2, in which
    recall counts twice.

    Args:
        annotations: File of the labelled images.
        detections: What the teacher found there.
        category_ids: Ids of the classes in that file.
        known: Classes that the teacher knows.
        precision: The wanted precision; `None` takes the best F1.

    Raises:
        ValueError: The teacher knows none of the classes, or the file has no object of those that it knows.
    """
    names = [name for name in category_ids if name in known]
    if not names:
        raise ValueError(
            f"the teacher knows {list(known)}, and {str(annotations)!r} has {list(category_ids)}: no class is in both. "
            "Give --classes MAP if the same classes have other names"
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "detections.json")
        write_results(detections, category_ids, file)
        matches = Matches(annotations, file, names)
    found: dict[str, list[tuple[float, bool]]] = {name: [] for name in names}
    for boxes in matches.detections(0.0).values():
        for box in boxes:
            found[names[box.label]].append((box.score or 0.0, box.correct))
    objects = Counter(names[box.label] for boxes in matches.objects.values() for box in boxes)
    if not any(objects[name] for name in names):
        raise ValueError(
            f"{str(annotations)!r} has no object of {names}: thresholds cannot be chosen. Give --val FILE.json:FOLDER "
            "of images with objects, or --threshold SCORE"
        )
    thresholds = [_threshold(name, found[name], objects[name], precision) for name in names]
    ap = mean_over_classes(matches.average_precision(np.ones((1, len(matches.images)))))[0]
    lacking, left_out = ([name for name in one if name not in names] for one in (category_ids, known))
    return Quality(float(ap), _filled(thresholds), lacking, left_out)


def _threshold(name: str, found: Sequence[tuple[float, bool]], objects: int, wanted: float | None) -> Threshold:
    nothing = Threshold(name, math.inf, math.inf, math.nan, 0.0 if objects else math.nan, objects)
    scores, correct = np.array(found, dtype=float).reshape(-1, 2).T
    if not correct.any():
        return nothing
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], correct[order].cumsum()
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / objects
    last_of_score = np.append(scores[1:] != scores[:-1], True)  # boxes of one score are taken together
    if wanted is None:
        index = _best(_f_score(precision, recall, 1.0), last_of_score)
    else:
        good = np.flatnonzero(last_of_score & (precision >= wanted))
        if not len(good):
            return nothing
        index = good[-1]
    lower = max(index, _best(_f_score(precision, recall, UNSURE_BETA), last_of_score))
    return Threshold(
        name, float(scores[index]), float(scores[lower]), float(precision[index]), float(recall[index]), objects
    )


def _best(values: np.ndarray, allowed: np.ndarray) -> int:
    return int(np.where(allowed, values, -1).argmax())


def _f_score(precision: np.ndarray, recall: np.ndarray, beta: float) -> np.ndarray:
    """van Rijsbergen's F."""
    return (1 + beta**2) * precision * recall / np.maximum(beta**2 * precision + recall, np.finfo(float).tiny)


def _filled(thresholds: list[Threshold]) -> list[Threshold]:
    """Classes without an object get the median of the others."""
    chosen = [one for one in thresholds if math.isfinite(one.sure)]
    if not chosen:
        return thresholds
    sure, unsure = (float(np.median([getattr(one, side) for one in chosen])) for side in ("sure", "unsure"))
    return [one if one.objects else Threshold(one.name, sure, unsure, math.nan, math.nan, 0) for one in thresholds]
