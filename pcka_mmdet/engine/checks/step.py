"""Findings of one step: what a training builds, and the time and memory of a step in the training's precision."""

import platform
import statistics
import time
from collections.abc import Iterator
from typing import Any
from urllib.error import URLError

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from pcka_mmdet.configuration.sentence import sentence
from pcka_mmdet.models import FPNDistill

from ..nonfinite import autocast_dtype
from ..runner import build_runner, build_training_set, unwrapped_model
from ..training import TrainingOptions
from .finding import ERROR, OK, WARNING, Finding
from .preflight import download_advice

STEP = "a step"
"""A forward, a backward and the optimizer's step, as a training does them."""

STEPS = 3
"""Measured steps, after one that is not."""


def examine_step(config: Config, options: TrainingOptions) -> Iterator[Finding]:
    """Build what a training builds, and time the distillation and the student alone on one batch.

    Args:
        config: The complete config; it is changed.
        options: Those of the training.
    """
    if config.get("runner_type"):
        yield Finding(WARNING, STEP, f"not tried: only MMEngine's Runner is, and this is {config.runner_type}")
        return
    subject = "the model, its weights and the hooks"
    try:
        options.apply(config)
        config.visualizer = dict(type="Visualizer")  # starts no run of WandB or another tracker
        runner = build_runner(config)
        runner._init_model_weights()
        subject = STEP
        build_training_set(runner)
        runner.optim_wrapper = runner.build_optim_wrapper(config.optim_wrapper)
        if config.get("param_scheduler"):
            runner.build_param_scheduler(config.param_scheduler)
        if config.get("val_cfg") is not None:
            runner.val_loop  # noqa: B018  (a property that builds)
        batch = next(iter(runner.train_dataloader))
        distilled, memory = _time(runner, batch)
    except URLError as error:
        yield Finding(ERROR, subject, download_advice(config, error.reason))
        return
    except Exception as error:
        yield Finding(ERROR, subject, sentence(error))
        return
    held = f"{'the GPU' if torch.cuda.is_available() else 'the process'} held {memory:.0f} MB"
    precision = f" in {dtype}" if (dtype := autocast_dtype(runner)) else ""
    model = unwrapped_model(runner)
    if not isinstance(model, FPNDistill):
        yield Finding(OK, STEP, f"{distilled:.3f} s{precision}; {held}")
        return
    if model.teacher_sha256:
        yield Finding(OK, "the teacher's weights", f"sha256 {model.teacher_sha256[:16]}...")
    else:
        yield Finding(WARNING, "the teacher's weights", "they are random, or no local file of them is left")
    inactive = model.distiller.inactive.values()
    text = "\n".join(["", model.level_table, *inactive])
    yield Finding(WARNING if inactive else OK, "levels and losses", text)
    model.distillation_stopped = True
    alone, _ = _time(runner, batch)
    text = f"{distilled:.3f} s{precision}, the student alone {alone:.3f} s; {held} with the optimizer's states"
    yield Finding(OK, STEP, text)


def _time(runner: Runner, batch: Any) -> tuple[float, float]:
    """Median seconds of a step, and the most megabytes that the process held."""
    seconds = []
    unwrapped_model(runner).train()
    runner.message_hub.update_info_dict(dict(epoch=0, iter=0))  # what a training notes; YOLOX and TOOD read it
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]), _most_memory()


def _most_memory() -> float:
    """Most memory of the GPU, if there is one; else of the process. In mebibytes."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 1 if platform.system() == "Darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
