"""Random numbers and scaled images that are the same on every machine; the names of classes and splits."""

from functools import lru_cache

import numpy as np

CLASSES = tuple("0123456789")
SPLITS = ("train", "val", "test")


class Stream:
    """Random numbers that are the same with every NumPy on every machine.

    NumPy promises this for `RandomState` only (NEP 19). Its integer and normal draws depend on the platform's integer
    width and mathematics library, so only `random_sample` is used. `key` are non-negative integers below `2**32`.
    """

    def __init__(self, *key: int) -> None:
        self._state = np.random.RandomState(list(key))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in `[low, high)`."""
        return low + (high - low) * self._state.random_sample()

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return low + int(self._state.random_sample() * (high - low + 1))

    def order(self, count: int) -> np.ndarray:
        """The numbers below `count` in random order."""
        return np.argsort(self._state.random_sample(count), kind="stable")


ONE = 2**12  # the sum of the weights of an output pixel


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Scale an image, (H, W, 3) uint8, to (size, size, 3): linearly when it grows, antialiased when it shrinks."""
    height, width, channels = image.shape
    rows = _weights(height, size) @ image.reshape(height, -1).astype(np.float64)
    columns = _weights(width, size) @ rows.reshape(size, width, channels)
    return ((columns.astype(np.int64) + ONE * ONE // 2) // (ONE * ONE)).astype(np.uint8)


@lru_cache(maxsize=512)
def _weights(length: int, size: int) -> np.ndarray:
    """The triangle filter from `length` to `size` pixels, (size, length), integers with row sums `ONE`."""
    scale = length / size
    centre = (np.arange(size) + 0.5) * scale
    distance = np.abs(np.arange(length) + 0.5 - centre[:, None]) / max(scale, 1.0)
    raw = np.rint(np.clip(1.0 - distance, 0.0, None) * 2**20).astype(np.int64)
    weights = raw * ONE // raw.sum(axis=1, keepdims=True)
    weights[np.arange(size), weights.argmax(axis=1)] += ONE - weights.sum(axis=1)
    return weights.astype(np.float64)
