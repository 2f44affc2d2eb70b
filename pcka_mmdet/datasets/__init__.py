"""The embedded demo data set: scenes of real handwritten digits on real photographs, in COCO format.

Made from what scikit-learn and scikit-image ship, so it needs no network; ``python -m pcka_mmdet.datasets.build ROOT``
writes it. Importing this module loads neither of the two, nor torch or an mm* package.
"""

from .digit_scenes import SIZES, build_digit_scenes
from .splits import CLASSES, SPLITS

__all__ = ["CLASSES", "SIZES", "SPLITS", "build_digit_scenes"]
