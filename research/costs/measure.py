"""Time and memory of rival functions, measured in one run."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from research.provenance import machine


def interleaved(functions: Mapping[str, Callable[[], object]], rounds: int, device: str = "cpu") -> dict[str, float]:
    """Median seconds of each function. The functions take turns, so that other load on the machine affects all.

    Args:
        functions: Functions by name.
        rounds: Measured calls of each function, after one warm-up call.
        device: Device that they use; on a GPU, CUDA events measure the time.
    """
    measure = _seconds if device == "cpu" else _gpu_seconds
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(rounds + 1):
        for name, function in functions.items():
            taken = measure(function)
            if turn:
                seconds[name].append(taken)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _gpu_seconds(function: Callable[[], object]) -> float:
    """Seconds per call of several calls in a row, as in a training: the longer of launching and computing."""
    calls = 10
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        function()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1000 / calls


def save(args: argparse.Namespace, **results: object) -> None:
    """Write results, machine and arguments to `args.out` as JSON, and print the path."""
    arguments = {key: str(value).replace(f"{Path.cwd()}/", "") for key, value in vars(args).items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(dict(machine=machine(), arguments=arguments, **results), indent=2) + "\n")
    print(machine(), args.out, sep="\n")
