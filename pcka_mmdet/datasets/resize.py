"""Image scaling whose result is the same to the last bit on every machine.

Libraries differ between versions and processors. Here the weights are integers, and every sum of their products with
pixels stays far below `2**53`, so float64 matrix products are exact in whatever order they add up.
"""

from functools import lru_cache

import numpy as np

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
