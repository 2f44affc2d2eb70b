"""One scene: digits on a crop of a photograph, with exact boxes.

`(seed, split, index)` and the image size determine a scene. The layout (which digits, where, how large) is
drawn from a separate stream and depends on no pixel of the photograph, so the annotations do not depend on how an
image library decodes a JPEG.

Shape shorthand: S the image side, N the number of digits in the scene.
"""

import math
from dataclasses import dataclass

import numpy as np

from . import digits, photographs
from .photographs import Region
from .reproducible import SPLITS, Stream, resize

HEIGHT = (14, 56)  # pixels, log-uniform
ROTATION = 20.0  # degrees to either side
VISIBLE = 0.6  # the least share of a digit's pixels that later digits and the border leave visible
OVERHANG = 0.1  # the largest share of a digit's side beyond the border
TRIES = 100  # most digits that are drawn for a scene until it has enough visible ones
CONTRAST = (40.0, 140.0)  # difference of lightness (0..255) between a digit and its surroundings, log-uniform
CLUTTER = 1.5  # least contrast, in standard deviations of the surroundings
OPACITY = (0.8, 1.0)
LUMA = np.array([77, 150, 29])  # ITU-R BT.601, in 1/256


@dataclass(frozen=True)
class Scene:
    """A picture and what it shows; the digits in the order in which they were painted."""

    image: np.ndarray  # (S, S, 3) uint8
    masks: np.ndarray  # (N, S, S) bool: the pixels of each digit that no later one covers
    boxes: np.ndarray  # (N, 4) int: x, y, width, height of the masks; pixel x covers [x, x + 1)
    labels: np.ndarray  # (N,) int in 0..9
    digits: np.ndarray  # (N,) int: the digits' numbers in scikit-learn's set
    photograph: str
    crop: Region  # of the photograph


def compose(seed: int, split: str, index: int, image_size: int = 128) -> Scene:
    """Make scene `index` of a split."""
    key = (seed, SPLITS.index(split), index)
    chosen, alphas = _layout(Stream(*key, 0), split, image_size)
    masks = alphas > 0.5
    for later in range(1, len(masks)):
        masks[:later] &= ~masks[later]
    stream = Stream(*key, 1)
    name = photographs.NAMES[index % len(photographs.NAMES)]
    image, crop = _background(stream, name, split, image_size)
    for alpha in alphas:
        image = _paint(stream, image, alpha)
    labels = digits.load()[1][chosen]
    return Scene(image, masks, np.array([_box(mask) for mask in masks]), labels, np.array(chosen), name, crop)


def _layout(stream: Stream, split: str, size: int) -> tuple[list[int], np.ndarray]:
    """Which digits a scene holds and their alpha masks on the canvas, (N, S, S), in order of painting."""
    count = 2 + sum(stream.uniform() < 1 / 3 for _ in range(6))  # 2 to 8, 4 on average
    pool = digits.indices(split)
    chosen, alphas, areas = [], [], []
    visible = np.zeros((0, size, size), dtype=bool)
    for _ in range(TRIES):
        digit = int(pool[stream.integer(0, len(pool) - 1)])
        alpha, area = _place(stream, digits.load()[0][digit], size)
        remaining = np.concatenate([visible & (alpha <= 0.5), [alpha > 0.5]])
        if np.all(remaining.sum(axis=(1, 2)) >= VISIBLE * np.array([*areas, area])):
            visible = remaining
            chosen.append(digit)
            alphas.append(alpha)
            areas.append(area)
        if len(chosen) == count:
            break
    return chosen, np.stack(alphas)


def _place(stream: Stream, ink: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """Draw a digit somewhere on an empty canvas; return its alpha mask, (S, S), and its number of pixels when whole."""
    height = round(HEIGHT[0] * (HEIGHT[1] / HEIGHT[0]) ** stream.uniform())
    alpha = digits.render(ink, height, stream.uniform(-ROTATION, ROTATION))
    margin = max(alpha.shape)
    canvas = np.zeros((size + 2 * margin, size + 2 * margin))
    top, left = (
        stream.integer(-int(OVERHANG * side), size - side + int(OVERHANG * side)) + margin for side in alpha.shape
    )
    canvas[top : top + alpha.shape[0], left : left + alpha.shape[1]] = alpha
    return canvas[margin:-margin, margin:-margin], int((alpha > 0.5).sum())


def _background(stream: Stream, name: str, split: str, size: int) -> tuple[np.ndarray, Region]:
    """A square part of a photograph's region for the split, (S, S, 3) uint8, maybe mirrored, and its place."""
    region = photographs.region(name, split)
    side = stream.integer(photographs.SIDE[0], photographs.largest_side(name))
    top = region.top + stream.integer(0, region.height - side)
    left = region.left + stream.integer(0, region.width - side)
    image = resize(photographs.load(name)[top : top + side, left : left + side], size)
    return image[:, :: 1 if stream.uniform() < 0.5 else -1], Region(top, left, side, side)


def _paint(stream: Stream, image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Paint a digit in a random colour, with a random contrast to its surroundings."""
    x, y, width, height = _box(alpha > 0.5)
    lightness = (image[y : y + height, x : x + width] @ LUMA) // 256
    mean = int(lightness.sum()) / lightness.size
    deviation = math.sqrt(max(0.0, int((lightness**2).sum()) / lightness.size - mean * mean))
    contrast = max(CONTRAST[0] * (CONTRAST[1] / CONTRAST[0]) ** stream.uniform(), CLUTTER * deviation)
    sign = 1 if stream.uniform() < 0.5 else -1
    if not 0 <= mean + sign * contrast <= 255:
        sign = 1 if mean < 127.5 else -1
    hue = [stream.uniform(0, 255) for _ in range(3)]
    colour = np.rint(_with_lightness(hue, min(255.0, max(0.0, mean + sign * contrast))))
    opacity = (alpha * stream.uniform(*OPACITY))[..., None]
    return np.rint(image + opacity * (colour - image)).astype(np.uint8)


def _with_lightness(colour: list[float], target: float) -> np.ndarray:
    """Mix a colour with white or black until it has the lightness `target`."""
    lightness = sum(int(weight) * value for weight, value in zip(LUMA, colour, strict=True)) / 256
    if target > lightness:
        return 255 - (255 - np.array(colour)) * ((255 - target) / (255 - lightness))
    return np.array(colour) * (target / max(lightness, 1e-9))


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x, y, width and height of the smallest box around the pixels of a mask, (S, S) bool."""
    columns, rows = (np.flatnonzero(mask.any(axis=axis)) for axis in (0, 1))
    return int(columns[0]), int(rows[0]), int(columns[-1] - columns[0]) + 1, int(rows[-1] - rows[0]) + 1
