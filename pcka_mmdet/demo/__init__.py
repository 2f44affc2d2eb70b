"""The demo: digit scenes, made without a network from what scikit-learn and scikit-image ship, and its trainings.

`python -m pcka_mmdet.demo.build ROOT` writes the scenes. Importing this module loads neither of the two packages, nor
torch or an mm* package.
"""

from .digit_scenes import SIZES, build_digit_scenes
from .reproducible import CLASSES, SPLITS

__all__ = ["CLASSES", "SIZES", "SPLITS", "build_digit_scenes"]
