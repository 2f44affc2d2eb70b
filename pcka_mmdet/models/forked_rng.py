"""A fork of the random state, which leaves the training's random numbers unchanged."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def forked_rng() -> Iterator[None]:
    """Context in which torch draws from a fork of its random state: the CPU's and that of this process's GPU.

    Without devices `torch.random.fork_rng` would fork every GPU of the machine, in each process, with a warning.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield
