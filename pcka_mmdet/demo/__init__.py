"""Data sets: digit scenes and digit images, which are made here; BCCD and DeepPCB, which are fetched and converted.

Digits are made from what scikit-learn and scikit-image ship, without a network: `python -m pcka_mmdet.demo.build
ROOT`. Importing this module loads neither of the two, nor torch or an mm* package.
"""

from .digit_scenes import SIZES, build_digit_scenes
from .reproducible import CLASSES, SPLITS

__all__ = ["CLASSES", "SIZES", "SPLITS", "build_digit_scenes"]
