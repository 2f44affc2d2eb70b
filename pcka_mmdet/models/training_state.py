"""How far the training is, by MMEngine's message hub."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.logging import MessageHub


def iteration(default: int = 0) -> int:
    """Iterations that are done; `default` outside of a training by MMEngine's runner."""
    return MessageHub.get_current_instance().runtime_info.get("iter", default)


def seed() -> int:
    """The training's seed; 0 outside of a training by MMEngine's runner."""
    return MessageHub.get_current_instance().runtime_info.get("seed") or 0


def progress(ago: int = 0) -> float:
    """The share of the training that is done, within [0, 1); 0 outside of a training.

    Args:
        ago: Iterations before the current one.
    """
    iterations = MessageHub.get_current_instance().runtime_info.get("max_iters")
    return max(iteration() - ago, 0) / iterations if iterations else 0.0


@contextmanager
def forked_rng() -> Iterator[None]:
    """Context in which torch draws from a fork of its random state: the CPU's and that of this process's GPU.

    Without devices `torch.random.fork_rng` would fork every GPU of the machine, in each process, with a warning.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        yield
