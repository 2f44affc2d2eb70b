"""Random numbers that leave no trace in the training's."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def forked_rng() -> Iterator[None]:
    """Within, torch's random numbers are drawn from a fork: of the CPU's generator and of this process's GPU's.

    Without devices `torch.random.fork_rng` would fork every GPU of the machine, in each process, with a warning.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield
