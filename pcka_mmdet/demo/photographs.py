"""The backgrounds: real photographs, each cut into a region for every split.

They are read from the folders of the installed scikit-image and scikit-learn. `skimage.data` is not used, since it
downloads missing files. Its page, text and clock_motion are left out: they show characters.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from .reproducible import SPLITS


class Region(NamedTuple):
    """A rectangle of a photograph, in pixels."""

    top: int
    left: int
    height: int
    width: int


SKIMAGE = (
    'astronaut.png', 'brick.png', 'camera.png', 'chelsea.png', 'coffee.png', 'coins.png', 'grass.png', 'gravel.png',
    'hubble_deep_field.jpg', 'ihc.png', 'moon.png', 'motorcycle_left.png', 'retina.jpg', 'rocket.jpg',
)  # fmt: skip
SKLEARN = ("china.jpg", "flower.jpg")
NAMES = tuple(file.rpartition(".")[0] for file in SKIMAGE + SKLEARN)
# Parts without writing: the astronaut's badges carry names, the motorcycle its maker's.
LEGIBLE = {"astronaut": Region(0, 0, 335, 512), "motorcycle_left": Region(0, 0, 500, 285)}

TRAIN_SHARE = 0.60  # of the longer side; val and test divide the rest along the shorter side
VAL_SHARE = 0.45
SIDE = (64, 320)  # smallest and largest side of a crop


def path(name: str) -> Path:
    """The file of a photograph.

    Raises:
        FileNotFoundError: If the installed package does not ship it.
    """
    file = (SKIMAGE + SKLEARN)[NAMES.index(name)]
    package, folder = ("skimage", "data") if file in SKIMAGE else ("sklearn", "datasets/images")
    spec = importlib.util.find_spec(package)
    distribution = f"scikit-{package[2:]}"
    if spec is None:
        raise FileNotFoundError(f"the photograph {file} comes with {distribution}; write: pip install {distribution}")
    installed = Path(spec.submodule_search_locations[0], folder, file)
    if not installed.is_file():
        raise FileNotFoundError(
            f"the photograph {installed} is missing; the wheels of {distribution} on PyPI ship it (a repackaged one "
            f"may not); write: pip install --force-reinstall --no-deps {distribution}"
        )
    return installed


@lru_cache(maxsize=len(NAMES))
def load(name: str) -> np.ndarray:
    """A photograph, (H, W, 3) uint8, read-only."""
    with Image.open(path(name)) as image:
        pixels = np.array(image.convert("RGB"))
    pixels.setflags(write=False)
    return pixels


@lru_cache(maxsize=3 * len(NAMES))
def region(name: str, split: str) -> Region:
    """The part of a photograph that belongs to a split; the three parts have no pixel in common.

    The side that a split gets alternates between photographs. With the same side everywhere, val would show skies and
    test would show lawns.
    """
    number, order = SPLITS.index(split), NAMES.index(name)
    whole = LEGIBLE.get(name) or Region(0, 0, *load(name).shape[:2])
    along = "height" if whole.height > whole.width else "width"
    across = "width" if along == "height" else "height"
    parts = _cut(whole, along, TRAIN_SHARE, flip=order % 2 == 1)
    return parts[0] if number == 0 else _cut(parts[1], across, VAL_SHARE, flip=order // 2 % 2 == 1)[number - 1]


def _cut(whole: Region, side: str, share: float, flip: bool) -> tuple[Region, Region]:
    """Cut a region in two along `side`; the first part has `share` of it and lies at the far end if `flip`."""
    length, start = getattr(whole, side), {"height": "top", "width": "left"}[side]
    first, origin = round(share * length), getattr(whole, start)
    starts = (origin + length - first, origin) if flip else (origin, origin + first)
    return (
        whole._replace(**{start: starts[0], side: first}),
        whole._replace(**{start: starts[1], side: length - first}),
    )


@lru_cache(maxsize=len(NAMES))
def largest_side(name: str) -> int:
    """The largest side of a crop: the same for all splits, so that all show photographs equally close."""
    return min(SIDE[1], *(min(region(name, split)[2:]) for split in SPLITS))
