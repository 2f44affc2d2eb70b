"""Findings about a training's config: what `train` checks, all data, one step, and the teacher."""

import contextlib
import io
import platform
import statistics
import time
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.error import URLError

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from pcka_mmdet.configuration.distillation import is_distillation
from pcka_mmdet.configuration.sentence import sentence
from pcka_mmdet.models import FPNDistill

from ..nonfinite import autocast_dtype
from ..runner import build_runner, build_training_set, unwrapped_model
from ..training import TrainingOptions
from . import ERROR, OK, WARNING, Finding, findings_of
from .annotations import check_annotations
from .entries import LOADERS, examine_entries
from .image_files import check_images
from .preflight import CHECKS, download_advice
from .teacher_check import check_teacher

PARTS = "model, data, optimizer and hooks"
STEP = "a step"

STEPS = 3
"""Measured steps, after one that is not."""


def examine(
    config: Config, images: int | None = None, baseline: float | None = None, options: TrainingOptions | None = None
) -> Iterator[Finding]:
    """Check the config and its data; if nothing is wrong, try a step and the teacher.

    Args:
        config: The complete config.
        images: Number of validation images to evaluate the teacher on; `None` does not evaluate it.
        baseline: Metric of the student without a teacher, on all validation images. The teacher is evaluated on all.
        options: The options of the training.
    """
    texts, is_wrong = set(), False
    for finding in _examine_config(config):
        if finding.level != OK and finding.text in texts:
            continue  # the check of the test reads the annotations of the training, too
        texts.add(finding.text)
        is_wrong = is_wrong or finding.level == ERROR
        yield finding
    if is_wrong:
        yield Finding(WARNING, STEP, "not tried: correct the errors first")
        return
    with contextlib.redirect_stdout(io.StringIO()):  # what packages print
        findings = _examine_step(config, options or TrainingOptions())
    yield from findings
    if images or baseline is not None:
        subject = "the teacher on the validation data"
        yield from findings_of(subject, partial(_compare_teacher, config, images, baseline))


def _examine_config(config: Config) -> Iterator[Finding]:
    for subject, check in CHECKS.items():
        yield from findings_of(subject, partial(check, config))
    check = partial(check_annotations, config, ("train_dataloader", "test_dataloader"))
    yield from findings_of("annotations and classes of the test", check, WARNING)
    for loader, level in LOADERS.items():
        yield from findings_of(f"images of {loader}", partial(check_images, config, loader), level)
    yield from examine_entries(config)


def _examine_step(config: Config, options: TrainingOptions) -> list[Finding]:
    """Build what a training builds, and time the step of the distillation and of the student on one batch."""
    if config.get("runner_type"):
        return [Finding(WARNING, STEP, f"not tried: it needs MMEngine's Runner, and this is {config.runner_type}")]
    subject = PARTS
    try:
        runner = _build(config, options)
        subject = STEP
        batch = next(iter(runner.train_dataloader))
        seconds, memory = _time(runner, batch)
    except Exception as error:
        return [Finding(ERROR, subject, sentence(error))]
    device = "GPU" if torch.cuda.is_available() else "process"
    precision = f" in {dtype}" if (dtype := autocast_dtype(runner)) else ""
    text = f"{seconds:.3f} s{precision}; the {device} used {memory:.0f} MB with the optimizer's states"
    model = unwrapped_model(runner)
    if not isinstance(model, FPNDistill):
        return [Finding(OK, STEP, text)]
    weights = Finding(WARNING, "the teacher's weights", "they are random, or no local file of them is left")
    if model.teacher_sha256:
        weights = Finding(OK, "the teacher's weights", f"sha256 {model.teacher_sha256[:16]}...")
    inactive = list(model.distiller.inactive.values())
    table = "\n".join(["", model.level_table, *inactive])
    model.distillation_stopped = True
    student_seconds, _ = _time(runner, batch)
    return [
        weights,
        Finding(WARNING if inactive else OK, "levels and losses", table),
        Finding(OK, STEP, f"{text}; the student without distillation takes {student_seconds:.3f} s"),
    ]


def _build(config: Config, options: TrainingOptions) -> Runner:
    """Build what a training builds. The config is changed."""
    options.apply(config)
    config.visualizer = dict(type="Visualizer")  # starts no run of WandB or another tracker
    try:
        runner = build_runner(config)
        runner._init_model_weights()
        build_training_set(runner)
        runner.optim_wrapper = runner.build_optim_wrapper(config.optim_wrapper)
        if config.get("param_scheduler"):
            runner.build_param_scheduler(config.param_scheduler)
        if config.get("val_cfg") is not None:
            runner.val_loop  # noqa: B018  (a property that builds)
    except URLError as error:
        raise ConnectionError(download_advice(config, error.reason)) from error
    return runner


def _time(runner: Runner, batch: Any) -> tuple[float, float]:
    """Median seconds of a step, and the peak memory of the GPU, if there is one, else of the process, in mebibytes."""
    seconds = []
    unwrapped_model(runner).train()
    runner.message_hub.update_info_dict(dict(epoch=0, iter=0))  # what a training notes; YOLOX and TOOD read it
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        runner.model.train_step(batch, optim_wrapper=runner.optim_wrapper)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    if torch.cuda.is_available():
        return statistics.median(seconds[1:]), torch.cuda.max_memory_allocated() / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return statistics.median(seconds[1:]), float("nan")
    unit = 1 if platform.system() == "Darwin" else 2**10
    return statistics.median(seconds[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _compare_teacher(config: Config, images: int | None, baseline: float | None) -> str | list[str]:
    """The metric of the best teacher. It is a doubt if the student reaches it without a teacher."""
    if not images and not is_distillation(config):
        return ["not tried: this config has no teacher. Add --teacher and --teacher-ckpt"]
    if baseline is None:
        best = max(check_teacher(config, images))
        return f"{best:.3f} on {images} images, or all there are; --baseline WORK_DIR of the student compares it"
    best = max(check_teacher(config, None))
    if best > baseline:
        return f"{best:.3f} on all images, {best - baseline:+.3f} over the student without a teacher"
    return [
        f"{best:.3f} on all images, and the student without a teacher has {baseline:.3f}: there is nothing to learn "
        "from this teacher. Train it longer, or take a better one"
    ]
