"""The test images on which two students differ most, or one errs most: inline SVG with boxes that can be switched.

Each training has a picture of its own, beside the other's, with the scores of its detections.

`runs` are the baseline and the training that the page is about, or that one alone.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .. import theme
from ..predictions import Boxes, correct, detections, outside_crowds
from ..run import Run

THRESHOLD = 0.3
"""Lowest score of the detections that count here."""

MOST_IMAGES = 3
"""Images of each kind that are shown."""

WIDEST = 640
"""Side of a picture in pixels, at most."""


@dataclass(frozen=True)
class Change:
    """An image, and what was found on it."""

    image: int | str
    name: str
    """The image's file."""
    objects: int
    found: list[tuple[int, int]]
    """By run, the objects that it found, and its detections that match none."""

    @property
    def gain(self) -> int:
        """Objects found minus wrong detections, the last run's minus the first one's; of a single run, its errors as a
        negative number."""
        scores = [right - wrong for right, wrong in self.found]
        return scores[-1] - (scores[0] if len(scores) > 1 else self.objects)


def largest(runs: Sequence[Run]) -> tuple[list[Change], list[Change]]:
    """The images of largest gain and of largest loss, at most `MOST_IMAGES` of each."""
    found = [_change(runs, image) for image in runs[-1].truth]
    found.sort(key=lambda change: -change.gain)
    best = [change for change in found[:MOST_IMAGES] if change.gain > 0]
    return best, [change for change in reversed(found[-MOST_IMAGES:]) if change.gain < 0]


def draw(runs: Sequence[Run], change: Change, teacher: Run | None = None) -> list[str]:
    """The image as SVG, once for each run, with layers of boxes: of class `layer-run`, `layer-truth`, `layer-teacher`.

    The pictures after the first one show the first one's pixels.
    """
    import cv2

    last = runs[-1]
    picture = cv2.imread(str(last.picture(change.image)))
    if picture is None:
        return [f"<p>the image {escape(change.name)} is not there</p>"]
    height, width = picture.shape[:2]
    scale = min(1.0, WIDEST / max(height, width))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    data = base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]).decode()
    true, side, name = last.truth[change.image], max(height, width), escape(change.name)
    common = [_layer("truth", true, true, last.classes, side)]
    if teacher is not None:
        common.append(_layer("teacher", _found(teacher, change.image), true, last.classes, side))
    place = f"pixels-{list(last.truth).index(change.image)}"
    pixels = f'<image id="{place}" width="{width}" height="{height}" href="data:image/jpeg;base64,{data}"/>'
    again = f'<use href="#{place}"/>'
    return [
        f'<svg viewBox="0 0 {width} {height}" font-size="{side / 30:.1f}" role="img" '
        f'aria-label="{name} with boxes, {number} of {len(runs)}">{again if number > 1 else pixels}'
        f"{''.join(common)}{_layer('run', _found(run, change.image), true, last.classes, side)}</svg>"
        for number, run in enumerate(runs, start=1)
    ]


def _change(runs: Sequence[Run], image: int | str) -> Change:
    true = runs[-1].truth[image]
    hits = [correct(_found(run, image), true) for run in runs]
    return Change(image, runs[-1].picture(image).name, len(true.labels), [(sum(h), len(h) - sum(h)) for h in hits])


def _found(run: Run, image: int | str) -> Boxes:
    return outside_crowds(detections(run.detections_by_image[image], THRESHOLD), run.truth[image])


def _layer(name: str, found: Boxes, true: Boxes, classes: Sequence[str], side: int) -> str:
    """Boxes with their classes: of detections above the box, with the score; of objects below it. A teacher's boxes are
    grey, within the others."""
    line, marks = side / 200, []
    scores: Sequence[float | None] = found.scores or [None] * len(found.boxes)
    for box, label, score, right in zip(found.boxes, found.labels, scores, correct(found, true), strict=True):
        x1, y1, x2, y2 = box
        dash = "" if right else f' stroke-dasharray="{2 * line:.2f} {line:.2f}"'
        colour, text = theme.class_colour(label), escape(classes[label])
        place = min(y2 + 7 * line, side) if score is None else max(y1 - line, 8 * line)
        if score is not None:
            text += f" {100 * score:.0f}%"
        if name == "teacher":
            colour, text, place = theme.METHOD_COLOURS["teacher"], f"teacher {text}", min(y2 - line, side)
        marks.append(
            f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" fill="none" '
            f'stroke="{colour}" stroke-width="{line:.2f}"{dash}/>'
            f'<text x="{x1:.1f}" y="{place:.1f}" fill="{colour}" stroke="{theme.text_on(colour)}" '
            f'stroke-width="{line:.2f}" paint-order="stroke">{text}</text>'
        )
    return f'<g class="layer-{name}">{"".join(marks)}</g>'
