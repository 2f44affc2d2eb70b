"""The test images on which a distilled student gains and loses most, as inline SVG with boxes that can be switched."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .. import colours
from ..predictions import Boxes, correct, detections
from .run import Run

THRESHOLD = 0.3
"""Lowest score of the detections that count here."""

WIDEST = 640
"""Side of a picture in pixels, at most."""


@dataclass(frozen=True)
class Change:
    """An image, and what both students found on it."""

    image: int
    objects: int
    right: tuple[int, int]
    """Objects that the plain and the distilled student found."""
    wrong: tuple[int, int]
    """Their detections that match no object."""

    @property
    def gain(self) -> int:
        """Objects found minus wrong detections, the distilled student's minus the plain one's."""
        return (self.right[1] - self.wrong[1]) - (self.right[0] - self.wrong[0])


def largest(plain: Run, distilled: Run, count: int = 3) -> tuple[list[Change], list[Change]]:
    """The images of largest gain and of largest loss, at most `count` of each."""
    found = [_change(plain, distilled, image) for image in distilled.truth]
    found.sort(key=lambda change: -change.gain)
    best = [change for change in found[:count] if change.gain > 0]
    return best, [change for change in reversed(found[-count:]) if change.gain < 0]


def draw(plain: Run, distilled: Run, change: Change) -> str:
    """The image as SVG, with a layer of boxes for the ground truth (class `layer-truth`) and for each student."""
    import cv2

    picture = cv2.imread(str(distilled.picture(change.image)))
    if picture is None:
        return f"<p>the image {escape(str(distilled.picture(change.image)))} is not there</p>"
    height, width = picture.shape[:2]
    scale = min(1.0, WIDEST / max(height, width))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    data = base64.b64encode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]).decode()
    true = distilled.truth[change.image]
    shown = (true, *(_found(run, change.image) for run in (plain, distilled)))
    layers = [
        _layer(name, found, true, distilled.classes, max(height, width))
        for name, found in zip(("truth", "plain", "distilled"), shown, strict=True)
    ]
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="test image {change.image} with boxes">'
        f'<image href="data:image/jpeg;base64,{data}" width="{width}" height="{height}"/>{"".join(layers)}</svg>'
    )


def _change(plain: Run, distilled: Run, image: int) -> Change:
    true = distilled.truth[image]
    hits = [correct(_found(run, image), true) for run in (plain, distilled)]
    right, wrong = tuple(map(sum, hits)), tuple(len(each) - sum(each) for each in hits)
    return Change(image, len(true.labels), right, wrong)


def _found(run: Run, image: int) -> Boxes:
    return detections(run.detections_by_image[image], THRESHOLD)


def _layer(name: str, found: Boxes, true: Boxes, classes: Sequence[str], side: int) -> str:
    line, marks = side / 200, []
    for box, label, right in zip(found.boxes, found.labels, correct(found, true), strict=True):
        x1, y1, x2, y2 = box
        dash = "" if right else f' stroke-dasharray="{2 * line:.2f} {line:.2f}"'
        colour, text = colours.of_class(label), escape(classes[label])
        marks.append(
            f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" fill="none" '
            f'stroke="{colour}" stroke-width="{line:.2f}"{dash}/>'
            f'<text x="{x1:.1f}" y="{max(y1 - line, 5 * line):.1f}" font-size="{5 * line:.1f}" fill="{colour}" '
            f'stroke="black" stroke-width="{line / 3:.2f}" paint-order="stroke">{text}</text>'
        )
    return f'<g class="layer-{name}">{"".join(marks)}</g>'
