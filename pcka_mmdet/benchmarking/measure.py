"""Time and memory of rival functions, measured in one run."""

import argparse
import json
import os
import platform
import statistics
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


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


class LiveBytes(TorchDispatchMode):
    """Context manager; `peak` is the most bytes that tensors from torch's operators held at once.

    Memory that an operator allocates and frees internally is not counted.
    """

    def __init__(self):
        super().__init__()
        self.live = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_flatten(result)[0]:
            if isinstance(tensor, torch.Tensor):
                self._count(tensor.untyped_storage(), tree_flatten((args, kwargs))[0])
        return result

    def _count(self, storage: torch.UntypedStorage, inputs: list) -> None:
        key = storage.data_ptr()
        given = {t.untyped_storage().data_ptr() for t in inputs if isinstance(t, torch.Tensor)}
        if key in self._seen or key in given or not storage.nbytes():
            return
        self._seen.add(key)
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, storage.nbytes())

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def save(args: argparse.Namespace, **results: object) -> None:
    """Write results, machine and arguments to `args.out` as JSON, and print the path."""
    arguments = {key: str(value).replace(f"{Path.cwd()}/", "") for key, value in vars(args).items()}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(dict(machine=machine(), arguments=arguments, **results), indent=2) + "\n")
    print(machine(), args.out, sep="\n")


def machine() -> dict[str, str | int]:
    """The hardware and software that times depend on."""
    names = {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "cores": cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    if torch.cuda.is_available():
        names["gpu"] = torch.cuda.get_device_name()
    return names


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line for line in file if line.startswith("model name")]
        return lines[0].partition(":")[2].strip()
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
