"""The state of a training: its progress and seed, and random numbers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dist import get_rank
from mmengine.logging import MessageHub


def iteration(default: int = 0) -> int:
    """Iterations that are done; `default` outside of a training by MMEngine's runner."""
    return MessageHub.get_current_instance().runtime_info.get("iter", default)


def seed() -> int:
    """The training's seed; 0 outside of a training by MMEngine's runner."""
    return MessageHub.get_current_instance().runtime_info.get("seed") or 0


def step_generator(device: torch.device, salt: int = 0, default: int = 0) -> torch.Generator:
    """Random numbers of this iteration, seeded by the training's seed and iteration, the process and the salt.

    A resumed training draws the same ones, and the training's own random numbers do not change. `default` is the
    iteration in a program without MMEngine's runner.
    """
    # odd factors keep iterations and processes apart; 2^64 over the golden ratio spreads seeds (Knuth)
    mixed = 0x9E3779B97F4A7C15 * seed() + 1_000_003 * iteration(default) + 1009 * get_rank() + salt
    return torch.Generator(device=device).manual_seed(mixed % 2**63)


def progress(ago: int = 0) -> float:
    """The share of the training that was done `ago` iterations ago, within [0, 1); 0 outside of a training."""
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
