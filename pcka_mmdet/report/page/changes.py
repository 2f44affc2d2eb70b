"""The test images on which two students differ most, or one makes the most errors."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from ..matches import Box
from ..run import Run

THRESHOLD = 0.3  # lowest score of the detections that count
MOST_IMAGES = 3  # of each kind
MOST_PIXELS = 640  # longer side of a picture


@dataclass(frozen=True)
class Change:
    """A test image, with its objects and the detections of each run."""

    image: int | str
    file: Path
    objects: list[Box]
    detections: list[list[Box]]
    """By run."""

    @property
    def gain(self) -> int:
        """Correct minus wrong detections, compared with the first run; of a single run, compared with no error."""
        values = [sum(1 if box.correct else -1 for box in boxes) for boxes in self.detections]
        return values[-1] - (values[0] if len(values) > 1 else len(self.objects))


def largest(runs: Sequence[Run]) -> tuple[list[Change], list[Change]]:
    """The images of largest gain and of largest loss of one training, or of a second one over the first."""
    detections = [run.matches.detections(THRESHOLD) for run in runs]
    changes = [
        Change(image, runs[-1].picture(image), objects, [boxes[image] for boxes in detections])
        for image, objects in runs[-1].matches.objects.items()
    ]
    changes.sort(key=lambda change: -change.gain)
    better = [change for change in changes[:MOST_IMAGES] if change.gain > 0]
    return better, [change for change in reversed(changes[-MOST_IMAGES:]) if change.gain < 0]


def photo(file: Path) -> tuple[int, int, str] | None:
    """Width and height, and the image as a small JPEG in base64; `None` if it cannot be read."""
    picture = cv2.imread(str(file))
    if picture is None:
        return None
    height, width = picture.shape[:2]
    scale = min(1.0, MOST_PIXELS / max(height, width))
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return width, height, base64.b64encode(data).decode()
