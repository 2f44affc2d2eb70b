"""Scikit-learn's 1,797 handwritten digits: the split of each, and how to draw one.

Each is an 8x8 image with ink from 0 to 16 (Optical Recognition of Handwritten Digits, UCI). The split belongs to the
digits, not to a seed: whatever set is built, a training scene never shows a digit of another split.
"""

import math
from functools import lru_cache

import numpy as np

from .reproducible import CLASSES, SPLITS, Stream

SHARES = (0.60, 0.15, 0.25)  # of each class, for train, val and test
GRID = 8  # side of the stored images
INK = 0.5  # ink at the edge of a stroke, as a share of full ink


@lru_cache(maxsize=1)
def load() -> tuple[np.ndarray, np.ndarray]:
    """The ink, (1797, 8, 8) in [0, 1], and the classes, (1797,) in 0..9.

    Raises:
        ImportError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ImportError("the digits come with scikit-learn: pip install scikit-learn scikit-image") from error

    digits = load_digits()
    return digits.images / 16.0, digits.target


@lru_cache(maxsize=3)
def indices(split: str) -> np.ndarray:
    """The digits of a split, ascending; each class is divided by the same shares."""
    number, classes = SPLITS.index(split), load()[1]
    chosen = []
    for label in range(len(CLASSES)):
        of_class = np.flatnonzero(classes == label)
        of_class = of_class[Stream(label).order(len(of_class))]
        first, last = (round(len(of_class) * sum(SHARES[:n])) for n in (number, number + 1))
        chosen.append(of_class[first:last])
    return np.sort(np.concatenate(chosen))


def render(ink: np.ndarray, height: float, degrees: float) -> np.ndarray:
    """Draw a stored image, (8, 8) in [0, 1], `height` pixels high, then turned clockwise about its centre.

    The alpha mask, (h, w) in multiples of 1/255, is cropped to where it is not zero. The digit itself is where the mask
    exceeds 0.5, which no value equals. Only elementwise arithmetic is used, whose results IEEE 754 fixes.
    """
    scale = height / GRID
    reach = math.ceil(0.75 * height + scale)  # half of the rotated square's diagonal and the edge's blur
    offset = (np.arange(2 * reach) + 0.5 - reach) / scale
    # Mathematics libraries may differ in the last digit; rounding removes that.
    cos, sin = round(math.cos(math.radians(degrees)), 9), round(math.sin(math.radians(degrees)), 9)
    column = cos * offset[None, :] + sin * offset[:, None] + GRID / 2
    row = cos * offset[:, None] - sin * offset[None, :] + GRID / 2
    sharpness = max(1.5, scale / 2)  # the edge is about two pixels wide at every size
    alpha = np.clip(0.5 + sharpness * (_interpolate(ink, row, column) - INK), 0.0, 1.0)
    levels = np.rint(alpha * 255)
    rows, columns = (np.flatnonzero(levels.any(axis=axis)) for axis in (1, 0))
    return levels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] / 255


def _interpolate(ink: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Interpolate `ink` by Catmull-Rom's cubic; outside it is 0. Whole positions are the edges of pixels."""
    margin = 2 * GRID  # wide enough for every position that `render` asks for
    padded = np.pad(ink, margin)
    row, column = row - 0.5 + margin, column - 0.5 + margin
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    horizontal = _catmull_rom(column - left)
    total = np.zeros(row.shape)
    for i, weight in enumerate(_catmull_rom(row - top), start=-1):
        line = sum(w * padded[top + i, left + j] for j, w in enumerate(horizontal, start=-1))
        total += weight * line
    return total


def _catmull_rom(t: np.ndarray) -> list[np.ndarray]:
    """The weights of the four neighbours -1, 0, 1, 2 at `t` in [0, 1) from neighbour 0 (Keys 1981)."""
    return [
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]
