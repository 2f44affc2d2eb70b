"""A small set, built once for all tests of this folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcka_mmdet.demo import build_digit_scenes

SIZES = {"train": 32, "val": 16, "test": 16}  # each of the 16 photographs in each split


@dataclass
class SmallSet:
    """What a test reads of a written set."""

    root: Path

    def annotations(self, split: str) -> dict:
        return json.loads((self.root / "annotations" / f"{split}.json").read_text())

    def pixels(self, split: str) -> np.ndarray:
        return np.stack([np.asarray(Image.open(path)) for path in sorted((self.root / split).glob("*.png"))])


@pytest.fixture(scope="session")
def small_set(tmp_path_factory) -> SmallSet:
    return SmallSet(build_digit_scenes(tmp_path_factory.mktemp("digits") / "small", SIZES))
